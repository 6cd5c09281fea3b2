"""Boxes of animals: from labels, and shaken as augmentation. x, y, width, height in px."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from dlcexp.project import Labels

# px; a side that is shorter, such as that of a single keypoint without margin, becomes this long.
_SHORTEST_SIDE = 1.0

# px; a box with this margin still holds its keypoints when its corner and sides are truncated.
_SPARE_PIXELS = 2


def ground_truth_boxes(
    labels: Labels, index: int, image_shape: Sequence[int], margin: float
) -> NDArray[np.float64]:
    """Return the boxes of one frame: those of the project, else those around the keypoints.

    A given box without any extent counts as not given. Boxes end at the border of the image, as
    in DeepLabCut, and have sides of at least one pixel.

    Args:
        labels: all frames of the project.
        index: row of the frame.
        image_shape: of the image, (height, width, ...) px.
        margin: px between the outermost keypoints and the box; nothing is added to given boxes.

    Returns:
        (individuals, 4) x, y, width, height px; NaN for an animal without labels, and for one
        whose box lies outside the image.
    """
    boxes = _around(labels.keypoints[index], margin)
    if labels.boxes is not None:
        given = np.any(labels.boxes[index][:, 2:] > 0, axis=1)
        boxes[given] = labels.boxes[index][given]
    return _within(boxes, np.array(image_shape[1::-1], dtype=float))


def keypoint_boxes(
    keypoints: NDArray[Any], image_shape: Sequence[int], margin: float
) -> NDArray[np.float64]:
    """Return the boxes around poses, within the image.

    Args:
        keypoints: (n, bodyparts, 2) px, NaN where missing.
        image_shape: of the image, (height, width, ...) px.
        margin: px between the outermost keypoints and the box.

    Returns:
        (n, 4) x, y, width, height px; NaN without keypoints, and outside the image.
    """
    return _within(_around(keypoints, margin), np.array(image_shape[1::-1], dtype=float))


def whole_pixels(boxes: NDArray[Any], margin: float) -> NDArray[Any]:
    """Truncate corner and sides of boxes (..., 4) of labels, as DeepLabCut trains on them.

    Those that its detector finds, and those of conditions in inference, it does not truncate.
    Without a margin keypoints would be lost: such boxes stay as they are.
    """
    return np.trunc(boxes) if margin >= _SPARE_PIXELS else boxes


def _around(keypoints: NDArray[Any], margin: float) -> NDArray[Any]:
    low, high = extent(keypoints)
    return np.concatenate([low - margin, high - low + 2 * margin], axis=1)


def extent(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return lowest and highest x, y (n, 2) of points (n, k, 2); NaN for those without any."""
    low = np.min(points, axis=1, where=np.isfinite(points), initial=np.inf)
    high = np.max(points, axis=1, where=np.isfinite(points), initial=-np.inf)
    empty = ~np.isfinite(low)
    low[empty] = high[empty] = np.nan
    return low, high


def _within(boxes: NDArray[Any], limit: NDArray[Any]) -> NDArray[np.float64]:
    """Boxes cut at the border of an image of `limit` (width, height) px; NaN outside of it."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    outside = ~np.all((low < limit) & (high >= 0), axis=1)
    low, high = np.clip(low, 0, limit), np.clip(high, 0, limit)
    missing = np.maximum(_SHORTEST_SIDE - (high - low), 0)
    low = np.clip(low - missing / 2, 0, limit - _SHORTEST_SIDE)
    high = np.maximum(high, low + _SHORTEST_SIDE)
    clipped = np.concatenate([low, high - low], axis=1)
    clipped[outside] = np.nan
    return clipped


class RandomBBoxTransform:
    """Shifts and scales a box, as MMPose does when it trains RTMPose (Jiang et al., 2023).

    The numbers come from a standard normal distribution cut at -1 and 1. x and y are shifted by
    two of them times `shift_factor` times the side of the box; both sides are scaled by the
    middle of `scale_factor`, plus a third one times half its width. The box may leave the image.

    Args:
        shift_factor: largest shift, as a fraction of the box's sides.
        shift_prob: probability of a shift.
        scale_factor: smallest and largest scale.
        scale_prob: probability of a change of scale.
        p: probability that anything happens.
    """

    def __init__(
        self,
        shift_factor: float = 0.1,
        shift_prob: float = 0.25,
        scale_factor: Sequence[float] = (0.5, 1.5),
        scale_prob: float = 1.0,
        p: float = 1.0,
    ) -> None:
        self.shift_factor, self.shift_prob = shift_factor, shift_prob
        self.scales, self.scale_prob = (scale_factor[0], scale_factor[1]), scale_prob
        self.p = p

    def __call__(self, box: NDArray[Any], generator: np.random.Generator) -> NDArray[np.float64]:
        """A box (4,) made from `box` (4,); equal generators give equal boxes."""
        happens, shifts, scales = generator.random(3) < (self.p, self.shift_prob, self.scale_prob)
        *shift, scale = ndtri(generator.uniform(ndtr(-1), ndtr(1), size=3))
        sides, centre = box[2:], box[:2] + box[2:] / 2
        if happens and shifts:
            centre = centre + np.array(shift) * self.shift_factor * sides
        if happens and scales:
            low, high = self.scales
            sides = sides * ((low + high) / 2 + scale * (high - low) / 2)
        return np.concatenate([centre - sides / 2, sides])
