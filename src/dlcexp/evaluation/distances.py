"""Distances between labels and the predictions they were matched with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlcexp.evaluation.matching import match_detections, match_individuals
from dlcexp.evaluation.oks import object_keypoint_similarity
from dlcexp.evaluation.pairs import PosePairs

# As DeepLabCut: whom a pose belongs to does not depend on the sigma of the mAP.
MATCHING_SIGMA = 0.1


@dataclass(frozen=True, eq=False)
class Distances:
    """The distance of each label from its prediction.

    Attributes:
        pixels: (frames, labelled individuals, bodyparts), NaN without label or prediction.
        confidence: of the prediction, same shape and NaN.
    """

    pixels: np.ndarray
    confidence: np.ndarray

    def per_bodypart(self, bodyparts: Sequence[str]) -> dict[str, float]:
        """Return `rmse_<bodypart>` for each name, px; NaN for a bodypart without a distance."""
        names = [f"rmse_{bodypart}" for bodypart in bodyparts]
        return {name: mean_or_nan(self.pixels[..., k]) for k, name in enumerate(names)}


def mean_or_nan(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN, NaN (without a warning) if there is none."""
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if finite.size else float("nan")


def individual_distances(pairs: PosePairs, match: np.ndarray) -> Distances:
    """Return distances if labelled individual (f, i) is predicted as `match[f, i]`, -1 as none."""
    frame = np.arange(len(match))[:, None]
    found = match >= 0
    if pairs.poses.shape[1] == 0:
        nothing = np.full(pairs.labelled.shape, np.nan)
        return Distances(nothing, nothing)
    poses = np.where(found[..., None, None], pairs.poses[frame, match], np.nan)
    pixels = np.linalg.norm(pairs.truth - poses, axis=-1)
    return Distances(pixels, np.where(np.isnan(pixels), np.nan, pairs.confidence[frame, match]))


def detection_distances(pairs: PosePairs) -> Distances:
    """Return distances when each bodypart's points are matched separately, without individuals."""
    by_bodypart = []
    for k in range(pairs.truth.shape[2]):
        one = PosePairs(pairs.truth[:, :, [k]], pairs.poses[:, :, [k]], pairs.confidence[:, :, [k]])
        match = match_detections(one.truth[:, :, 0], one.poses[:, :, 0], one.confidence[:, :, 0])
        by_bodypart.append(individual_distances(one, match))
    if not by_bodypart:
        return Distances(pairs.confidence[:0], pairs.confidence[:0])
    return Distances(
        np.concatenate([one.pixels for one in by_bodypart], axis=2),
        np.concatenate([one.confidence for one in by_bodypart], axis=2),
    )


def matched_individuals(pairs: PosePairs, single_animal: bool) -> np.ndarray:
    """Return the prediction index of each labelled individual (frames, individuals), or -1.

    Raises:
        ValueError: `single_animal`, but a frame has room for more than one.
    """
    if not single_animal:
        return match_individuals(pairs, object_keypoint_similarity(pairs, MATCHING_SIGMA))
    frames, labelled, predicted = len(pairs.truth), pairs.truth.shape[1], pairs.poses.shape[1]
    if max(labelled, predicted) > 1:
        raise ValueError(f"single_animal, but {labelled} are labelled and {predicted} predicted")
    return np.full((frames, labelled), 0 if predicted else -1)
