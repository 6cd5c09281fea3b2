"""Pictures of the frames with the worst and the best predictions of a model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcexp.data.loading import PoseData
from dlcexp.data.splits import SplitName
from dlcexp.evaluation.canvas import save_figure
from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.figures import Example, Skeleton, draw_example
from dlcexp.evaluation.ranking import FrameError, rank_frames
from dlcexp.vocabulary import IDENTITY


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame among the worst or the best.

    Attributes:
        kind: `worst` or `best`.
        place: among these, from 1.
        example: what is drawn.
        skeleton: how.
    """

    kind: str
    place: int
    example: Example
    skeleton: Skeleton


def draw_examples(evaluation: Evaluation, data: PoseData, folder: Path, cfg: Any) -> list[Path]:
    """Draw the worst and the best test frames as `worst-1.png`, `best-1.png` and so on.

    Training frames are used where there are no test frames.

    Args:
        evaluation: poses of the frames.
        data: labels and images.
        folder: where the pictures go.
        cfg: the resolved tree; `evaluation.examples` of either kind, `evaluation.pcutoff`.

    Returns:
        The files, worst first.
    """
    split: SplitName = "test" if len(data.split.test) else "train"
    count = cfg.evaluation.examples
    written = []
    for shown in chosen_frames(evaluation, data, cfg, split, worst=count, best=count):
        path = folder / f"{shown.kind}-{shown.place}.png"
        save_figure(draw_example(shown.example, shown.skeleton), path)
        written.append(path)
    return written


def chosen_frames(
    evaluation: Evaluation, data: PoseData, cfg: Any, split: SplitName, *, worst: int, best: int = 0
) -> Iterator[Shown]:
    """Yield the worst frames of a split, then the best; no frame is both. Images decode lazily.

    Args:
        evaluation: poses of the frames.
        data: labels and images.
        cfg: the resolved tree.
        split: which frames; end to end where they were evaluated so.
        worst, best: how many of either at most.
    """
    rows = list(getattr(data.split, split))
    column = evaluation.column(split) or split
    truth, poses = data.labels.keypoints[rows], evaluation.poses[column]
    boxes = evaluation.boxes.get(split, {})
    ranking = rank_frames(truth, poses)
    chosen = {"worst": ranking[:worst], "best": ranking[worst:][::-1][:best]}
    project = data.project
    names = _names(project.individuals, with_identity=IDENTITY in cfg.model.heads)
    bodyparts = project.bodyparts
    if column in evaluation.unique:
        truth = _beside(truth, data.labels.unique[rows, None])
        poses = _beside(poses, evaluation.unique[column])
        names, bodyparts = [*names, ""], (*bodyparts, *project.unique_bodyparts)
    skeleton = Skeleton(bodyparts, project.skeleton, cfg.evaluation.pcutoff)
    for kind, errors in chosen.items():
        for place, error in enumerate(errors, start=1):
            row = rows[error.frame]
            name = data.labels.names[row]
            title = f"{name}\n{kind} {place} of {len(ranking)} {split} frames: {_described(error)}"
            example = Example(
                data.cache(data.labels.images[row]),
                truth[error.frame],
                poses[error.frame],
                title,
                names=names,
                **({"boxes": boxes[row]} if row in boxes else {}),
            )
            yield Shown(kind, place, example, skeleton)


def _described(error: FrameError) -> str:
    """Return the error of the predictions of a frame as text."""
    distance = "nothing found" if np.isnan(error.pixels) else f"mean error {error.pixels:.1f} px"
    missed = f", {error.missed} of {error.animals} animals missed" if error.missed else ""
    return distance + missed


def _names(individuals: Sequence[str], *, with_identity: bool) -> list[str]:
    """Return the labels of the animals: names if the model identifies them, else numbers."""
    if len(individuals) == 1:
        return [""]
    if with_identity:
        return list(individuals)
    return [f"animal {number}" for number in range(1, len(individuals) + 1)]


def _beside(animals: np.ndarray, unique: np.ndarray) -> np.ndarray:
    """Points of animals (f, n, k, c) and unique ones (f, 1, u, c) as (f, n + 1, k + u, c)."""
    frames, n, k, c = animals.shape
    both = np.full((frames, n + 1, k + unique.shape[2], c), np.nan)
    both[:, :n, :k] = animals
    both[:, n:, k:] = unique
    return both
