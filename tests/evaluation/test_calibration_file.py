"""`calibration.json`, written, read, and refused for other models."""

import json
from pathlib import Path

import pytest
from calibration_support import simulated

from dlcexp.errors import ProjectError, UserError
from dlcexp.evaluation.calibration import fit_calibration
from dlcexp.evaluation.calibration_file import (
    StoredCalibration,
    calibration_beside,
    read_calibration,
)

FITTED_TO = {"source": "out of fold", "frames": 60, "keypoints": 120, "ece": 0.1}
IDENTITY = {"weights": "a", "detector": None, "configuration": "c"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    curves = fit_calibration(simulated(frames=60, bodyparts=2, seed=0), 5.0)
    models = [
        {"run": f"folds/{n}", "snapshot": "snapshot-010.pt", "identity": {**IDENTITY, **identity}}
        for n, identity in enumerate([{}, {"weights": "b"}])
    ]
    path = calibration_beside(tmp_path / "snapshot-010.pt")
    StoredCalibration(curves, 5.0, FITTED_TO, models).write(path)
    return path


def test_it_is_read_as_it_was_written(path: Path, tmp_path: Path) -> None:
    stored = read_calibration(path)
    assert path.name == "snapshot-010.calibration.json"
    assert (stored.within_px, stored.fitted_to) == (5.0, FITTED_TO)
    stored.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_it_is_for_each_of_its_models_and_for_no_other(path: Path) -> None:
    stored = read_calibration(path)
    stored.check({**IDENTITY, "backend": "onnx"}, path)
    stored.check({**IDENTITY, "weights": "b"}, path)
    with pytest.raises(UserError, match=r"differ in weights\.") as refused:
        stored.check({**IDENTITY, "weights": "c"}, path)
    assert "folds/0, snapshot-010.pt" in str(refused.value)
    with pytest.raises(UserError, match=r"differ in configuration\."):
        stored.check({**IDENTITY, "configuration": "d"}, path)


@pytest.mark.parametrize(
    "change",
    [
        {"curves": {}},
        {"models": []},
        {"models": None},
        {"within_px": "far"},
        {"fitted_to": {}},
        {"curves": {"bodyparts": {}, "together": {"method": "beta", "a": 1}}},
    ],
    ids=str,
)
def test_a_damaged_file_is_one_message(path: Path, change: dict) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ProjectError, match="is not a calibration of dlcexp"):
        read_calibration(path)
