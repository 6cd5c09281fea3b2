"""`dlcexp.predict`: poses of the animals in images and videos, as arrays."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dlcexp.data.cache import read_image
from dlcexp.inference.finder import PoseFinder
from dlcexp.inference.sources import ImageSource, find_sources
from dlcexp.inference.stream import find_poses
from dlcexp.runs.run import Run
from dlcexp.vocabulary import BODYPART


def predict(
    run: Run | str | Path,
    source: str | Path | Iterable[str | Path],
    *,
    snapshot: Path | None = None,
    conditions: str | int | Path | None = None,
    head: str = BODYPART,
) -> dict[str, np.ndarray]:
    """Find the animals in images and videos.

    Args:
        run: a finished run, or its folder.
        source: an image, a video, a folder, a pattern such as `videos/*.mp4`, or several of them.
        snapshot: weights to use; None: the best of the run.
        conditions: conditional top-down, the source of poses, in place of the run's:
            a bottom-up run folder, the number of a shuffle, or a file that has these images.
        head: "unique_bodypart" for the bodyparts that belong to no individual.

    Returns:
        {path of the image: float32 (individuals, bodyparts, 3)}: x and y in px of the image,
        confidence; NaN where no further individual was found. In a project with identity, each
        animal is in the place of its individual. (1, unique bodyparts, 3) for that head.
        A video has one more axis, its frames, in front; NaN for those that cannot be decoded.

    Raises:
        UserError: there is no image or video, or the model has no such head.
        ProjectError: an image or video cannot be read.
    """
    sources = find_sources(source)
    finder = PoseFinder(run, snapshot=snapshot, conditions=conditions)
    finder.check_head(head)
    found: dict[str, np.ndarray] = {}
    for each in sources:
        each.check()
        chunks = list(find_poses(finder, each))
        if isinstance(each, ImageSource):
            _check_readable(each, np.concatenate([chunk.readable for chunk in chunks]))
        found |= each.by_path(np.concatenate([chunk.poses[head] for chunk in chunks]))
    return found


def _check_readable(source: ImageSource, readable: np.ndarray) -> None:
    """Raise the decoder's error if one of the images could not be decoded."""
    for number in np.flatnonzero(~readable):
        read_image(source.images[number])
