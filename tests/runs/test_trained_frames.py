"""Which frames a run was trained on: recorded, and compared when it is resumed."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlcexp.errors import ConfigError, UserError
from dlcexp.project import Labels, Project, load_labels, open_project
from dlcexp.runs.trained_frames import (
    check_jobs_have_same_frames,
    check_same_frames,
    record_frames,
)


def written(root: Path, frames: int = 4, moved: float = 0, suffix: str = "h5") -> Project:
    """A project of one video in which the label of frame 1 is moved by some px."""
    columns = pd.MultiIndex.from_product([["me"], ["nose", "tail"], ["x", "y"]])
    columns.names = ["scorer", "bodyparts", "coords"]
    rows = [("labeled-data", "v", f"{frame}.png") for frame in range(frames)]
    values = np.arange(4.0 * frames).reshape(frames, 4) / 7
    values[1, 0] += moved
    values[2, :2] = np.nan
    table = pd.DataFrame(values, pd.MultiIndex.from_tuples(rows), columns)
    folder = root / "labeled-data" / "v"
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("Collected*"):
        file.unlink()
    for row in rows:
        (folder / row[-1]).touch()
    if suffix == "h5":
        table.to_hdf(folder / "CollectedData_me.h5", key="df_with_missing", mode="w")
    else:
        table.to_csv(folder / "CollectedData_me.csv")
    (root / "config.yaml").write_text("Task: t\nscorer: me\ndate: d\nbodyparts: [nose, tail]\n")
    return open_project(root)


def opened(project: Project) -> tuple[Project, Labels]:
    return project, load_labels(project)


def test_the_same_labels_resume_wherever_and_however_they_are_stored(tmp_path: Path) -> None:
    record_frames(tmp_path, *opened(written(tmp_path / "here")))
    check_same_frames(tmp_path, *opened(written(tmp_path / "there", suffix="csv")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"moved": 0.5}, "1 with other labels: labeled-data/v/1.png"),
        ({"frames": 5}, "1 added: labeled-data/v/4.png"),
        ({"frames": 3}, "1 removed: labeled-data/v/3.png"),
    ],
    ids=["moved", "added", "removed"],
)
def test_changed_frames_are_named_with_both_ways_to_continue(
    tmp_path: Path, change: dict[str, float], words: str
) -> None:
    run = tmp_path / "run"
    record_frames(run, *opened(written(tmp_path / "p")))
    changed = written(tmp_path / "p", **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as error:
        check_same_frames(run, *opened(changed))
    for text in (words, f"weights.path={run}", "resume=never"):
        assert text in str(error.value)
    with pytest.raises(UserError) as sweep:
        check_jobs_have_same_frames(tmp_path, [tmp_path / "queued", run])
    for text in (words, "job run", "sweep.rerun=always", "hydra.sweep.dir"):
        assert text in str(sweep.value)


def test_another_project_with_the_same_frames_is_another_project(tmp_path: Path) -> None:
    project, labels = opened(written(tmp_path))
    record_frames(tmp_path, project, labels)
    with pytest.raises(ConfigError, match="of the project t and not rat"):
        check_same_frames(tmp_path, replace(project, name="rat"), labels)


def test_a_run_of_before_resumes_with_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="dlcexp"):
        check_same_frames(tmp_path, *opened(written(tmp_path)))
    assert "has no frames.json" in caplog.text
