"""Samples: shapes, label conventions, and what their augmentation depends on."""

import dataclasses
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from parity_support import Parity

from dlcexp.data.augmentation import build_pipeline
from dlcexp.data.cache import ImageCache
from dlcexp.data.dataset import Failure, PoseDataset, label_arrays
from dlcexp.errors import ProjectError
from dlcexp.project import Labels

MENU = {
    "affine": {"p": 0.9, "rotation": 30, "scaling": [0.5, 1.25]},
    "crop_sampling": {"width": 64, "height": 64, "max_shift": 0.1, "method": "hybrid"},
    "gaussian_noise": 12.75,
    "normalize_images": True,
}


def dataset(labels: Labels, *, training: bool = True, seed: int = 0, **options: Any) -> PoseDataset:
    pipeline = build_pipeline(
        MENU if training else {},
        bodyparts=("nose", "left", "right"),
        unique_bodyparts=("corner",),
        training=training,
    )
    settings = {"with_center_keypoints": True, "indices": range(7), **options}
    return PoseDataset(labels, pipeline=pipeline, seed=seed, cache=ImageCache(10**8), **settings)


def test_shapes_and_types(labels: Labels) -> None:
    sample = dataset(labels)[(0, 2)]
    tensors = {name: value for name, value in sample.items() if isinstance(value, torch.Tensor)}
    assert {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()} == {
        "image": ((3, 64, 64), torch.float32),
        "keypoints": ((2, 4, 3), torch.float32),
        "keypoints_unique": ((1, 3), torch.float32),
        "area": ((2,), torch.float32),
        "boxes": ((2, 4), torch.float32),
        "individual_ids": ((2,), torch.int64),
        "scale": ((2,), torch.float32),
        "offset": ((2,), torch.float32),
    }
    assert (sample["index"], sample["epoch"]) == (2, 0)


def test_inference_samples_are_the_labels(labels: Labels) -> None:
    frames = dataset(labels, training=False, indices=[4, 1], with_center_keypoints=False)
    sample = frames[1]
    assert sample["index"] == 1
    points, expected = sample["keypoints"].numpy(), labels.keypoints[1]
    np.testing.assert_allclose(points[1, :, :2], expected[1], rtol=1e-6)
    np.testing.assert_array_equal(points[1, :, 2], 2)
    np.testing.assert_array_equal(points[0, 2], 0)
    np.testing.assert_array_equal(sample["scale"], 1)
    np.testing.assert_array_equal(sample["offset"], 0)
    # The box of the points, 20 px larger on each side, within the image.
    low, high = expected[1].min(axis=0), expected[1].max(axis=0)
    low, high = np.maximum(low - 20, 0), np.minimum(high + 20, (128, 96))
    np.testing.assert_allclose(sample["boxes"][1], [*low, *(high - low)], rtol=1e-5)


def test_labels_by_hand() -> None:
    none = (np.nan, np.nan)
    keypoints = np.array([[(1, 2), (5, 10), none], [none] * 3, [(3, 4), none, none]])
    boxes = np.array([(0, 1, 6, 10), [np.nan] * 4, (2, 3, 2, 2)])
    arrays = label_arrays(keypoints, np.array([none]), boxes, with_center_keypoints=True)
    expected = [
        [(1, 2, 2), (5, 10, 2), (0, 0, 0), (3, 6, 2)],
        [(0, 0, 0)] * 4,
        [(3, 4, 2), (0, 0, 0), (0, 0, 0), (3, 4, 2)],
    ]
    np.testing.assert_array_equal(arrays["keypoints"], expected)
    np.testing.assert_array_equal(arrays["area"], [6 * 10, 0, 2 * 2])
    np.testing.assert_array_equal(arrays["keypoints_unique"], [(0, 0, 0)])
    np.testing.assert_array_equal(arrays["boxes"], [(0, 1, 6, 10), (0, 0, 0, 0), (2, 3, 2, 2)])


@pytest.mark.parametrize("project", ["openfield", "flies13"])
def test_centres_are_those_on_record(parity: Parity, project: str) -> None:
    for animals in parity.record(project, "dekr_w18")["keypoints"]:
        points = np.where(animals[:, :-1, 2:] > 0, animals[:, :-1, :2], np.nan)
        boxes = np.full((len(points), 4), np.nan)
        arrays = label_arrays(points, np.zeros((0, 2)), boxes, with_center_keypoints=True)
        np.testing.assert_allclose(arrays["keypoints"], animals, rtol=1e-6)


def test_augmentation_depends_on_seed_epoch_and_frame_only(labels: Labels) -> None:
    first, again = dataset(labels), dataset(labels, indices=[5, 3])
    again[(7, 0)], again[(2, 1)]  # other samples before must not matter
    assert torch.equal(first[(4, 3)]["image"], again[(4, 1)]["image"])
    samples = [first[(4, 3)], first[(5, 3)], first[(4, 2)], dataset(labels, seed=1)[(4, 3)]]
    distinct = len({zlib.crc32(sample["image"].numpy().tobytes()) for sample in samples})
    assert distinct == 4


def test_boxes_that_the_project_gives_are_kept(labels: Labels) -> None:
    boxes = np.full((7, 2, 4), np.nan)
    boxes[2, 0] = (10, 20, 30, 40)
    sample = dataset(dataclasses.replace(labels, boxes=boxes), training=False)[2]
    np.testing.assert_allclose(sample["boxes"], [(10, 20, 30, 40), (0, 0, 0, 0)])


def test_a_broken_image_is_a_users_mistake(labels: Labels) -> None:
    labels.images[3].write_bytes(b"broken")
    frames = dataset(labels)
    with pytest.raises(ProjectError, match=r"img3\.png"):
        frames[3]
    failure = frames.__getitems__([2, 3])
    assert isinstance(failure, Failure)
    assert "img3.png" in failure.message
