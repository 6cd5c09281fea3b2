"""The frames with the worst and the best predictions of a model."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from dlcexp.evaluation.distances import mean_or_nan

# Cost, px, of a pair without a keypoint in common: more than any image is wide.
LAST_RESORT = 1e9


@dataclass(frozen=True)
class FrameError:
    """The error of the predictions of one frame.

    Attributes:
        frame: position in the split.
        pixels: mean distance of the labels from the predictions of their animals, px; NaN if no
            labelled animal got a prediction.
        missed: labelled animals without a prediction.
        animals: labelled animals.
    """

    frame: int
    pixels: float
    missed: int
    animals: int


def rank_frames(truth: np.ndarray, poses: np.ndarray) -> list[FrameError]:
    """Rank labelled frames, the worst first: by animals missed, then by mean distance.

    Animals and predictions are assigned so that the distances are smallest in sum, however large:
    unlike in the metrics, a pose far from every animal is an error here, not a detection missed.

    Args:
        truth: (frames, n, k, 2) px, NaN where unlabelled.
        poses: (frames, m, k, 3) px and confidence, NaN where absent.
    """
    errors = [
        _frame_error(frame, labels, found)
        for frame, (labels, found) in enumerate(zip(truth, poses, strict=True))
        if np.isfinite(labels).any()
    ]
    return sorted(errors, key=lambda e: (e.missed, np.nan_to_num(e.pixels)), reverse=True)


def assign(labels: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the predictions of labelled animals with the smallest sum of distances.

    Args:
        labels: (n, k, 2) px, NaN where unlabelled.
        found: (m, k, 2 or 3) px, NaN where absent.

    Returns:
        Indices of animals and of their predictions; only pairs with a keypoint in common.
    """
    distances = np.linalg.norm(labels[:, None] - found[None, ..., :2], axis=-1)
    known = np.isfinite(distances)
    count = known.sum(axis=-1)
    total = np.where(known, distances, 0.0).sum(axis=-1)
    cost = np.where(count > 0, total / np.maximum(count, 1), LAST_RESORT)
    animals, predictions = linear_sum_assignment(cost)
    common = count[animals, predictions] > 0
    return animals[common], predictions[common]


def _frame_error(frame: int, labels: np.ndarray, found: np.ndarray) -> FrameError:
    labelled = int(np.isfinite(labels).all(axis=-1).any(axis=-1).sum())
    animals, predictions = assign(labels, found)
    distances = np.linalg.norm(labels[animals] - found[predictions][..., :2], axis=-1)
    return FrameError(frame, mean_or_nan(distances), labelled - len(animals), labelled)
