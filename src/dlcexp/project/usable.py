"""The labels that can be used: those of images that exist, and inside of them."""

import logging
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from dlcexp.errors import ProjectError
from dlcexp.project.model import Labels, Project
from dlcexp.text import listed

logger = logging.getLogger(__name__)

_SHOWN = 3
# Orientations in EXIF from this one on swap width and height.
_FIRST_TURNED = 5


def usable_labels(labels: Labels, project: Project) -> Labels:
    """Keep the labels that are inside of an image that exists; warn once of each kind of others.

    Raises:
        ProjectError: no image exists.
    """
    return _keep_inside(_keep_existing(labels, project), project)


def _keep_existing(labels: Labels, project: Project) -> Labels:
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
    return replace(_frames(labels, np.flatnonzero(exists)), absent=absent)


def _keep_inside(labels: Labels, project: Project) -> Labels:
    """Remove labels outside of their image, as DeepLabCut does; warn once of them.

    A frame with no other labels is left out: it is not one without animals.
    """
    keypoints = labels.keypoints.reshape(len(labels), -1, 2)
    joined = np.concatenate([keypoints, labels.unique], axis=1)
    sizes = np.array([_size(image) for image in labels.images]).reshape(-1, 1, 2)
    outside: NDArray[np.bool_] = np.any((joined < 0) | (joined >= sizes), axis=-1)
    if not outside.any():
        return labels
    frames = np.flatnonzero(outside.any(axis=1))
    logger.warning(
        "%s: %d labels in %d frames are outside of the image and do not count: %s",
        project.source, outside.sum(), len(frames),
        listed((labels.names[frame] for frame in frames), _SHOWN),
    )  # fmt: skip
    joined[outside] = np.nan
    keypoints, unique = np.split(joined, [keypoints.shape[1]], axis=1)
    inside = replace(labels, keypoints=keypoints.reshape(labels.keypoints.shape), unique=unique)
    emptied = [frame for frame in frames if not np.isfinite(joined[frame]).any()]
    return _frames(inside, np.setdiff1d(np.arange(len(labels)), emptied))


def _frames(labels: Labels, rows: Iterable[int]) -> Labels:
    """Return the labels of some frames."""
    kept = list(rows)
    return replace(
        labels,
        names=tuple(labels.names[i] for i in kept),
        images=tuple(labels.images[i] for i in kept),
        folders=tuple(labels.folders[i] for i in kept),
        keypoints=labels.keypoints[kept],
        unique=labels.unique[kept],
        boxes=None if labels.boxes is None else labels.boxes[kept],
    )


def _size(image: Path) -> tuple[float, float]:
    """Return the width and height of an image as it is shown, in px, from the head of its file.

    A file that is not an image is as large as any: it is reported where it is decoded.
    """
    try:
        with Image.open(image) as head:
            # Asked for first, because Pillow decodes a PNG to look for it.
            exif = head.getexif() if "exif" in head.info else {}
            turned = exif.get(ExifTags.Base.Orientation, 1) >= _FIRST_TURNED
            return head.size[::-1] if turned else head.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return math.inf, math.inf
