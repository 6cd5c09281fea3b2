"""Matching of predictions to labelled animals, and of points to labelled keypoints.

Both rules are DeepLabCut's, found from its numbers, so that errors in pixels are comparable.
"""

import numpy as np

from dlcexp.evaluation.pairs import PosePairs

# Below this OKS a prediction shows another animal, and its distance has no meaning.
MIN_SIMILARITY = 1e-6
NEAREST = 3
# COCO's mark of a labelled, visible keypoint.
VISIBLE = 2


def match_individuals(pairs: PosePairs, similarity: np.ndarray) -> np.ndarray:
    """Assign predictions to labelled individuals, the most confident prediction first.

    Each prediction wants the one individual it is most similar to. It stays unmatched when that
    individual is taken or the similarity is below `MIN_SIMILARITY`.

    Args:
        pairs: F frames with n labelled individuals.
        similarity: OKS (F, n, m), without margin.

    Returns:
        Index of the prediction of each labelled individual (F, n), -1 for none.
    """
    frames, individuals, _ = similarity.shape
    match = np.full((frames, individuals), -1)
    if individuals == 0:
        return match
    for prediction in pairs.order.T:
        wanted = similarity[np.arange(frames), :, prediction]
        best = wanted.argmax(axis=1)
        good = wanted.max(axis=1) >= MIN_SIMILARITY
        good &= match[np.arange(frames), best] == -1
        row = np.nonzero(good)[0]
        match[row, best[row]] = prediction[row]
    return match


def match_detections(truth: np.ndarray, points: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Assign the points predicted for one bodypart to its labels, whatever animal they belong to.

    Labels choose in the order of the distance to their nearest point; each takes the closest that
    is free among its three nearest, or none. The distance has a third coordinate, visibility (2)
    against confidence, so that of two equally close points the more confident is nearer.

    Args:
        truth: labels of the bodypart, px (F, n, 2), NaN where unlabelled.
        points: predictions of the bodypart, px (F, m, 2), NaN where absent.
        confidence: of the predictions (F, m).

    Returns:
        Index of the point of each label (F, n), -1 for none.
    """
    squared = ((truth[:, :, None] - points[:, None]) ** 2).sum(axis=-1)
    distance = np.nan_to_num(squared + (VISIBLE - confidence[:, None]) ** 2, nan=np.inf)
    frames, individuals, predictions = distance.shape
    match = np.full((frames, individuals), -1)
    if predictions == 0:
        return match
    nearest = np.argsort(distance, axis=2, kind="stable")[..., :NEAREST]
    taken = np.zeros((frames, predictions), dtype=bool)
    frame = np.arange(frames)
    for label in np.argsort(distance.min(axis=2), axis=1, kind="stable").T:
        for choice in range(nearest.shape[2]):
            point = nearest[frame, label, choice]
            take = (match[frame, label] == -1) & ~taken[frame, point]
            take &= np.isfinite(distance[frame, label, point])
            match[frame[take], label[take]] = point[take]
            taken[frame[take], point[take]] = True
    return match
