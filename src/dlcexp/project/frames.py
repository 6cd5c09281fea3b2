"""Frames and the video folders they lie in: names, order, and which images exist."""

import logging
import os
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from dlcexp.errors import ProjectError
from dlcexp.project.model import Labels, Project
from dlcexp.text import listed

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
LABELED_DATA = "labeled-data"
_SHOWN = 3


def video_folders(root: Path) -> list[Path]:
    """Return folders of `labeled-data` that hold frames, one per video, in natural order.

    Hidden folders, and the `*_labeled` ones where DeepLabCut draws labels on frames, are left out.
    """
    parent = root / LABELED_DATA
    if not parent.is_dir():
        return []
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    names = [name for name in names if not name.startswith(".") and not name.endswith("_labeled")]
    return [parent / name for name in sorted(names, key=natural_key)]


def image_names(folder: Path) -> set[str]:
    """Return file names of the images in `folder`."""
    with os.scandir(folder) as entries:
        return {
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (speed)
        }


def images_per_folder(root: Path) -> dict[str, int]:
    counts = {folder.name: len(image_names(folder)) for folder in video_folders(root)}
    return {name: count for name, count in counts.items() if count}


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return the sorting key by which `video2` comes before `video10`."""
    pieces = re.split(r"([0-9]+)", name)
    return [(int(piece), "") if i % 2 else (-1, piece) for i, piece in enumerate(pieces)]


def video_folder(name: str) -> str:
    """Return the folder of a frame by its name, without the leading `labeled-data/`."""
    return PurePosixPath(name).parent.as_posix().removeprefix(f"{LABELED_DATA}/")


def frame_name(row: object, folder: str = "") -> str:
    """Return `labeled-data/video/img.png` of an index entry, whichever way it is spelled.

    DeepLabCut writes three levels, or one path with the slashes of the labelling machine.

    Args:
        folder: the video folder that holds the file, which may have been renamed since.
    """
    parts = row if isinstance(row, tuple) else PureWindowsPath(str(row)).parts
    return "/".join((LABELED_DATA, folder or str(parts[-2]), str(parts[-1])))


def keep_existing(labels: Labels, project: Project) -> Labels:
    """Keep labels of the frames whose image exists; warn once of the others.

    Raises:
        ProjectError: no image exists.
    """
    exists = [image.is_file() for image in labels.images]
    absent = tuple(name for name, there in zip(labels.names, exists, strict=True) if not there)
    if not absent:
        return labels
    shown = listed(absent, _SHOWN)
    if not any(exists):
        raise ProjectError(
            f"{project.source}: none of its {len(absent)} labelled images exists: {shown}."
        )
    logger.warning(
        "%s: %d of %d labelled frames are left out, because the image is missing: %s",
        project.source, len(absent), len(labels), shown,
    )  # fmt: skip
    kept = [frame for frame, there in enumerate(exists) if there]
    return replace(
        labels,
        names=tuple(labels.names[i] for i in kept),
        images=tuple(labels.images[i] for i in kept),
        folders=tuple(labels.folders[i] for i in kept),
        keypoints=labels.keypoints[kept],
        unique=labels.unique[kept],
        boxes=None if labels.boxes is None else labels.boxes[kept],
        absent=absent,
    )
