"""From samples to a batch: images of one size, everything stacked."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import default_collate

from dlcexp.config.augmentation_keys import COLLATE_TYPES
from dlcexp.data.dataset import Failure, Sample, label_arrays

Batch = dict[str, torch.Tensor]


class PadCollate:
    """Pads images with zeros, below and at the right, to the largest height and width."""

    def __call__(self, samples: list[Sample] | Failure) -> Batch | Failure:
        if isinstance(samples, Failure):
            return samples
        height = max(sample["image"].shape[1] for sample in samples)
        width = max(sample["image"].shape[2] for sample in samples)
        return default_collate([_padded(sample, height, width) for sample in samples])


def _padded(sample: Sample, height: int, width: int) -> Sample:
    _, h, w = sample["image"].shape
    if (h, w) == (height, width):
        return sample
    return {**sample, "image": F.pad(sample["image"], (0, width - w, 0, height - h))}


class ResizeCollate:
    """Brings the images of a batch to one random size: each scaled to fill it, then cut at random.

    Args:
        seed: with the epoch and the frames of a batch it decides the size and the cuts.
        with_center_keypoints: whether the last keypoint is the centre of the others.
    """

    def __init__(self, seed: int, with_center_keypoints: bool) -> None:
        self.seed, self.with_center_keypoints = seed, with_center_keypoints

    def __call__(self, samples: list[Sample] | Failure) -> Batch | Failure:
        if isinstance(samples, Failure):
            return samples
        frames = [sample["index"] for sample in samples]
        generator = np.random.default_rng([self.seed, samples[0]["epoch"], *frames])
        height, width = samples[0]["image"].shape[1:]
        size = self.draw_size(height, width, generator)
        return default_collate([self._resized(sample, size, generator) for sample in samples])

    @abstractmethod
    def draw_size(self, height: int, width: int, generator: np.random.Generator) -> tuple[int, int]:
        """Return height and width of a batch whose first image is height x width."""

    def _resized(
        self, sample: Sample, size: tuple[int, int], generator: np.random.Generator
    ) -> Sample:
        height, width = sample["image"].shape[1:]
        factor = max(size[0] / height, size[1] / width)
        scaled = max(round(height * factor), size[0]), max(round(width * factor), size[1])
        top, left = (
            int(generator.integers(s - t, endpoint=True)) for s, t in zip(scaled, size, strict=True)
        )
        image = F.interpolate(sample["image"][None], scaled, mode="bilinear", antialias=factor < 1)[
            0, :, top : top + size[0], left : left + size[1]
        ]
        moved = _moved(sample, factor, np.array([left, top]), np.array(size[::-1]))
        if self.with_center_keypoints:
            moved["keypoints"] = moved["keypoints"][:, :-1]
        labels = label_arrays(
            moved["keypoints"],
            moved["keypoints_unique"],
            moved["boxes"],
            with_center_keypoints=self.with_center_keypoints,
        )
        arrays = {name: torch.from_numpy(array) for name, array in labels.items()}
        if "conditions" in sample:
            moves = torch.tensor([[factor, factor, 1.0], [left, top, 0.0]])
            arrays["conditions"] = sample["conditions"] * moves[0] - moves[1]
        return {**sample, **arrays, "image": image.contiguous()}


def _moved(
    sample: Sample, factor: float, corner: np.ndarray, size: np.ndarray
) -> dict[str, np.ndarray]:
    """Points and boxes times `factor`, less `corner` (x, y); NaN where none is left in `size`."""
    moved = {}
    for name in ("keypoints", "keypoints_unique"):
        points = sample[name].numpy().astype(float)
        xy = points[..., :2] * factor - corner
        inside = np.all((xy >= 0) & (xy < size), axis=-1) & (points[..., 2] > 0)
        moved[name] = np.where(inside[..., None], xy, np.nan)
    boxes = sample["boxes"].numpy().astype(float)
    low = np.clip(boxes[:, :2] * factor - corner, 0, size)
    high = np.clip((boxes[:, :2] + boxes[:, 2:]) * factor - corner, 0, size)
    moved["boxes"] = np.concatenate([low, high - low], axis=1)
    moved["boxes"][~np.all(high > low, axis=1)] = np.nan
    return moved


class ResizeFromDataSize(ResizeCollate):
    """The size of the first image, times a random scale.

    Args:
        min_scale, max_scale: limits of the scale.
        min_short_side, max_short_side: limits of the shorter side, px.
        max_ratio: largest ratio of longer to shorter side.
        multiple_of: px; sides are rounded up to multiples of it.
        to_square: take the shorter side for both.
    """

    def __init__(
        self,
        seed: int,
        with_center_keypoints: bool,
        *,
        min_scale: float,
        max_scale: float,
        min_short_side: int = 128,
        max_short_side: int = 1152,
        max_ratio: float = 2.0,
        multiple_of: int | None = None,
        to_square: bool = False,
    ) -> None:
        super().__init__(seed, with_center_keypoints)
        self.scales = (min_scale, max_scale)
        self.short_sides = (min_short_side, max_short_side)
        self.max_ratio = 1.0 if to_square else max_ratio
        self.multiple_of = multiple_of or 1

    def draw_size(self, height: int, width: int, generator: np.random.Generator) -> tuple[int, int]:
        short, long = sorted((height, width))
        side = float(np.clip(short * generator.uniform(*self.scales), *self.short_sides))
        other = side * min(long / short, self.max_ratio)
        sides = (side, other) if height <= width else (other, side)
        size = [math.ceil(round(s) / self.multiple_of) * self.multiple_of for s in sides]
        return size[0], size[1]


class ResizeFromList(ResizeCollate):
    """One of the given sizes, drawn for each batch.

    Args:
        scales: sides of squares in px, or pairs (height, width).
    """

    def __init__(
        self, seed: int, with_center_keypoints: bool, *, scales: Sequence[int | Sequence[int]]
    ) -> None:
        super().__init__(seed, with_center_keypoints)
        self.sizes = [(s, s) if isinstance(s, int) else (s[0], s[1]) for s in scales]

    def draw_size(self, height: int, width: int, generator: np.random.Generator) -> tuple[int, int]:
        return self.sizes[int(generator.integers(len(self.sizes)))]


def build_collate(
    settings: Mapping[str, Any] | None, *, seed: int, with_center_keypoints: bool
) -> PadCollate | ResizeCollate:
    """Build the collation of a validated `collate` entry of a menu; padding without one."""
    if settings is None:
        return PadCollate()
    classes = {"ResizeFromDataSize": ResizeFromDataSize, "ResizeFromList": ResizeFromList}
    chosen: Any = classes[COLLATE_TYPES[settings["type"]]]
    given = {n: value for n, value in settings.items() if n != "type" and value is not None}
    return chosen(seed, with_center_keypoints, **given)
