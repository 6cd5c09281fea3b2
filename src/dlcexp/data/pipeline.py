"""Applies albumentations transforms to an image with its labels, and keeps track of every point.

Only labelled points go in, each with two labels that identify it, so that a transform may drop,
reorder or exchange them. Boxes are passed as their corners, and three corners of the image are
passed along to find the inverse transform.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import UserError


@dataclass(frozen=True)
class Augmented:
    """One image after a pipeline, with its labels.

    Attributes:
        image: float32 (3, height, width); from `Pipeline.moved` uint8 (height, width, 3) RGB.
        keypoints: float64 (individuals, bodyparts, 2) px in the new image; NaN outside of it.
        unique: float64 (unique bodyparts, 2) px; NaN outside.
        boxes: float64 (individuals, 4) x, y, width, height px within the new image, or None.
        scale, offset: (2,) for x and y; `x_original = x * scale[0] + offset[0]`. NaN in training,
            where the way back is not a matter of scale and offset.
        conditions: float64 (bodyparts, 2) px, also outside of the new image, if there were any.
    """

    image: NDArray[Any]
    keypoints: NDArray[Any]
    unique: NDArray[Any]
    boxes: NDArray[Any] | None
    scale: NDArray[Any]
    offset: NDArray[Any]
    conditions: NDArray[Any] | None = None


class Pipeline:
    """Applies transforms to an image together with its labels; each call is decided by its seed.

    Args:
        transforms: of albumentations, in order; they must keep images uint8 with three channels.
        levels: float32 (3, 256): what each value of each output channel becomes.
        training: False keeps track of the way back to the original image.
        bgr: whether the output channels are blue, green, red.
    """

    def __init__(
        self,
        transforms: Sequence[A.BasicTransform],
        levels: NDArray[Any],
        *,
        training: bool,
        bgr: bool,
    ) -> None:
        # NoOp: Compose warns of keypoints that no transform would move, and refuses an empty list.
        # Invisible points stay: what is outside is decided here, once, at the end.
        self.compose = A.Compose(
            [A.NoOp(p=0.0), *transforms],
            keypoint_params=A.KeypointParams(
                "xy", label_fields=["owner", "part"], remove_invisible=False
            ),
            strict=True,
        )
        self.levels = levels
        self.training = training
        self.channels = (2, 1, 0) if bgr else (0, 1, 2)

    def __call__(
        self,
        image: NDArray[np.uint8],
        keypoints: NDArray[Any],
        unique: NDArray[Any],
        boxes: NDArray[Any] | None = None,
        *,
        seed: int,
        conditions: NDArray[Any] | None = None,
    ) -> Augmented:
        """Transform one sample; see `moved`."""
        moved = self.moved(image, keypoints, unique, boxes, seed=seed, conditions=conditions)
        return replace(moved, image=self._to_float(moved.image))

    def moved(
        self,
        image: NDArray[np.uint8],
        keypoints: NDArray[Any],
        unique: NDArray[Any],
        boxes: NDArray[Any] | None = None,
        *,
        seed: int,
        conditions: NDArray[Any] | None = None,
    ) -> Augmented:
        """Transform one sample, and leave its image uint8 RGB.

        Args:
            image: uint8 (height, width, 3) RGB; not changed.
            keypoints: (individuals, bodyparts, 2) px, NaN where unlabelled.
            unique: (unique bodyparts, 2) px, NaN where unlabelled.
            boxes: (individuals, 4) x, y, width, height px, NaN where there is none; or None.
            seed: of all that is random in this call.
            conditions: (bodyparts, 2) px of a pose that goes with the image; NaN for none.

        Raises:
            UserError: a transform of the user's gives images that cannot be used.
        """
        size = np.array(image.shape[1::-1], dtype=float)
        marks = np.array([[0, 0], [size[0], 0], [0, size[1]]])
        extras = np.concatenate([marks, _corners(boxes).reshape(-1, 2)])
        animals = keypoints if conditions is None else np.concatenate([keypoints, conditions[None]])
        points = _Points.of(animals, unique, extras)
        # Not set_random_seed: it starts every transform from the same numbers, so that all the
        # coins of one sample fall alike.
        self.compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        result = self.compose(
            image=image.copy(), keypoints=points.xy, owner=points.owner, part=points.part
        )
        moved = _Points.from_lists(result["keypoints"], result["owner"], result["part"])
        labelled, extras = moved.grids(len(animals), keypoints.shape[1] + len(unique), len(extras))
        labelled, others = np.split(labelled, [len(keypoints)])
        image = self._checked(result["image"])
        limit = np.array(image.shape[1::-1], dtype=float)
        labelled[np.any((labelled < 0) | (labelled >= limit), axis=-1)] = np.nan
        scale, offset = (np.full(2, np.nan),) * 2 if self.training else _way_back(extras[:3], size)
        return Augmented(
            image=image,
            keypoints=labelled[:, : keypoints.shape[1]],
            unique=labelled[0, keypoints.shape[1] :],
            boxes=None if boxes is None else _enclosing(extras[3:].reshape(-1, 4, 2), limit),
            scale=scale,
            offset=offset,
            conditions=None if conditions is None else others[0, : keypoints.shape[1]],
        )

    def _checked(self, image: NDArray[Any]) -> NDArray[Any]:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(
                f"data: the augmentations turn images into {image.dtype} of shape {image.shape}. "
                "They must stay uint8 with three channels; normalisation follows at the end."
            )
        return image

    def _to_float(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Channels first, each value looked up; 8 times as fast as arithmetic in numpy."""
        planes = [
            cv2.LUT(np.ascontiguousarray(image[..., channel]), levels)
            for channel, levels in zip(self.channels, self.levels, strict=True)
        ]
        return np.stack(planes)

    def to_image(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Convert values (3, height, width) to a uint8 (height, width, 3) RGB image."""
        image = np.empty((*values.shape[1:], 3), np.uint8)
        for plane, levels, channel in zip(values, self.levels, self.channels, strict=True):
            between = (levels[1:] + levels[:-1]) / 2
            image[..., channel] = np.searchsorted(between, plane)
        return image


@dataclass(frozen=True)
class _Points:
    """Points as albumentations carries them: position, and two labels that identify each."""

    xy: NDArray[Any]
    owner: NDArray[Any]
    part: NDArray[Any]

    @classmethod
    def of(cls, keypoints: NDArray[Any], unique: NDArray[Any], extras: NDArray[Any]) -> "_Points":
        """Return the labelled points; unique bodyparts go with individual 0, extras are part -1."""
        grid = np.full((len(keypoints), keypoints.shape[1] + len(unique), 2), np.nan)
        grid[:, : keypoints.shape[1]] = keypoints
        grid[0, keypoints.shape[1] :] = unique
        owner, part = np.nonzero(np.isfinite(grid).all(axis=-1))
        numbers = np.flatnonzero(np.isfinite(extras).all(axis=-1))
        return cls(
            xy=np.concatenate([grid[owner, part], extras[numbers]]),
            owner=np.concatenate([owner, numbers]),
            part=np.concatenate([part, np.full(len(numbers), -1)]),
        )

    @classmethod
    def from_lists(cls, xy: Sequence[Any], owner: Sequence[Any], part: Sequence[Any]) -> "_Points":
        """Return the points that albumentations gives back.

        Raises:
            UserError: one point has become several.
        """
        names = list(zip(map(int, owner), map(int, part), strict=True))
        if len(set(names)) < len(names):
            raise UserError(
                "data: a transform reflects the image at its border and copies keypoints with it. "
                "Give that transform a constant border: border_mode: 0."
            )
        numbers = np.array(names, dtype=int).reshape(-1, 2)
        return cls(np.asarray(xy, dtype=float).reshape(-1, 2), numbers[:, 0], numbers[:, 1])

    def grids(self, owners: int, parts: int, extras: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return arrays (owners, parts, 2) and (extras, 2); NaN for dropped points."""
        grid, rest = np.full((owners, parts, 2), np.nan), np.full((extras, 2), np.nan)
        labelled = self.part >= 0
        grid[self.owner[labelled], self.part[labelled]] = self.xy[labelled]
        rest[self.owner[~labelled]] = self.xy[~labelled]
        return grid, rest


def _corners(boxes: NDArray[Any] | None) -> NDArray[Any]:
    """(n, 4) boxes as x, y, width, height to their corners (n, 4, 2)."""
    if boxes is None:
        return np.zeros((0, 4, 2))
    units = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    return boxes[:, None, :2] + units * boxes[:, None, 2:]


def _enclosing(corners: NDArray[Any], limit: NDArray[Any]) -> NDArray[Any]:
    """Return the box (n, 4) around (n, 4, 2) corners, cut at the border; NaN if nothing is left."""
    clipped = np.clip(corners, 0, limit)
    low, high = clipped.min(axis=1), clipped.max(axis=1)
    boxes = np.concatenate([low, high - low], axis=1)
    boxes[~np.all(high > low, axis=1)] = np.nan
    return boxes


def _way_back(marks: NDArray[Any], size: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scale and offset to the original image from where its corners (0, 0), (w, 0), (0, h) went."""
    origin, right, below = marks
    extent = np.array([right[0] - origin[0], below[1] - origin[1]])
    skew = np.array([right[1] - origin[1], below[0] - origin[0]])
    if not (np.all(extent > 0) and np.all(np.abs(skew) < 1e-3)):
        raise UserError(
            "data.inference: a transform turns, mirrors or bends the image, so that predictions "
            "cannot be put back. Move it to data.train."
        )
    return size / extent, 0.0 - origin * size / extent
