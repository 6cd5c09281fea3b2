"""Out-of-fold scores of a sweep, against those of its folds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dlcexp
from dlcexp.cli import main
from dlcexp.data.loading import PoseData
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


def sweep(folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Train all folds, score them out of fold, and return what that printed."""
    common = [*words, "project=demo", "weights=random", "evaluation.examples=0", "batch_size=4"]
    assert main(["-m", *common, *FOLDS, f"hydra.sweep.dir={folder}"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    return capsys.readouterr().out


def fold_records(folder: Path) -> pd.DataFrame:
    """The records of the test frames of each fold, from its own evaluation."""
    tables = [dlcexp.evaluate(folder / str(fold)).records for fold in range(3)]
    return pd.concat(tables)


@pytest.mark.parametrize("method", ["bottom-up", "top-down"])
def test_every_frame_is_predicted_once_by_the_run_that_did_not_train_on_it(
    method: str, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tiny
    if method == "top-down":
        kept = [word for word in tiny if not word.startswith(("data.", "model.backbone.feature"))]
        words = [*kept, *TOP_DOWN]
    words = [word for word in words if "train_fraction" not in word]
    shown = sweep(tmp_path / "sweep", words, capsys)
    assert "out of fold" in shown
    numbers = json.loads((tmp_path / "sweep" / "evaluation.json").read_text())
    records = pd.read_csv(tmp_path / "sweep" / "evaluation.csv")
    data = PoseData(Run.open(tmp_path / "sweep" / "0").cfg)
    labelled = np.isfinite(data.labels.keypoints).any(axis=(1, 2, 3))
    ours = records[records.split == "test"]
    assert set(ours.frame) == {
        n for n, there in zip(data.labels.names, labelled, strict=True) if there
    }
    theirs = fold_records(tmp_path / "sweep")
    keys = ["split", "frame", "individual", "bodypart"]
    columns = ["x", "y", "confidence", "error"]
    theirs = theirs[theirs.split.str.startswith("test")]
    one, two = (table.set_index(keys)[columns].sort_index() for table in (records, theirs))
    pd.testing.assert_frame_equal(one, two, check_dtype=False, rtol=1e-4, atol=1e-3)
    assert numbers["metrics"]["test.rmse"] == pytest.approx(ours.error.mean(), nan_ok=True)
    assert numbers["about"]["chosen_by"] == "test.mAP"
    assert numbers["about"]["snapshot"] is None
    if method == "top-down":
        assert set(numbers["splits"]) == {"test", "test_gt_boxes"}
        assert "detector.test.mAP@50:95" in numbers["metrics"]


def test_what_is_not_a_whole_cross_validation_is_refused(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in tiny if "train_fraction" not in word]
    sweep(tmp_path / "sweep", words, capsys)
    shutil.copytree(tmp_path / "sweep", tmp_path / "changed")
    frames = json.loads((tmp_path / "changed" / "2" / "frames.json").read_text())
    frames["frames"][next(iter(frames["frames"]))] = "other"
    (tmp_path / "changed" / "2" / "frames.json").write_text(json.dumps(frames))
    assert main(["evaluate", str(tmp_path / "changed")]) == 2
    assert "1 with other labels" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "sweep"), "evaluation.pcutoff=0.4"]) == 2
    assert "evaluation.pcutoff=0.4" in capsys.readouterr().err
    (tmp_path / "sweep" / "1" / "status.json").write_text(json.dumps({"status": "failed"}))
    assert main(["evaluate", str(tmp_path / "sweep")]) == 2
    assert "fold 1 of 3 is not completed" in capsys.readouterr().err


def test_a_sweep_without_folds_is_refused(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [*tiny, "project=demo", "weights=random", "evaluation.examples=0", "batch_size=4"]
    where = ["hydra/launcher=basic", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    assert main(["-m", *common, "seed=1,2", *where]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "sweep")]) == 2
    assert "split=kfold" in capsys.readouterr().err
