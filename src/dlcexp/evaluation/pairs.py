"""Labelled and predicted poses of the same frames as arrays of one shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Frame name to poses: (individuals, bodyparts, 2 or 3), px. The third value is a visibility in
# ground truth (0 or less: unlabelled) and a confidence in predictions. NaN: no such point.
Poses = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class PosePairs:
    """Ground truth and predictions, padded with NaN to common numbers of individuals.

    Attributes:
        truth: labelled positions, px (frames, labelled individuals, bodyparts, 2).
        poses: predicted positions, px (frames, predicted individuals, bodyparts, 2).
        confidence: of each predicted position (frames, predicted individuals, bodyparts).
    """

    truth: np.ndarray
    poses: np.ndarray
    confidence: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        """Mask of the labels that exist (frames, labelled individuals, bodyparts)."""
        labelled: np.ndarray = np.isfinite(self.truth).all(axis=-1)
        return labelled

    @property
    def score(self) -> np.ndarray:
        """Mean confidence of an individual (frames, predicted individuals); NaN: an empty slot."""
        known = np.isfinite(self.confidence)
        total = np.where(known, self.confidence, 0.0).sum(axis=-1)
        empty = np.isnan(self.poses[..., 0]).all(axis=-1)
        return np.where(empty, np.nan, total / np.maximum(known.sum(axis=-1), 1))

    @property
    def order(self) -> np.ndarray:
        """Predicted individuals of each frame, the highest score first, empty slots last."""
        return np.argsort(-self.score, axis=1, kind="stable")


def pair_poses(ground_truth: Poses, predictions: Poses, bodyparts: int) -> PosePairs:
    """Stack the frames of `ground_truth` with their predictions.

    Raises:
        ValueError: a frame has no entry in `predictions`, or not this number of bodyparts.
    """
    missing = [name for name in ground_truth if name not in predictions]
    if missing:
        raise ValueError(f"no predictions for {len(missing)} frames, the first is {missing[0]!r}")
    labels = [np.asarray(frame, dtype=np.float64) for frame in ground_truth.values()]
    found = [np.asarray(predictions[name], dtype=np.float64) for name in ground_truth]
    numbers = {frame.shape[1] for frame in labels + found}
    if numbers - {bodyparts}:
        raise ValueError(f"expected {bodyparts} bodyparts in each frame, found {sorted(numbers)}")

    truth = stack([_without_unlabelled(frame) for frame in labels], (bodyparts, 2))
    poses = stack(found, (bodyparts, 3))
    poses[~np.isfinite(poses[..., :2]).all(axis=-1), :2] = np.nan
    return PosePairs(truth, poses[..., :2], poses[..., 2])


def _without_unlabelled(frame: np.ndarray) -> np.ndarray:
    """Positions (individuals, bodyparts, 2), NaN where a label is absent or has visibility <= 0."""
    hidden = ~np.isfinite(frame).all(axis=-1)
    if frame.shape[-1] == 3:
        hidden |= frame[..., 2] <= 0
    return np.where(hidden[..., None], np.nan, frame[..., :2])


def stack(frames: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Stack (individuals, *shape) of varying individuals, with NaN in the slots left over."""
    individuals = max((len(frame) for frame in frames), default=0)
    stacked = np.full((len(frames), individuals, *shape), np.nan)
    for row, frame in zip(stacked, frames, strict=True):
        row[: len(frame)] = frame
    return stacked
