"""Animals cut out of frames around the poses of another model (Zhou et al., ICCV 2023)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dlcexp.data.boxes import ground_truth_boxes, keypoint_boxes, whole_pixels
from dlcexp.data.cache import ImageCache
from dlcexp.data.crops import Window
from dlcexp.data.dataset import Sample, SampleDataset, as_sample
from dlcexp.data.gen_sampling import GenerativeSampler
from dlcexp.data.pipeline import Pipeline
from dlcexp.project import Labels

# Row of the labels to conditions (m, bodyparts, 3): x, y in px of the original image, score.
Conditions = Mapping[int, NDArray[Any]]

# As DeepLabCut: a pose none of whose keypoints has at least this score is ignored.
MIN_SCORE = 0.05


class ConditionalCropDataset(SampleDataset):
    """Crops around conditional poses; what is random depends on (seed, epoch, frame, individual).

    Without `conditions` there is a crop for each labelled animal, and its condition is drawn from
    the labels with the errors that pose models make. In training the frame is moved before the
    condition is drawn and the crop is cut, as DeepLabCut does. With `conditions` there is a crop
    for each of them, without labels.

    Args:
        labels: all frames of the project.
        animals: (row of `labels`, slot of the individual) of each sample; with `conditions` the
            slot is the row in its frame's conditions.
        pipeline: what happens to each crop.
        size: (width, height) of the crops in px.
        seed: of the augmentations and of the conditions drawn.
        cache: gives decoded images.
        sampler: draws conditions from labels.
        bbox_margin: px between the outermost keypoints of a condition and its box.
        context: whether a crop shows what lies around the box; otherwise that is black.
        moving: what happens to the frame before, in training.
        conditions: see `usable_conditions`.

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
        sampler: GenerativeSampler,
        bbox_margin: int,
        context: bool = False,
        moving: Pipeline | None = None,
        conditions: Conditions | None = None,
    ) -> None:
        super().__init__([index for index, _ in animals], cache)
        self.labels = labels
        self.animals = tuple(animals)
        self.pipeline = pipeline
        self.size = size
        self.seed = seed
        self.sampler = sampler
        self.bbox_margin = bbox_margin
        self.window = Window.around if context else Window.showing
        self.moving = moving
        self.conditions = conditions

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """One crop.

        Args:
            key: (epoch, position), or a position in epoch 0.

        Returns:
            As `CropDataset` gives, and `conditions` float32 (1, bodyparts, 3): x, y px of the
            crop, also beyond it, score; zeros for a keypoint that is missing.

        Raises:
            ProjectError: the image is missing or broken.
        """
        epoch, position = key if isinstance(key, tuple) else (0, key)
        index, individual = self.animals[position]
        entropy = np.random.SeedSequence([self.seed, epoch, index, individual])
        moving_seed, pipeline_seed, condition_seed = map(int, entropy.generate_state(3))
        frame = self._frame(index, moving_seed)
        if self.conditions is None:
            generator = np.random.default_rng(condition_seed)
            condition = self._drawn(frame, individual, generator)
            keypoints, box = frame.keypoints[[individual]], frame.boxes[[individual]]
        else:
            condition = np.asarray(self.conditions[index][individual], dtype=float)
            keypoints = np.full((1, len(condition), 2), np.nan)
            box = np.full((1, 4), np.nan)
        points = np.where(condition[:, 2:] > 0, condition[:, :2], np.nan)
        (around,) = keypoint_boxes(points[None], frame.image.shape, self.bbox_margin)
        if not np.isfinite(around).all():  # moved out of the frame
            around = np.array([0.0, 0.0, *frame.image.shape[1::-1]])
        if self.conditions is None:
            around = whole_pixels(around, self.bbox_margin)
        window = self.window(around, self.size)
        augmented = self.pipeline(
            window.cut(frame.image),
            window.points(keypoints),
            np.zeros((0, 2)),
            window.boxes(box),
            seed=pipeline_seed,
            conditions=window.points(points),
        )
        return {
            **as_sample(
                augmented,
                with_center_keypoints=False,
                scale=augmented.scale * window.scale,
                offset=augmented.offset * window.scale + window.offset,
            ),
            "conditions": _as_input(augmented.conditions, condition[:, 2]),
            "individual_ids": torch.tensor([individual]),
            "index": index,
            "individual": individual,
            "epoch": epoch,
        }

    def _frame(self, index: int, seed: int) -> "_Frame":
        """Return the frame with the labels and boxes of all animals in it, moved in training."""
        image = self.cache(self.labels.images[index])
        keypoints = self.labels.keypoints[index]
        boxes = ground_truth_boxes(self.labels, index, image.shape, self.bbox_margin)
        if self.moving is None:
            return _Frame(image, keypoints, boxes)
        moved = self.moving.moved(image, keypoints, np.zeros((0, 2)), boxes, seed=seed)
        return _Frame(moved.image, moved.keypoints, np.asarray(moved.boxes))

    def _drawn(
        self, frame: "_Frame", individual: int, generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return a condition (bodyparts, 3) drawn from the labels of an animal."""
        others = np.delete(frame.keypoints, individual, axis=0)
        sides = np.nan_to_num(frame.boxes[individual, 2:])
        limit = frame.image.shape[1::-1]
        area = float(np.prod(sides))
        return self.sampler(frame.keypoints[individual], others, area, limit, generator)


class _Frame(NamedTuple):
    """A frame as crops are cut from it.

    Attributes:
        image: uint8 (h, w, 3) RGB.
        keypoints: (individuals, bodyparts, 2) px, NaN where there is none.
        boxes: (individuals, 4) x, y, width, height px, NaN where there is none.
    """

    image: NDArray[np.uint8]
    keypoints: NDArray[Any]
    boxes: NDArray[Any]


def usable_conditions(poses: NDArray[Any], most: int) -> NDArray[np.float64]:
    """Return conditions (m, bodyparts, 3) among poses (n, bodyparts, 3): x px, y px, score.

    A keypoint that is NaN, or has no positive score, is missing: all zeros. A pose whose scores
    are all below `MIN_SCORE` is none. Of more than `most` poses those with the highest mean score
    stay, in their order.
    """
    there = np.isfinite(poses).all(axis=-1) & (poses[..., 2] > 0)
    found = np.where(there[..., None], poses, 0.0).astype(float)
    found = found[(found[..., 2] >= MIN_SCORE).any(axis=1)]
    best = np.argsort(-found[..., 2].mean(axis=1), kind="stable")[:most]
    return np.asarray(found[np.sort(best)], dtype=float)


def _as_input(points: NDArray[Any] | None, scores: NDArray[Any]) -> torch.Tensor:
    """Points (bodyparts, 2), NaN where missing, as (1, bodyparts, 3) with their scores."""
    xy = np.asarray(points, dtype=float)
    rows = np.concatenate([xy, scores[:, None]], axis=1)
    rows[~np.isfinite(xy).all(axis=-1)] = 0.0
    return torch.from_numpy(rows[None].astype(np.float32))
