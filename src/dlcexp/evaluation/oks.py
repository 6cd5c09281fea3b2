"""Object keypoint similarity, and the average precision and recall that COCO builds on it.

Protocol: https://cocodataset.org/#keypoints-eval, as pycocotools computes it, without a limit to
the number of individuals in a frame. DeepLabCut's two particulars: all bodyparts share one sigma
by default, and the area of an individual is that of the box around its labelled
keypoints, enlarged by a margin.
"""

import numpy as np

from dlcexp.evaluation.pairs import PosePairs

THRESHOLDS = np.linspace(0.50, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
# An individual, labelled or predicted, is scored only when it has an extent.
MIN_KEYPOINTS = 2


def object_keypoint_similarity(
    pairs: PosePairs, sigma: float | np.ndarray = 0.1, margin: float = 0.0
) -> np.ndarray:
    """Compute the OKS of every prediction with every labelled individual of its frame.

    The mean over the labelled keypoints of exp(-d^2 / (2 area (2 sigma)^2)). A predicted point that
    is absent counts 0. An individual with fewer than two labelled keypoints has OKS 0.

    Args:
        pairs: F frames, n labelled and m predicted individuals, k bodyparts.
        sigma: spread of human labelling relative to the animal's size: one number, or (k,).
        margin: px by which the ground-truth box grows on each side before its area is taken.

    Returns:
        (F, n, m), from 0 to 1.
    """
    frames, individuals, bodyparts = pairs.labelled.shape
    # A box without area (two points in a row) stays comparable: perfect 1, anything else 0.
    area = np.prod(box_sides(pairs.truth) + 2 * margin, axis=-1) + np.spacing(1)
    spread = 2 * (2 * np.broadcast_to(sigma, (bodyparts,))) ** 2
    total = np.zeros((frames, individuals, pairs.poses.shape[1]))
    for k in range(bodyparts):
        offset = pairs.truth[:, :, None, k] - pairs.poses[:, None, :, k]
        squared = (offset**2).sum(axis=-1)
        total += np.nan_to_num(np.exp(-squared / (spread[k] * area[..., None])))
    count = pairs.labelled.sum(axis=-1)[..., None]
    return np.where(count >= MIN_KEYPOINTS, total / np.maximum(count, 1), 0.0)


def box_sides(truth: np.ndarray) -> np.ndarray:
    """Return width and height of the box around the labelled keypoints, px; 0 where none are.

    Args:
        truth: (..., bodyparts, 2), NaN where unlabelled.
    """
    low = np.where(np.isnan(truth), np.inf, truth).min(axis=-2, initial=np.inf)
    high = np.where(np.isnan(truth), -np.inf, truth).max(axis=-2, initial=-np.inf)
    sides: np.ndarray = np.maximum(high - low, 0.0)
    return sides


def average_precision_and_recall(
    pairs: PosePairs, sigma: float | np.ndarray = 0.1, margin: float = 0.0
) -> tuple[float, float]:
    """Compute COCO mAP and mAR in percent, over OKS thresholds 0.50, 0.55 .. 0.95.

    Individuals with fewer than two labelled keypoints are left out of the ground truth; what is
    predicted there counts as a false positive. Predictions with fewer than two keypoints are left
    out too.

    DeepLabCut differs where animals overlap: there, a prediction whose most similar individual is
    taken gets no other; COCO lets it have the next.

    Returns:
        (mAP, mAR); both NaN when no individual has two labelled keypoints.
    """
    positives = int((pairs.labelled.sum(axis=-1) >= MIN_KEYPOINTS).sum())
    if positives == 0:
        return np.nan, np.nan
    scored = np.isfinite(pairs.poses[..., 0]).sum(axis=-1) >= MIN_KEYPOINTS
    similarity = object_keypoint_similarity(pairs, sigma, margin) * scored[:, None]
    hits = _coco_hits(similarity, pairs.order)
    scores = np.where(scored, pairs.score, np.nan)
    scores = np.take_along_axis(scores, pairs.order, axis=1).ravel()
    ranking = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]
    if ranking.size == 0:
        return 0.0, 0.0

    true_positives = np.cumsum(hits.reshape(len(THRESHOLDS), -1)[:, ranking], axis=1)
    recall = true_positives / positives
    precision = true_positives / np.arange(1, ranking.size + 1)
    # Precision at a recall is the best that any longer ranking reaches.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    average = [_mean_precision(p, r) for p, r in zip(precision, recall, strict=True)]
    return 100 * float(np.mean(average)), 100 * float(recall[:, -1].mean())


def _mean_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Precision averaged over COCO's 101 recalls, 0 at recalls that are never reached."""
    index = np.searchsorted(recall, RECALLS, side="left")
    return float(np.append(precision, 0.0)[index].mean())


def _coco_hits(similarity: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return which predictions are true positives at each threshold.

    In order of score, each prediction takes the most similar individual that is still free.

    Args:
        similarity: (F, n, m).
        order: predictions by falling score (F, m).

    Returns:
        (thresholds, F, m), the last axis in the order of `order`.
    """
    frames, individuals, predictions = similarity.shape
    hits = np.zeros((len(THRESHOLDS), frames, predictions), dtype=bool)
    if individuals == 0:
        return hits
    free = np.ones((len(THRESHOLDS), frames, individuals), dtype=bool)
    frame = np.arange(frames)
    for rank in range(predictions):
        candidates = np.where(free, similarity[frame, :, order[:, rank]], -1.0)
        # pycocotools gives a tie to the individual listed last.
        best = individuals - 1 - candidates[..., ::-1].argmax(axis=-1)
        reached = np.take_along_axis(candidates, best[..., None], axis=-1)[..., 0]
        hits[:, :, rank] = reached >= np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
        threshold, row = np.nonzero(hits[:, :, rank])
        free[threshold, row, best[threshold, row]] = False
    return hits
