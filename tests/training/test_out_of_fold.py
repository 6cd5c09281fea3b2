"""Out-of-fold scores of a sweep, against those of its folds."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dlcexp
from dlcexp.cli import main
from dlcexp.data.draw_demo import demo_project
from dlcexp.data.loading import PoseData
from dlcexp.evaluation.label_check import LEAST_LABELS
from dlcexp.results.pooled_errors import out_of_fold
from dlcexp.results.read_sweep import read_sweep
from dlcexp.runs.run import Run

pytestmark = pytest.mark.slow
FOLDS = ["split=kfold", "split.k=3", "split.fold=range(3)", "hydra/launcher=basic"]
TOP_DOWN = [
    "method=td",
    "data.top_down_crop={width: 64, height: 64}",
    "data_detector.resize.width=64",
    "data_detector.train.collate=null",
    "detector.model.weights=null",
    "detector.epochs=1",
    "detector.batch_size=2",
]


def sweep(folder: Path, words: list[str]) -> Path:
    """Train all folds."""
    common = [word for word in words if "train_fraction" not in word]
    common += ["project=demo", "weights=random", "evaluation.examples=0", "batch_size=4"]
    assert main(["-m", *common, *FOLDS, f"hydra.sweep.dir={folder}"]) == 0
    return folder


def fold_records(folder: Path) -> pd.DataFrame:
    """The records of the test frames of each fold, from its own evaluation."""
    tables = [dlcexp.evaluate(folder / str(fold)).records for fold in range(3)]
    return pd.concat(tables)


def held_out(folder: Path) -> set[str]:
    data = PoseData(Run.open(folder).cfg)
    return {data.labels.names[row] for row in (*data.split.test, *data.split.val)}


@pytest.fixture(scope="module")
def bottom_up(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweep(tmp_path_factory.mktemp("folds") / "bottom-up", tiny)


@pytest.fixture(scope="module")
def top_down(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = [word for word in tiny if not word.startswith(("data.", "model.backbone.feature"))]
    return sweep(tmp_path_factory.mktemp("folds") / "top-down", [*kept, *TOP_DOWN])


@pytest.mark.parametrize("method", ["bottom_up", "top_down"])
def test_every_frame_is_predicted_once_by_the_run_that_did_not_train_on_it(
    method: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    folder: Path = request.getfixturevalue(method)
    capsys.readouterr()
    assert main(["evaluate", str(folder), "evaluation.calibration_px=40"]) == 0
    assert "out of fold" in capsys.readouterr().out
    numbers = json.loads((folder / "evaluation.json").read_text())
    records = pd.read_csv(folder / "evaluation.csv")
    data = PoseData(Run.open(folder / "0").cfg)
    labelled = np.isfinite(data.labels.keypoints).any(axis=(1, 2, 3))
    ours = records[records.split == "test"]
    assert set(ours.frame) == {
        n for n, there in zip(data.labels.names, labelled, strict=True) if there
    }
    theirs = fold_records(folder)
    keys = ["split", "frame", "individual", "bodypart"]
    columns = ["x", "y", "confidence", "error"]
    theirs = theirs[theirs.split.str.startswith("test")]
    one, two = (table.set_index(keys)[columns].sort_index() for table in (records, theirs))
    pd.testing.assert_frame_equal(one, two, check_dtype=False, rtol=1e-4, atol=1e-3)
    assert numbers["metrics"]["test.rmse"] == pytest.approx(ours.error.mean(), nan_ok=True)
    pooled = out_of_fold(read_sweep(folder).best)  # of what the runs have kept
    assert pooled.error == pytest.approx(ours.error.mean(), rel=1e-4, nan_ok=True)
    assert (len(pooled.rows), pooled.frames) == (len(ours), ours.frame.nunique())
    assert numbers["about"]["chosen_by"] == "val.mAP"
    assert numbers["about"]["snapshot"] is None
    check_calibration(folder, numbers["calibration"], ours)
    if method == "top_down":
        assert set(numbers["splits"]) == {"test", "test_gt_boxes"}
        assert "detector.test.mAP@50:95" in numbers["metrics"]
    check = numbers["labels_to_check"]
    judged = ours[ours.error.notna()]
    if len(judged) >= LEAST_LABELS:
        assert (check["judged"], check["frames"]) == (len(judged), judged.frame.nunique())
    assert check["trained"] == 0
    listed = pd.read_csv(folder / "labels_to_check.csv")
    assert listed.frame.tolist() == [label["frame"] for label in check["listed"]]


def test_labels_of_frames_that_trained_are_not_judged_in_whatever_part_they_are(
    bottom_up: Path, tmp_path: Path
) -> None:
    """With split=all, training frames test, too."""
    run = bottom_up / "0"
    unseen = held_out(run)
    assert main(["evaluate", str(run), "split=all", f"output={tmp_path}"]) == 0
    check = json.loads((tmp_path / "evaluation.json").read_text())["labels_to_check"]
    records = pd.read_csv(tmp_path / "evaluation.csv")
    found = records[records.frame.isin(unseen) & records.error.notna()]
    assert check["trained"] == records.frame.nunique() - len(unseen)
    assert check["judged"] == (len(found) if len(found) >= LEAST_LABELS else 0)


def check_calibration(folder: Path, numbers: dict[str, Any], ours: pd.DataFrame) -> None:
    """It is of all frames, and next to the snapshot of each fold; one of them predicts with it."""
    assert (numbers["source"], numbers["within_px"]) == ("out of fold", 40)
    assert numbers["keypoints"] == ours.error.notna().sum()
    assert numbers["bodyparts"]["all"]["within"] == (ours.error.dropna() <= 40).mean()
    whole = (folder / "calibration.json").read_bytes()
    copies = list(folder.glob("*/snapshots/*.calibration.json"))
    assert sorted(path.parents[1].name for path in copies) == ["0", "1", "2"]
    assert {path.read_bytes() for path in copies} == {whole}
    image = next(demo_project().glob("labeled-data/*/*.png"))
    words = [f"run={folder / '1'}", f"source={image}", f"output={folder / 'poses'}"]
    assert main(["predict", *words, "predict.calibrate=true"]) == 0
    assert list(folder.glob("poses/calibrated/*.h5"))


def test_what_is_not_a_whole_cross_validation_is_refused(
    bottom_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(folder: Path, *words: str) -> str:
        assert main(["evaluate", str(folder), *words]) == 2
        return capsys.readouterr().err

    changed, failed, other = (
        Path(shutil.copytree(bottom_up, tmp_path / name)) for name in ("changed", "failed", "other")
    )
    assert "evaluation.pcutoff=0.4" in refused(changed, "evaluation.pcutoff=0.4")
    frames = json.loads((changed / "2" / "frames.json").read_text())
    frames["frames"][next(iter(frames["frames"]))] = "other"
    (changed / "2" / "frames.json").write_text(json.dumps(frames))
    assert "1 with other labels" in refused(changed)
    (failed / "1" / "status.json").write_text(json.dumps({"status": "failed"}))
    assert "fold 1 of 3 is not completed" in refused(failed)
    for tree in other.glob("*/config.yaml"):
        tree.write_text(
            re.sub(r"KFoldSplit\n( +)k:.*\n +fold:.*\n", r"FractionSplit\n", tree.read_text())
        )
    assert "split=kfold" in refused(other)
