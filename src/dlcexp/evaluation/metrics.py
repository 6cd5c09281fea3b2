"""Errors of predicted poses against labelled ones: RMSE, PCK, OKS mAP and mAR.

What DeepLabCut calls RMSE, and we therefore too, is the mean Euclidean distance in pixels, not the
root of a mean square.
"""

from collections.abc import Sequence

import numpy as np

from dlcexp.evaluation.distances import (
    Distances,
    detection_distances,
    individual_distances,
    matched_individuals,
    mean_or_nan,
)
from dlcexp.evaluation.oks import MIN_KEYPOINTS, average_precision_and_recall, box_sides
from dlcexp.evaluation.pairs import PosePairs, Poses, pair_poses

PCK_THRESHOLDS = (0.05, 0.1, 0.2)


def evaluate_poses(
    ground_truth: Poses,
    predictions: Poses,
    *,
    bodyparts: Sequence[str],
    pcutoff: float = 0.6,
    oks_sigma: float | Sequence[float] = 0.1,
    oks_bbox_margin: float = 0.0,
    pck_thresholds: Sequence[float] = PCK_THRESHOLDS,
    single_animal: bool | None = None,
    unique_bodyparts: Sequence[str] = (),
    unique_ground_truth: Poses | None = None,
    unique_predictions: Poses | None = None,
    with_identity: bool = False,
) -> dict[str, float]:
    """Score predictions against ground truth.

    A NaN in the result means that there was nothing to average: a bodypart without a label in
    these frames (or, for several animals, in any matched animal), no prediction above `pcutoff`,
    no animal with two labelled keypoints (mAP, mAR, PCK).

    Args:
        ground_truth: frame name to (n, k, 2) px, or (n, k, 3) with a visibility; NaN unlabelled.
        predictions: frame name to (m, k, 3): x px, y px, confidence; NaN where there is none.
        bodyparts: the k names.
        pcutoff: confidence from which a keypoint enters `rmse_pcutoff`.
        oks_sigma: spread of labelling relative to the animal, one number or one per bodypart.
        oks_bbox_margin: px by which the box whose area enters OKS grows on each side.
        pck_thresholds: fractions of the longer side of the ground-truth box.
        single_animal: pair the only prediction with the only animal, whatever their distance;
            None: when no frame has more than one of either.
        unique_bodyparts: names of the keypoints that belong to no individual.
        unique_ground_truth: as `ground_truth`, with one individual; enters the RMSE only.
        unique_predictions: as `predictions`, with one individual.
        with_identity: the n-th place is the same animal in labels and predictions.

    Returns:
        `rmse`, `rmse_pcutoff`, `median_error` (px, matched animals); `found` (percent of the
        animals' labels that were matched with a prediction, of which these are);
        `rmse_detections`, `rmse_detections_pcutoff` (px, keypoints matched one by one; several
        animals only);
        `mAP`, `mAR` (percent); `pck_<threshold>` (0 to 1); `rmse_<bodypart>` (px);
        `identity_accuracy` (percent of the matched animals that are in their place).

    Raises:
        ValueError: frames or bodyparts of the two do not fit, or `single_animal` with more.
    """
    pairs = pair_poses(ground_truth, predictions, len(bodyparts))
    sigma = np.asarray(oks_sigma, dtype=np.float64)
    if single_animal is None:
        single_animal = max(pairs.truth.shape[1], pairs.poses.shape[1]) <= 1
    match = matched_individuals(pairs, single_animal)
    matched = individual_distances(pairs, match)
    unique = _unique_distances(unique_ground_truth, unique_predictions, len(unique_bodyparts))

    scores = _rmse("rmse", matched, unique, pcutoff)
    scores["median_error"] = _median_or_nan(matched.pixels)
    scores["found"] = 100 * mean_or_nan(np.isfinite(matched.pixels)[pairs.labelled] * 1.0)
    precision, recall = average_precision_and_recall(pairs, sigma, oks_bbox_margin)
    scores |= {"mAP": precision, "mAR": recall}
    scores |= _pck(pairs, matched, pck_thresholds)
    if not single_animal:
        scores |= _rmse("rmse_detections", detection_distances(pairs), unique, pcutoff)
    if with_identity:
        scores["identity_accuracy"] = _identity_accuracy(match, pairs.labelled)
    scores |= matched.per_bodypart(bodyparts)
    scores |= unique.per_bodypart(unique_bodyparts)
    return scores


def _unique_distances(
    ground_truth: Poses | None, predictions: Poses | None, bodyparts: int
) -> Distances:
    """Distances of the keypoints that belong to no individual."""
    pairs = pair_poses(ground_truth or {}, predictions or {}, bodyparts)
    return individual_distances(pairs, matched_individuals(pairs, True))


def _identity_accuracy(match: np.ndarray, labelled: np.ndarray) -> float:
    """Percent of the labelled animals with a prediction whose prediction is in their place.

    Args:
        match: prediction of each labelled individual (frames, individuals), -1 for none.
        labelled: which of their labels exist (frames, individuals, bodyparts).
    """
    right = match == np.arange(match.shape[1])
    return 100 * mean_or_nan(right[labelled.any(axis=2) & (match >= 0)] * 1.0)


def _median_or_nan(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def mean_pose_error(training: np.ndarray, frames: np.ndarray) -> float:
    """Return the mean error, px, of predicting the training mean of every keypoint.

    What a model must beat to have learnt anything. All individuals share one mean pose, and each
    label counts, whichever animal is near.

    Args:
        training: (training frames, individuals, bodyparts, 2) px, NaN where unlabelled.
        frames: (frames, individuals, bodyparts, 2) px to be predicted.
    """
    labelled = np.isfinite(training)
    count = np.maximum(labelled.sum(axis=(0, 1)), 1)
    total = np.where(labelled, training, 0.0).sum(axis=(0, 1))
    mean = np.where(labelled.any(axis=(0, 1)), total / count, np.nan)
    return mean_or_nan(np.linalg.norm(frames - mean, axis=-1))


def _rmse(name: str, matched: Distances, unique: Distances, pcutoff: float) -> dict[str, float]:
    """Mean distance over all keypoints, and over those predicted with at least `pcutoff`."""
    pixels = np.concatenate([matched.pixels.ravel(), unique.pixels.ravel()])
    confidence = np.concatenate([matched.confidence.ravel(), unique.confidence.ravel()])
    return {
        name: mean_or_nan(pixels),
        f"{name}_pcutoff": mean_or_nan(pixels[confidence >= pcutoff]),
    }


def _pck(pairs: PosePairs, matched: Distances, thresholds: Sequence[float]) -> dict[str, float]:
    """Percentage (here a fraction) of correct keypoints, Yang and Ramanan, PAMI 2013.

    A labelled keypoint is correct when its prediction is within a fraction of the longer side of
    the box around the individual's labels, as in AP-10K and MMPose. A keypoint of an individual
    that nothing was matched with is wrong. Individuals with one label have no box: left out.
    """
    side = box_sides(pairs.truth).max(axis=-1, initial=0.0)[..., None]
    counted = pairs.labelled & (pairs.labelled.sum(axis=-1) >= MIN_KEYPOINTS)[..., None]
    # A comparison with NaN, where nothing was predicted, is False.
    return {
        f"pck_{threshold:g}": mean_or_nan((matched.pixels <= threshold * side)[counted] * 1.0)
        for threshold in thresholds
    }
