"""The labelled frames of a project as arrays."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlcexp.deeplabcut.project import Project
from dlcexp.errors import ProjectError

logger = logging.getLogger(__name__)

# The individual under which DeepLabCut files the bodyparts that exist once in a frame.
_UNIQUE = "single"

_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled frames; the first axis of every array is the frame.

    Attributes:
        names: path of each image below the project, with forward slashes.
        images: absolute path of each image; all exist.
        folders: video folder of each frame.
        keypoints: (frames, individuals, bodyparts, 2) px; NaN where unlabelled. The slot of an
            animal is its place in `Project.individuals`.
        unique: (frames, unique bodyparts, 2) px; NaN where unlabelled.
        boxes: (frames, individuals, 4) x, y, width, height in px where a COCO file gives them.
        absent: frames that are listed but whose image is missing; not in the arrays.
    """

    names: tuple[str, ...]
    images: tuple[Path, ...]
    folders: tuple[str, ...]
    keypoints: NDArray[np.float64]
    unique: NDArray[np.float64]
    boxes: NDArray[np.float64] | None = None
    absent: tuple[str, ...] = ()


def load_labels(project: Project) -> Labels:
    """Read every label of a project.

    Frames whose image is missing are left out and named in one warning.

    Raises:
        ProjectError: there are no labels, or a file cannot be read or does not fit the project.
    """
    if project.kind == "coco":
        from dlcexp.deeplabcut.coco import load_coco_labels

        return load_coco_labels(project)
    tables = [_read_folder(folder, project) for folder in _label_folders(project)]
    if not tables:
        raise ProjectError(
            f"{project.root / 'labeled-data'} has no folder with labels "
            f"(CollectedData_{project.scorer}.h5 or .csv)."
        )
    names = [name for frame_names, _, _ in tables for name in frame_names]
    keypoints = np.concatenate([points for _, points, _ in tables])
    unique = np.concatenate([points for _, _, points in tables])
    return keep_existing(project, names, keypoints, unique)


def keep_existing(
    project: Project,
    names: Sequence[str],
    keypoints: NDArray[np.float64],
    unique: NDArray[np.float64],
    boxes: NDArray[np.float64] | None = None,
) -> Labels:
    """Labels of the frames whose image exists; the others are named in one warning.

    Raises:
        ProjectError: none of them exists.
    """
    images = [project.root.joinpath(*name.split("/")) for name in names]
    exists = np.array([image.is_file() for image in images], dtype=bool)
    absent = tuple(name for name, there in zip(names, exists, strict=True) if not there)
    if absent:
        shown = ", ".join(absent[:_SHOWN]) + (", ..." if len(absent) > _SHOWN else "")
        if not exists.any():
            raise ProjectError(f"none of the {len(absent)} labelled images exists: {shown}")
        logger.warning("%d labelled frames are left out, no image: %s", len(absent), shown)
    kept = np.flatnonzero(exists)
    return Labels(
        names=tuple(names[i] for i in kept),
        images=tuple(images[i] for i in kept),
        folders=tuple(Path(names[i]).parent.name for i in kept),
        keypoints=keypoints[kept],
        unique=unique[kept],
        boxes=None if boxes is None else boxes[kept],
        absent=absent,
    )


def _label_folders(project: Project) -> list[Path]:
    """Folders that hold labels, in natural order (video2 before video10)."""
    root = project.root / "labeled-data"
    if not root.is_dir():
        return []
    folders = [f for f in root.iterdir() if f.is_dir() and any(f.glob("CollectedData_*.*"))]
    visible = [f for f in folders if not f.name.startswith(".") and not f.name.endswith("_labeled")]
    return sorted(visible, key=lambda f: [int(t) if t.isdigit() else t for t in _tokens(f.name)])


def _tokens(name: str) -> list[str]:
    # Text and numbers alternate, text first, so that equal positions compare.
    return re.split(r"(\d+)", name.lower())


