"""Frames with their labels, augmented, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dlcexp.data.boxes import ground_truth_boxes
from dlcexp.data.cache import ImageCache
from dlcexp.data.pipeline import Augmented, Pipeline
from dlcexp.errors import UserError
from dlcexp.project import Labels

# In the third column of a keypoint, after x and y.
VISIBLE = 2

Sample = dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A user's mistake met in a worker process; travels in place of a batch to be raised there."""

    message: str


class SampleDataset(Dataset[Sample]):
    """Samples by (epoch, position), made from images; the base of frames and crops.

    Args:
        indices: row of the labels of each sample.
        cache: gives decoded images.
    """

    def __init__(self, indices: Sequence[int], cache: ImageCache) -> None:
        self.indices = tuple(indices)
        self.cache = cache

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> list[Sample] | Failure:
        """A batch for DataLoader, which would bury a user's mistake in a traceback."""
        try:
            return [self[key] for key in keys]
        except UserError as error:
            return Failure(str(error))


class PoseDataset(SampleDataset):
    """Labelled frames; a sample's augmentation depends on (seed, epoch, frame) and nothing else.

    Args:
        labels: all frames of the project.
        indices: which of them, as rows of `labels`.
        pipeline: what happens to each frame.
        with_center_keypoints: whether the mean of an individual's visible points becomes its last
            keypoint.
        seed: of the augmentations.
        cache: gives decoded images.
        bbox_margin: px around the labelled points, where the project gives no boxes.
    """

    def __init__(
        self,
        labels: Labels,
        indices: Sequence[int],
        pipeline: Pipeline,
        *,
        with_center_keypoints: bool,
        seed: int,
        cache: ImageCache,
        bbox_margin: int = 20,
    ) -> None:
        super().__init__(indices, cache)
        self.labels = labels
        self.pipeline = pipeline
        self.with_center_keypoints = with_center_keypoints
        self.seed = seed
        self.bbox_margin = bbox_margin

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """One sample.

        Args:
            key: (epoch, position), or a position in epoch 0.

        Returns:
            `image` float32 (3, h, w); the labels of `label_arrays`; `individual_ids` int64 (n,);
            `index` into the labels, `epoch`; `scale` and `offset` (2,) that lead back to the
            original image, `x * scale[0] + offset[0]` (NaN in training).

        Raises:
            ProjectError: the image is missing or broken.
        """
        epoch, position = key if isinstance(key, tuple) else (0, key)
        index = self.indices[position]
        image = self.cache(self.labels.images[index])
        augmented = self.pipeline(
            image,
            self.labels.keypoints[index],
            self.labels.unique[index],
            ground_truth_boxes(self.labels, index, image.shape, self.bbox_margin),
            seed=int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1)[0]),
        )
        return {
            **as_sample(augmented, with_center_keypoints=self.with_center_keypoints),
            "index": index,
            "epoch": epoch,
        }


def as_sample(
    augmented: Augmented,
    *,
    with_center_keypoints: bool,
    scale: NDArray[Any] | None = None,
    offset: NDArray[Any] | None = None,
) -> Sample:
    """Convert an augmented image and its labels to tensors.

    Args:
        augmented: what a pipeline gave.
        with_center_keypoints: see `label_arrays`.
        scale, offset: (2,) the way back to the original image, where the pipeline does not know it.
    """
    labels = label_arrays(
        augmented.keypoints,
        augmented.unique,
        augmented.boxes,
        with_center_keypoints=with_center_keypoints,
    )
    scale = augmented.scale if scale is None else scale
    offset = augmented.offset if offset is None else offset
    return {
        "image": torch.from_numpy(augmented.image),
        **{name: torch.from_numpy(array) for name, array in labels.items()},
        "individual_ids": torch.arange(len(augmented.keypoints)),
        "scale": torch.from_numpy(scale.astype(np.float32)),
        "offset": torch.from_numpy(offset.astype(np.float32)),
    }


def label_arrays(
    keypoints: NDArray[Any],
    unique: NDArray[Any],
    boxes: NDArray[Any] | None,
    *,
    with_center_keypoints: bool,
) -> dict[str, NDArray[Any]]:
    """Return labels in the form of a network's targets: zeros instead of NaN.

    Args:
        keypoints: (n, k, 2) px, NaN where not visible.
        unique: (u, 2) px, NaN where not visible.
        boxes: (n, 4) x, y, width, height px, NaN where there is none, or None.

    Returns:
        float32 arrays `keypoints` (n, k, 3) as x, y, visibility (2 visible, else all 0), one more
        with the centre; `keypoints_unique` (u, 3); `boxes` (n, 4) and their `area` (n,) px², as in
        DeepLabCut with the margin that they have.
    """
    if with_center_keypoints:
        keypoints = np.concatenate([keypoints, _centres(keypoints)], axis=1)
    boxes = np.zeros((len(keypoints), 4)) if boxes is None else np.nan_to_num(boxes)
    return {
        "keypoints": _with_visibility(keypoints),
        "keypoints_unique": _with_visibility(unique),
        "area": np.prod(boxes[:, 2:], axis=-1).astype(np.float32),
        "boxes": boxes.astype(np.float32),
    }


def _centres(keypoints: NDArray[Any]) -> NDArray[Any]:
    """(n, 1, 2): mean of the visible points of each individual; NaN without any."""
    visible = np.isfinite(keypoints).all(axis=-1)
    count = visible.sum(axis=1)[:, None, None]
    total = np.where(visible[..., None], keypoints, 0.0).sum(axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _with_visibility(points: NDArray[Any]) -> NDArray[np.float32]:
    visible = np.isfinite(points).all(axis=-1, keepdims=True)
    rows = np.concatenate([np.where(visible, points, 0.0), VISIBLE * visible], axis=-1)
    return rows.astype(np.float32)
