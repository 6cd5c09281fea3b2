"""`dlcexp.predict`: poses of the animals in images and videos, as arrays."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dlcexp.inference.finder import PoseFinder
from dlcexp.inference.sources import find_sources
from dlcexp.inference.stream import find_poses
from dlcexp.training.run import Run


def predict(
    run: Run | str | Path,
    source: str | Path | Iterable[str | Path],
    *,
    snapshot: Path | None = None,
    conditions: str | int | Path | None = None,
    head: str = "bodypart",
) -> dict[str, np.ndarray]:
    """Find the animals in images and videos.

    Args:
        run: a finished run, or its folder.
        source: an image, a video, a folder, a pattern such as `videos/*.mp4`, or several of them.
        snapshot: weights to use; None: the best of the run.
        conditions: conditional top-down, what tells of the animals, in place of the run's own:
            a bottom-up run folder, the number of a shuffle, or a file that has these images.
        head: "unique_bodypart" for the bodyparts that belong to no individual.

    Returns:
        {path of the image: float32 (individuals, bodyparts, 3)}: x and y in px of the image,
        confidence; NaN where no further individual was found. In a project with identity, each
        animal is in the place of its individual. (1, unique bodyparts, 3) for that head.
        A video has one more axis, its frames, in front.

    Raises:
        UserError: there is no image or video, or the model has no such head.
        ProjectError: an image or video cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    sources = find_sources(source)
    finder = PoseFinder(run, snapshot=snapshot, conditions=conditions)
    finder.check_head(head)
    found: dict[str, np.ndarray] = {}
    for each in sources:
        each.check()
        chunks = [chunk.poses[head] for chunk in find_poses(finder, each)]
        poses = np.concatenate(chunks)
        found |= each.by_path(poses)
    return found
