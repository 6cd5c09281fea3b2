"""Frames and the video folders they lie in: names and order."""

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from dlcexp.errors import ProjectError
from dlcexp.vocabulary import LABELED_DATA

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


def video_folders(root: Path) -> list[Path]:
    """Return folders of `labeled-data`, one per video, in natural order, without hidden ones."""
    parent = root / LABELED_DATA
    if not parent.is_dir():
        return []
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    names = [name for name in names if not name.startswith(".")]
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
    """Count images in each folder; not in the `*_labeled` ones, where DeepLabCut draws labels."""
    folders = [each for each in video_folders(root) if not each.name.endswith("_labeled")]
    counts = {folder.name: len(image_names(folder)) for folder in folders}
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

    Raises:
        ProjectError: it is not the path of an image.
    """
    parts = row if isinstance(row, tuple) else PureWindowsPath(str(row)).parts
    if len(parts) < 2 - bool(folder):
        raise ProjectError(f"{row!r} in a label table is not labeled-data/video/image.png.")
    return "/".join((LABELED_DATA, folder or str(parts[-2]), str(parts[-1])))
