"""`predict.calibrate`: a table of probabilities, and the table of likelihoods as it was."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from calibration_support import simulated

from dlcexp.cli import main
from dlcexp.evaluation.calibration import fit_calibration
from dlcexp.evaluation.calibration_file import (
    StoredCalibration,
    calibration_beside,
    read_calibration,
)
from dlcexp.inference.finder import PoseFinder
from dlcexp.training import Run


@pytest.fixture
def calibrated(run: Run, tmp_path: Path) -> Run:
    """A copy of the run with a calibration of its snapshot."""
    copy = Run.open(shutil.copytree(run.folder, tmp_path / "run"))
    names = list(copy.cfg.metadata.bodyparts)
    rows = simulated(frames=100, bodyparts=len(names) - 1, seed=0)
    rows = rows.assign(bodypart=rows.bodypart.map(lambda name: names[int(name[1:])]))
    model = {"run": "run", "snapshot": "best", "identity": PoseFinder(copy).identity}
    fitted_to = {"source": "test frames", "frames": 100, "keypoints": len(rows)}
    stored = StoredCalibration(fit_calibration(rows, 5.0), 5.0, fitted_to, [model])
    stored.write(calibration_beside(copy.best_snapshot))
    return copy


def predict(run: Run, video: Path, output: Path, *words: str) -> int:
    return main(["predict", f"run={run.folder}", f"source={video}", f"output={output}", *words])


def test_the_probabilities_are_in_a_further_table(
    calibrated: Run, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(calibrated, video, tmp_path / "plain") == 0
    assert predict(calibrated, video, tmp_path / "both", "predict.calibrate=true") == 0
    captured = capsys.readouterr()
    (plain,) = (tmp_path / "plain").glob("*.h5")
    both, beside = tmp_path / "both" / plain.name, tmp_path / "both" / "calibrated" / plain.name
    likelihood, table = pd.read_hdf(both), pd.read_hdf(beside)
    pd.testing.assert_frame_equal(likelihood, pd.read_hdf(plain))
    # The same rows, columns, types and points: DeepLabCut's layout.
    assert list(table.index) == list(likelihood.index)
    assert table.columns.equals(likelihood.columns)
    assert (table.dtypes == np.float32).all()
    is_likelihood = table.columns.get_level_values("coords") == "likelihood"
    pd.testing.assert_frame_equal(
        table.loc[:, ~is_likelihood], likelihood.loc[:, ~is_likelihood], check_index_type=False
    )
    stored = read_calibration(calibration_beside(calibrated.best_snapshot))
    for column in table.columns[is_likelihood]:
        expected = stored.calibration.curve(column[-2])(likelihood[column].to_numpy())
        np.testing.assert_allclose(table[column], expected, rtol=1e-6)
    csv = pd.read_csv(beside.with_suffix(".csv"), header=[0, 1, 2, 3], index_col=0)
    np.testing.assert_allclose(csv.to_numpy(), table.to_numpy(), rtol=1e-5)
    assert read_calibration(beside.with_suffix(".json")) == stored
    assert str(beside) in captured.out
    assert "within 5 px of its label" in captured.err
    # The last bodypart has no keypoints in the calibration.
    assert f"together: {calibrated.cfg.metadata.bodyparts[-1]}\n" in captured.err


def test_poses_that_were_there_get_probabilities_too(
    calibrated: Run, video: Path, tmp_path: Path
) -> None:
    assert predict(calibrated, video, tmp_path, "csv=false") == 0
    (table,) = tmp_path.glob("*.h5")
    before = table.stat().st_mtime_ns
    file = shutil.copy2(calibration_beside(calibrated.best_snapshot), tmp_path / "mine.json")
    words = ["csv=false", f"predict.calibrate={file}"]
    assert predict(calibrated, video, tmp_path, *words) == 0
    assert table.stat().st_mtime_ns == before
    names = {path.suffix for path in (tmp_path / "calibrated").iterdir()}
    assert names == {".h5", ".json"}


def test_without_the_calibration_of_this_model_nothing_is_predicted(
    run: Run, calibrated: Run, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "output"

    def refused(run: Run, *words: str) -> str:
        capsys.readouterr()
        assert predict(run, video, output, *words) == 2
        assert not output.exists()
        return capsys.readouterr().err

    again = f"'dlcexp evaluate run={run.folder.as_posix()}'"
    assert again in refused(run, "predict.calibrate=true")
    assert "there is no nothing.json" in refused(run, "predict.calibrate=nothing.json")
    changed = ["predict.calibrate=true", "data.resize.width=96"]
    assert "differ in configuration" in refused(calibrated, *changed)
    calibrated.best_snapshot.write_bytes(run.best_snapshot.read_bytes() + b" ")
    assert "differ in weights" in refused(calibrated, "predict.calibrate=true")
