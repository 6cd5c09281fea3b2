"""Whose poses a conditional model corrects, as DeepLabCut's files name it: a shuffle's."""

import filecmp
from pathlib import Path
from typing import Any

from dlcexp.deeplabcut.export import shuffle_conditions
from dlcexp.deeplabcut.shuffles import MODEL, trained_shuffles
from dlcexp.deeplabcut.snapshots import best_snapshot
from dlcexp.errors import ProjectError
from dlcexp.project import Project
from dlcexp.yaml_files import read_yaml


def find_copy(project: Project, snapshot: Path) -> Path | None:
    """Return `train` of the first shuffle of the project whose best snapshot is this one."""
    for folder in trained_shuffles(project.root):
        best = best_snapshot(folder)
        current = folder.parents[1].name == f"iteration-{project.iteration}"
        if (
            current
            and best
            and best.name == snapshot.name
            and filecmp.cmp(best, snapshot, shallow=False)
        ):
            return folder
    return None


def conditions_of(project: Project, train: Path) -> dict[str, Any]:
    """Return `inference.conditions` for the poses of a shuffle's best snapshot.

    Args:
        project: the project of the shuffle.
        train: the folder of that name in the shuffle.

    Raises:
        ProjectError: the shuffle has no snapshot, or `TrainingFraction` of the project does not
            have its fraction.
    """
    match, snapshot = MODEL.fullmatch(train.parent.name), best_snapshot(train)
    if match is None or snapshot is None:
        raise ProjectError(f"{train} has no snapshot: train it first.")
    config = read_yaml(project.source)
    percents = [int(100 * float(each)) for each in config.get("TrainingFraction") or []]
    percent = int(match["percent"])
    if percent not in percents:
        raise ProjectError(
            f"{project.source}: TrainingFraction has no {percent / 100}, by which DeepLabCut "
            f"finds {train.parent.name}."
        )
    number = int(match["shuffle"])
    return shuffle_conditions(number, percents.index(percent), snapshot.name)