def _read_folder(
    folder: Path, project: Project
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    path = _label_file(folder, project.scorer)
    table = _read_table(path)
    # The scorer is one level of the columns and the same throughout.
    table.columns = table.columns.droplevel(0)
    points = _Points(table, path, single=table.columns.nlevels == 2)
    animals = project.individuals if not points.single else (None,)
    if points.single and project.multianimal:
        raise ProjectError(f"{path} has labels of one animal, and the project is multi-animal.")
    if not points.single and not project.multianimal:
        raise ProjectError(f"{path} has labels of several animals, and the project has one.")
    points.check_bodyparts(project)
    keypoints = np.stack([points.of(animal, project.bodyparts) for animal in animals], axis=1)
    unique = points.of(_UNIQUE, project.unique_bodyparts)
    return _frame_names(table.index, folder), keypoints, unique


def _label_file(folder: Path, scorer: str) -> Path:
    """The h5 file of the project's scorer, else its csv, else the only label file there."""
    for suffix in (".h5", ".csv"):
        path = folder / f"CollectedData_{scorer}{suffix}"
        if path.is_file():
            return path
    others = sorted([*folder.glob("CollectedData_*.h5"), *folder.glob("CollectedData_*.csv")])
    scorers = {path.stem for path in others}
    if len(scorers) != 1:
        found = ", ".join(sorted(scorers)) or "none"
        raise ProjectError(f"{folder} has no labels of the scorer {scorer!r}; found: {found}.")
    return next((path for path in others if path.suffix == ".h5"), others[0])


def _read_table(path: Path) -> pd.DataFrame:
    """The label table; its column levels are scorer, [individuals,] bodyparts, coords."""
    try:
        if path.suffix == ".h5":
            return pd.DataFrame(pd.read_hdf(path))
        return _read_csv(path)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ProjectError(f"cannot read the labels {path}: {error}") from error


def _read_csv(path: Path) -> pd.DataFrame:
    """A csv with three or four header lines and the frame in one column or in three."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    starts = [line.partition(",")[0] for line in lines[:4]]
    levels = starts.index("coords") + 1
    width = 3 if lines[levels - 1].startswith("coords,,,") else 1
    table = pd.read_csv(path, header=list(range(levels)), index_col=list(range(width)))
    return table


class _Points:
    """Access to a label table by individual and bodypart."""

    def __init__(self, table: pd.DataFrame, path: Path, single: bool) -> None:
        self.table = table
        self.path = path
        self.single = single

    def check_bodyparts(self, project: Project) -> None:
        """Refuse a table that lacks every bodypart; name those that the project does not know."""
        found = {str(name) for name in self.table.columns.get_level_values("bodyparts")}
        known = {*project.bodyparts, *project.unique_bodyparts}
        if not found & known:
            raise ProjectError(
                f"{self.path} labels {', '.join(sorted(found)) or 'nothing'}, and the project's "
                f"bodyparts are {', '.join(project.bodyparts)}."
            )
        if found - known:
            unknown = ", ".join(sorted(found - known))
            logger.warning("%s: not a bodypart of the project, ignored: %s", self.path, unknown)

    def of(self, individual: str | None, bodyparts: Sequence[str]) -> NDArray[np.float64]:
        """(frames, bodyparts, 2) of one individual; NaN where the table has no such column."""
        prefix = () if individual is None else (individual,)
        points = np.full((len(self.table), len(bodyparts), 2), np.nan)
        for part, bodypart in enumerate(bodyparts):
            for axis, coordinate in enumerate("xy"):
                column = (*prefix, bodypart, coordinate)
                if column in self.table.columns:
                    points[:, part, axis] = pd.to_numeric(self.table[column], errors="coerce")
        # Half a point is no point.
        points[np.isnan(points).any(axis=-1)] = np.nan
        return points


def _frame_names(index: pd.Index, folder: Path) -> list[str]:
    """`labeled-data/video/img.png` for each row, whichever way the index spells it."""
    rows = ["/".join(map(str, row)) if isinstance(row, tuple) else str(row) for row in index]
    # PureWindowsPath splits at both kinds of slash.
    return [f"labeled-data/{folder.name}/{PureWindowsPath(row).name}" for row in rows]
