"""Animals cut out of frames, as top-down models see them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dlcexp.data.boxes import RandomBBoxTransform, ground_truth_boxes, whole_pixels
from dlcexp.data.cache import ImageCache
from dlcexp.data.dataset import Sample, SampleDataset, as_sample
from dlcexp.data.pipeline import Pipeline
from dlcexp.project import Labels

# By this factor more than a turned crop shows, for images that are made smaller by a tenth.
_SPARE = 1.1


@dataclass(frozen=True)
class Window:
    """The part of an image that becomes a crop; it may reach beyond the image.

    Attributes:
        left, top, right, bottom: edges in whole px of the image; at least 1 px wide and high.
        size: (width, height) of the crop in px.
        shown: left, top, right, bottom of what is not black in the crop; None: all there is.
    """

    left: int
    top: int
    right: int
    bottom: int
    size: tuple[int, int]
    shown: tuple[int, int, int, int] | None = None

    @classmethod
    def around(cls, box: NDArray[Any], size: tuple[int, int]) -> "Window":
        """Return the smallest window around a box with the aspect ratio of the crop.

        One side of the box grows, its centre stays; then the edges are rounded to whole pixels.
        This is DeepLabCut's `top_down_crop`, which fails where less than a pixel is left.

        Args:
            box: (4,) x, y, width, height px.
            size: (width, height) of the crop in px.
        """
        x, y, width, height = map(float, box)
        ratio = size[0] / size[1]
        wide, high = max(width, height * ratio), max(height, width / ratio)
        left, right = _whole(x + width / 2, wide)
        top, bottom = _whole(y + height / 2, high)
        return cls(left, top, right, bottom, size)

    @classmethod
    def showing(cls, box: NDArray[Any], size: tuple[int, int]) -> "Window":
        """Return the window as `around`, with black outside of the box.

        The edges of the box are rounded to whole pixels, and as many are added on both sides. For
        square crops this is DeepLabCut's `top_down_crop(crop_with_context=False)`.

        Args:
            box: (4,) x, y, width, height px.
            size: (width, height) of the crop in px.
        """
        x, y, width, height = map(float, box)
        left, top, right, bottom = round(x), round(y), round(x + width), round(y + height)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        ratio = size[0] / size[1]
        wide, high = right - left, bottom - top
        across = max(0, round(high * ratio) - wide) // 2
        along = max(0, round(wide / ratio) - high) // 2
        return cls(
            left - across,
            top - along,
            right + across,
            bottom + along,
            size,
            shown=(left, top, right, bottom),
        )

    def with_surroundings(self) -> "Window":
        """Return a window of about this centre and scale, with all that a turned crop would show.

        Its crop is so large that the middle of it, of the size of this one, has no empty corner
        after any rotation, even when the image is made smaller by a tenth.
        """
        side = math.ceil(_SPARE * math.hypot(*self.size))
        wide, high = (length + 2 * math.ceil((side - length) / 2) for length in self.size)
        extent = np.array([wide, high]) * self.scale
        left, right = _whole((self.left + self.right) / 2, extent[0])
        top, bottom = _whole((self.top + self.bottom) / 2, extent[1])
        return Window(left, top, right, bottom, (wide, high))

    @property
    def scale(self) -> NDArray[np.float64]:
        """px of the image for one px of the crop, (2,) for x and y."""
        return np.array([self.right - self.left, self.bottom - self.top]) / self.size

    @property
    def offset(self) -> NDArray[np.float64]:
        """x, y in the image of the crop's origin; `x_image = x_crop * scale[0] + offset[0]`."""
        return np.array([self.left, self.top], dtype=float)

    def points(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Convert points (..., 2) from px of the image to px of the crop."""
        inside: NDArray[np.float64] = (points - self.offset) / self.scale
        return inside

    def boxes(self, boxes: NDArray[Any]) -> NDArray[np.float64]:
        """Convert boxes (..., 4) from px of the image to px of the crop."""
        return np.concatenate([self.points(boxes[..., :2]), boxes[..., 2:] / self.scale], axis=-1)

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the crop (height, width, 3) out of an image (h, w, 3); black outside the image."""
        height, width = image.shape[:2]
        canvas = np.zeros((self.bottom - self.top, self.right - self.left, 3), np.uint8)
        edges = self.shown or (self.left, self.top, self.right, self.bottom)
        left, right = np.clip(edges[::2], 0, width)
        top, bottom = np.clip(edges[1::2], 0, height)
        canvas[top - self.top : bottom - self.top, left - self.left : right - self.left] = image[
            top:bottom, left:right
        ]
        return np.asarray(cv2.resize(canvas, self.size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _whole(centre: float, length: float) -> tuple[int, int]:
    low, high = round(centre - length / 2), round(centre + length / 2)
    return low, max(high, low + 1)


class CropDataset(SampleDataset):
    """Animals cut out of frames; what is random depends on (seed, epoch, frame, individual).

    Without `boxes` each labelled animal is cut out by its ground-truth box; others that are seen
    in its crop are not labelled there. With `boxes` there is a crop for each box, without labels.

    Args:
        labels: all frames of the project.
        animals: (row of `labels`, slot of the individual) of each sample; with `boxes` the slot
            is the row in its frame's boxes.
        pipeline: what happens to each crop.
        size: (width, height) of the crops in px.
        seed: of the augmentations.
        cache: gives decoded images.
        with_center_keypoints: as in `PoseDataset`.
        bbox_margin: px around the labelled points, where the project gives no boxes.
        random_bbox: shakes the boxes, in training.
        surroundings: whether the pipeline gets each crop with what lies around it, and cuts out
            the middle itself once it has moved the image.
        boxes: row of `labels` to boxes (m, 4) in px of the original image; columns beyond are
            ignored.

    Attributes:
        indices: row of `labels` of each sample.
    """

    def __init__(
        self,
        labels: Labels,
        animals: Sequence[tuple[int, int]],
        pipeline: Pipeline,
        *,
        size: tuple[int, int],
        seed: int,
        cache: ImageCache,
        with_center_keypoints: bool = False,
        bbox_margin: int = 20,
        random_bbox: RandomBBoxTransform | None = None,
        surroundings: bool = False,
        boxes: Mapping[int, NDArray[Any]] | None = None,
    ) -> None:
        super().__init__([index for index, _ in animals], cache)
        self.labels = labels
        self.animals = tuple(animals)
        self.pipeline = pipeline
        self.size = size
        self.seed = seed
        self.with_center_keypoints = with_center_keypoints
        self.bbox_margin = bbox_margin
        self.random_bbox = random_bbox
        self.surroundings = surroundings
        self.boxes = boxes

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """One crop.

        Args:
            key: (epoch, position), or a position in epoch 0.

        Returns:
            As `PoseDataset` gives, with one individual and without unique bodyparts; `individual`,
            its slot. `scale` and `offset` lead back to the original image, not to the crop.

        Raises:
            ProjectError: the image is missing or broken.
        """
        epoch, position = key if isinstance(key, tuple) else (0, key)
        index, individual = self.animals[position]
        image = self.cache(self.labels.images[index])
        box = self._box(index, individual, image.shape)
        entropy = np.random.SeedSequence([self.seed, epoch, index, individual])
        pipeline_seed, box_seed = map(int, entropy.generate_state(2))
        shaken = self.random_bbox(box, np.random.default_rng(box_seed)) if self.random_bbox else box
        window = Window.around(shaken, self.size)
        if self.surroundings:
            window = window.with_surroundings()
        augmented = self.pipeline(
            window.cut(image),
            window.points(self._keypoints(index, individual)),
            np.zeros((0, 2)),
            window.boxes(box[None]),
            seed=pipeline_seed,
        )
        return {
            **as_sample(
                augmented,
                with_center_keypoints=self.with_center_keypoints,
                scale=augmented.scale * window.scale,
                offset=augmented.offset * window.scale + window.offset,
            ),
            "individual_ids": torch.tensor([individual]),
            "index": index,
            "individual": individual,
            "epoch": epoch,
        }

    def _box(self, index: int, individual: int, shape: tuple[int, ...]) -> NDArray[Any]:
        if self.boxes is not None:
            return np.asarray(self.boxes[index][individual][:4], dtype=float)
        box = ground_truth_boxes(self.labels, index, shape, self.bbox_margin)[individual]
        # Where all labels of an animal are outside the image, it has no box: take the whole image.
        box = box if np.isfinite(box).all() else np.array([0.0, 0.0, shape[1], shape[0]])
        return whole_pixels(box, self.bbox_margin)

    def _keypoints(self, index: int, individual: int) -> NDArray[Any]:
        """(1, bodyparts, 2) px of the image; NaN where not labelled."""
        if self.boxes is not None:
            return np.full((1, *self.labels.keypoints.shape[2:]), np.nan)
        return self.labels.keypoints[index, individual][None]


def labelled_animals(labels: Labels, indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return (row of `labels`, slot) of each individual that has a keypoint, by frame."""
    visible = np.isfinite(labels.keypoints).all(axis=-1).sum(axis=-1)
    return [(index, int(slot)) for index in indices for slot in np.flatnonzero(visible[index])]
