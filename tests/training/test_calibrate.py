"""The frames that calibrate a model, where the calibration is kept, and when it is replaced."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from calibration_support import simulated

from dlcexp.data.splits import Split
from dlcexp.evaluation.calibration_file import read_calibration
from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.reliability import measure_reliability
from dlcexp.runs.run import Run
from dlcexp.training.calibrate import calibrate
from dlcexp.training.scoring import Scored

ROWS = simulated(frames=60, bodyparts=2, seed=0)
VALIDATION = simulated(frames=40, bodyparts=2, seed=1).assign(split="val")
VALIDATION["frame"] = VALIDATION.frame.str.replace("img", "val")


@pytest.fixture
def scored(tree: Callable[..., Any], tmp_path: Path) -> Callable[..., Scored]:
    """A run that was scored, with these records."""

    def make(*records: pd.DataFrame, val: bool = False, **values: Any) -> Scored:
        snapshot = tmp_path / "snapshots" / "snapshot-best-010.pt"
        snapshot.parent.mkdir(exist_ok=True)
        snapshot.write_bytes(b"weights")
        (tmp_path / "config.yaml").touch()
        table = pd.concat(records)
        evaluation = Evaluation({name: {} for name in table.split}, {}, {}, records=table)
        px = values.pop("calibration_px", None)
        data: Any = SimpleNamespace(split=Split((0,), (1,), (2,) if val else ()))
        trained = values.pop("trained", frozenset())
        run = Run(tmp_path, tree({"evaluation.calibration_px": px}))
        made = Scored(run, snapshot, None, data, evaluation, trained=trained)
        return replace(made, **values)

    return make


def test_validation_frames_calibrate_where_there_are_some(scored: Callable[..., Scored]) -> None:
    tested = calibrate(scored(ROWS)).numbers
    validated = calibrate(scored(ROWS, VALIDATION, val=True)).numbers
    folds = calibrate(scored(ROWS, VALIDATION, val=True, out_of_fold=True)).numbers
    assert tested is not None
    assert validated is not None
    assert folds is not None
    assert (tested["source"], tested["frames"]) == ("test frames", 60)
    assert (validated["source"], validated["frames"]) == ("val frames", 40)
    assert (folds["source"], folds["frames"]) == ("out of fold", 60)
    expected = measure_reliability(ROWS, 10.0)
    assert expected is not None
    assert tested == {"px_from": "0.1 of the median animal's size", "source": "test frames"} | (
        expected.numbers
    )


def test_frames_that_trained_the_model_do_not_calibrate(scored: Callable[..., Scored]) -> None:
    trained = frozenset(ROWS.frame.unique()[:20])
    numbers = calibrate(scored(ROWS, trained=trained)).numbers
    assert numbers
    assert (numbers["frames"], numbers["keypoints"]) == (40, 80)


def test_the_distance_can_be_set(scored: Callable[..., Scored]) -> None:
    numbers = calibrate(scored(ROWS, calibration_px=5.0)).numbers
    assert numbers
    assert (numbers["within_px"], numbers["px_from"]) == (5.0, "evaluation.calibration_px")
    assert numbers["bodyparts"]["all"]["within"] == (ROWS.error <= 5).mean()


@pytest.mark.parametrize(
    ("records", "values", "reason"),
    [
        (ROWS, {"trained": None}, "not known which frames trained"),
        (ROWS.assign(split="test_gt_boxes"), {}, "crops by the labels"),
        (ROWS.assign(size=float("nan")), {}, r"evaluation\.calibration_px"),
        (ROWS[:20], {}, "20 keypoints were found in 20 frames"),
    ],
    ids=["foreign weights", "no detector", "one bodypart", "few frames"],
)
def test_the_reason_is_stated_where_there_is_no_calibration(
    records: pd.DataFrame,
    values: dict[str, Any],
    reason: str,
    scored: Callable[..., Scored],
    tmp_path: Path,
) -> None:
    made = calibrate(scored(records, **values))
    assert made.numbers is None
    assert re.search(reason, made.missing)
    assert made.write(tmp_path / "calibration.json") == []


def test_it_is_kept_next_to_the_snapshot(scored: Callable[..., Scored], tmp_path: Path) -> None:
    path, beside = (
        tmp_path / name
        for name in ("calibration.json", "snapshots/snapshot-best-010.calibration.json")
    )
    made = calibrate(scored(ROWS))
    assert made.write(path) == [path, beside]
    assert path.read_bytes() == beside.read_bytes()
    stored = read_calibration(beside)
    assert made.stored
    assert stored.calibration == made.stored.calibration
    assert stored.about == "120 keypoints of 60 frames, test frames"
    (model,) = stored.models
    assert model["snapshot"] == "snapshot-best-010.pt"
    stored.check({**model["identity"], "precision": "None"}, beside)


def test_one_of_more_keypoints_is_kept(scored: Callable[..., Scored], tmp_path: Path) -> None:
    beside = tmp_path / "snapshots" / "snapshot-best-010.calibration.json"
    path = tmp_path / "calibration.json"
    calibrate(scored(ROWS)).write(path)
    fewer = scored(ROWS[ROWS.frame < "labeled-data/v0/img00040"])
    assert calibrate(fewer).write(path) == [path]
    assert read_calibration(beside).fitted_to["frames"] == 60
    # For a different distance, a different snapshot, or in place of a damaged file, it is not.
    fewer.run.cfg.evaluation.calibration_px = 5.0
    assert calibrate(fewer).write(path) == [path, beside]
    calibrate(scored(ROWS)).write(path)
    assert fewer.snapshot
    fewer.snapshot.write_bytes(b"other weights")
    assert calibrate(fewer).write(path) == [path, beside]
    beside.write_text("{}")
    assert calibrate(fewer).write(path) == [path, beside]


def test_a_run_folder_that_cannot_be_written_to_is_a_warning(
    scored: Callable[..., Scored], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = calibrate(scored(ROWS))
    path = tmp_path / "calibration.json"
    (tmp_path / "snapshots" / "snapshot-best-010.calibration.json").mkdir()
    assert made.write(path) == [path]
    assert f"predict.calibrate={path}" in caplog.text


def test_the_folder_of_a_shuffle_is_not_changed(
    scored: Callable[..., Scored], tmp_path: Path
) -> None:
    made = scored(ROWS)
    (tmp_path / "config.yaml").unlink()
    assert calibrate(made).write(tmp_path / "calibration.json") == [tmp_path / "calibration.json"]
