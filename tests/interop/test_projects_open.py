"""The real DeepLabCut opens the demo project, and we read the shuffles that it makes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlcexp.data.draw_demo import write_demo_project
from dlcexp.data.splits import DLCShuffleSplit
from dlcexp.project import load_labels, open_project


def _copy(source: Path, target: Path) -> Path:
    """A writable copy whose config.yaml names its videos, by which DeepLabCut finds the frames."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    config = yaml.safe_load((target / "config.yaml").read_text())
    videos = [path.name for path in (target / "labeled-data").iterdir()]
    config["video_sets"] = {f"{target}/videos/{v}.mp4": {"crop": "0, 9, 0, 9"} for v in videos}
    (target / "config.yaml").write_text(yaml.safe_dump(config))
    return target


@pytest.mark.parametrize("name", ["demo", "openfield", "flies13"])
def test_a_shuffle_of_deeplabcut_is_our_split(
    name: str, deeplabcut: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = tmp_path / "project"
    if name == "demo":
        write_demo_project(root)
    else:
        _copy(request.getfixturevalue(name), root)
    project = open_project(root)
    labels = load_labels(project)
    theirs = deeplabcut("create_shuffle", root, len(labels))
    assert theirs["bodyparts"] == list(project.bodyparts)
    if project.multianimal:
        assert theirs["individuals"] == list(project.individuals)
    split = DLCShuffleSplit(shuffle=3)(labels, project)
    # DeepLabCut merges the videos in the order of config.yaml, which is alphabetical here as ours.
    assert list(split.train) == sorted(theirs["train"])
    assert list(split.test) == sorted(theirs["test"])
