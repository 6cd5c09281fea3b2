"""Crops: which animals there are, what they show, and what their augmentation depends on."""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import dlcexp.data.cache
from dlcexp.config.augmentation_keys import image_size
from dlcexp.data.augmentation import build_pipeline
from dlcexp.data.boxes import RandomBBoxTransform
from dlcexp.data.cache import ImageCache, read_image
from dlcexp.data.crops import CropDataset, Window, labelled_animals
from dlcexp.data.dataset import Failure
from dlcexp.errors import ProjectError
from dlcexp.project import Labels

MENU = {
    "affine": {"p": 0.9, "rotation": 30, "scaling": [0.5, 1.25]},
    "gaussian_noise": 12.75,
    "normalize_images": True,
}
SIZE = (80, 64)


def crops(labels: Labels, *, training: bool = False, **options: Any) -> CropDataset:
    pipeline = build_pipeline(
        MENU if training else {}, bodyparts=("nose", "left", "right"), training=training
    )
    animals = options.pop("animals", labelled_animals(labels, range(7)))
    settings = {"size": SIZE, "seed": 0, "cache": ImageCache(10**8), **options}
    if training:
        settings.setdefault("random_bbox", RandomBBoxTransform())
    return CropDataset(labels, animals, pipeline, **settings)


WINDOWS = {
    "wide boxes grow in height": ((100, 50, 64, 32), (64, 64), (100, 34), (64, 64)),
    "high boxes grow in width": ((100, 50, 32, 64), (64, 64), (84, 50), (64, 64)),
    "upright crops": ((100, 50, 60, 40), (30, 60), (100, 10), (60, 120)),
    "edges are rounded, halves to even": ((0.5, 1.5, 10, 10), (64, 64), (0, 2), (10, 10)),
    "beyond the image": ((-30, -20, 20, 20), (64, 64), (-30, -20), (20, 20)),
    "no extent at all": ((10, 20, 0, 0), (64, 64), (10, 20), (1, 1)),
    "less than a pixel": ((10.2, 20.2, 0.1, 0.2), (64, 64), (10, 20), (1, 1)),
}


@pytest.mark.parametrize(("box", "size", "corner", "extent"), WINDOWS.values(), ids=WINDOWS.keys())
def test_windows_by_hand(box: Any, size: Any, corner: Any, extent: Any) -> None:
    window = Window.around(np.array(box), size)
    np.testing.assert_array_equal(window.offset, corner)
    np.testing.assert_allclose(window.scale * size, extent)
    image = np.random.default_rng(0).integers(1, 255, size=(40, 50, 3), dtype=np.uint8)
    assert window.cut(image).shape == (size[1], size[0], 3)


def test_a_window_with_surroundings_has_the_same_centre_and_scale() -> None:
    window = Window.around(np.array((100, 50, 120, 96)), (80, 64))
    wider = window.with_surroundings()
    assert all(side >= 1.1 * np.hypot(80, 64) for side in wider.size)
    np.testing.assert_allclose(wider.scale, window.scale, rtol=0.01)
    middle = wider.offset + wider.scale * wider.size / 2
    np.testing.assert_allclose(middle, window.offset + window.scale * window.size / 2, atol=0.5)


@pytest.mark.parametrize(
    ("resize", "shape"),
    [
        ({}, (64, 80)),
        ({"resize": {"width": 160}}, (128, 160)),
        ({"resize": {"width": 120, "height": 120, "keep_ratio": False}}, (120, 120)),
        ({"longest_max_size": 60}, (48, 60)),
    ],
)
def test_a_turned_crop_shows_what_lies_around_it_and_labels_stay_on_their_spots(
    labels: Labels, tmp_path: Path, resize: dict[str, Any], shape: tuple[int, int]
) -> None:
    image = np.full((240, 320, 3), 90, np.uint8)
    animal = np.array([[150, 110], [170, 120], [160, 130]])
    for x, y in animal:
        cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "frame.png"), image)
    one = replace(
        labels,
        images=(tmp_path / "frame.png",),
        keypoints=animal[None, None].astype(float),
    )
    menu = {
        "affine": {"p": 1.0, "rotation": [45, 45]},
        "top_down_crop": {"width": 80, "height": 64},
        **resize,
    }
    assert image_size(menu) == shape[::-1]
    parts = ("nose", "left", "right")
    pipeline = build_pipeline(menu, bodyparts=parts, training=True)
    dataset = CropDataset(
        one, [(0, 0)], pipeline, size=SIZE, seed=0, cache=ImageCache(0), surroundings=True
    )
    sample = dataset[0]
    assert sample["image"].shape == (3, *shape)
    assert sample["image"].min() > 80
    for x, y, visible in sample["keypoints"][0]:
        assert visible == 2
        assert sample["image"][:, int(y.round()), int(x.round())].min() > 230


def test_outside_of_the_image_is_black() -> None:
    image = np.full((40, 50, 3), 200, np.uint8)
    crop = Window.around(np.array((-16, 24, 32, 32)), (32, 32)).cut(image)
    expected = np.zeros((32, 32, 3), np.uint8)
    expected[:16, 16:] = 200
    np.testing.assert_array_equal(crop, expected)
    assert not Window.around(np.array((60, 0, 32, 32)), (32, 32)).cut(image).any()


def test_one_sample_for_each_labelled_animal(labels: Labels) -> None:
    labels.keypoints[4] = np.nan  # a frame without animals
    samples = crops(labels)
    expected = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (5, 0), (5, 1)]
    expected += [(6, 0), (6, 1)]
    assert [
        (sample["index"], sample["individual"]) for sample in map(samples.__getitem__, range(11))
    ] == expected
    assert samples.indices == tuple(index for index, _ in expected)
    assert len(samples) == 11


def test_shapes_and_types(labels: Labels) -> None:
    sample = crops(labels, training=True)[(0, 3)]
    tensors = {name: value for name, value in sample.items() if isinstance(value, torch.Tensor)}
    assert {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()} == {
        "image": ((3, 64, 80), torch.float32),
        "keypoints": ((1, 3, 3), torch.float32),
        "keypoints_unique": ((0, 3), torch.float32),
        "area": ((1,), torch.float32),
        "boxes": ((1, 4), torch.float32),
        "individual_ids": ((1,), torch.int64),
        "scale": ((2,), torch.float32),
        "offset": ((2,), torch.float32),
    }
    assert (sample["index"], sample["individual"], sample["epoch"]) == (1, 1, 0)
    assert torch.isnan(sample["scale"]).all()


def test_points_lie_on_their_dots_and_lead_back(labels: Labels) -> None:
    samples = crops(labels)
    for position in range(len(samples)):
        sample = samples[position]
        points, labelled = (
            sample["keypoints"][0].numpy(),
            labels.keypoints[sample["index"], sample["individual"]],
        )
        visible = np.isfinite(labelled[:, 0])
        np.testing.assert_array_equal(points[:, 2], 2 * visible)
        back = points[:, :2] * sample["scale"].numpy() + sample["offset"].numpy()
        np.testing.assert_allclose(back[visible], labelled[visible], atol=1e-4)
        for x, y, _ in points[visible]:
            assert sample["image"][:, round(float(y)), round(float(x))].min() > 60


def test_padding_of_the_crop_leads_back_too(labels: Labels) -> None:
    padding = {"pad_width_divisor": 64, "pad_height_divisor": 64, "position": "center"}
    samples = crops(labels)
    samples.pipeline = build_pipeline(
        {"auto_padding": padding}, bodyparts=("nose", "left", "right"), training=False
    )
    sample = samples[0]
    assert sample["image"].shape == (3, 64, 128)
    back = sample["keypoints"][0, :, :2] * sample["scale"] + sample["offset"]
    np.testing.assert_allclose(back, labels.keypoints[0, 0], atol=1e-4)


def test_the_other_animal_in_a_crop_is_not_labelled(labels: Labels) -> None:
    labels.keypoints[0, 1] = labels.keypoints[0, 0] + 3
    first, second = crops(labels)[0], crops(labels)[1]
    assert first["keypoints"].shape == second["keypoints"].shape == (1, 3, 3)
    for sample, slot in ((first, 0), (second, 1)):
        back = sample["keypoints"][0, :, :2] * sample["scale"] + sample["offset"]
        np.testing.assert_allclose(back, labels.keypoints[0, slot], atol=1e-4)


def test_an_animal_at_the_border(labels: Labels) -> None:
    labels.keypoints[0, 0] = [(2, 3), (20, 10), (5, 30)]
    sample = crops(labels)[0]
    # The box ends at the border, and the window with the crop's ratio does not.
    assert sample["offset"][0] < 0
    outside = int(-sample["offset"][0] / sample["scale"][0]) - 1
    assert sample["image"][:, :, :outside].abs().max() == 0
    assert (sample["keypoints"][0, :, 2] == 2).all()
    assert sample["boxes"][0, 0] == pytest.approx(-sample["offset"][0] / sample["scale"][0])


@pytest.mark.parametrize(
    "points",
    [
        [(40, 50), (np.nan, np.nan), (np.nan, np.nan)],
        [(0, 0), (np.nan, np.nan), (np.nan, np.nan)],
        [(127, 95), (np.nan, np.nan), (np.nan, np.nan)],
    ],
    ids=["inside", "first pixel", "last pixel"],
)
def test_one_keypoint_and_no_margin(labels: Labels, points: Any) -> None:
    labels.keypoints[0, 0] = points
    sample = crops(labels, bbox_margin=0)[0]
    assert sample["image"].shape == (3, 64, 80)
    assert sample["keypoints"][0, :, 2].tolist() == [2, 0, 0]
    assert sample["area"].item() > 0


def test_an_animal_whose_labels_are_all_outside(labels: Labels) -> None:
    labels.keypoints[0, 0] = [(200, 300), (210, 310), (220, 320)]
    sample = crops(labels)[0]
    assert sample["keypoints"].abs().max() == 0
    assert sample["image"].max() > 0  # the whole frame
    assert torch.isfinite(sample["boxes"]).all()


def test_boxes_that_the_project_gives(labels: Labels) -> None:
    boxes = np.full((7, 2, 4), np.nan)
    boxes[0, 0] = (10, 20, 40, 32)
    sample = crops(replace(labels, boxes=boxes))[0]
    assert (sample["offset"].tolist(), sample["scale"].tolist()) == ([10, 20], [0.5, 0.5])
    assert sample["boxes"].tolist() == [[0, 0, 80, 64]]


def test_boxes_that_were_found(labels: Labels) -> None:
    found = {
        5: np.array([[30, 10, 40, 32, 0.9], [-10, 0, 20, 16, 0.5]]),
        2: np.zeros((0, 5)),
        1: np.array([[0, 0, 128, 96, 0.1]]),
    }
    samples = crops(labels, animals=[(5, 0), (5, 1), (1, 0)], boxes=found)
    assert samples.indices == (5, 5, 1)
    assert [samples[place]["individual"] for place in range(3)] == [0, 1, 0]
    assert samples[0]["offset"].tolist() == [30, 10]
    assert samples[1]["scale"].tolist() == [0.25, 0.25]
    assert all(samples[place]["keypoints"].abs().max() == 0 for place in range(3))
    expected = Window.around(np.array((30, 10, 40, 32)), SIZE).cut(read_image(labels.images[5]))
    np.testing.assert_array_equal(samples[0]["image"].numpy().transpose(1, 2, 0), expected)


def test_augmentation_depends_on_seed_epoch_frame_and_individual_only(labels: Labels) -> None:
    first = crops(labels, training=True)
    again = crops(labels, training=True, animals=[(5, 1), (3, 0)])
    again[(7, 0)], again[(2, 1)]  # other samples before must not matter
    position = first.animals.index((3, 0))
    assert torch.equal(first[(4, position)]["image"], again[(4, 1)]["image"])
    samples = [first[(4, position)], first[(5, position)], first[(4, position - 1)]]
    samples += [first[(4, position + 1)], crops(labels, training=True, seed=1)[(4, position)]]
    distinct = len({zlib.crc32(sample["image"].numpy().tobytes()) for sample in samples})
    assert distinct == 5


def test_two_animals_in_one_place_are_augmented_differently(labels: Labels) -> None:
    labels.keypoints[0, 1] = labels.keypoints[0, 0]
    samples = crops(labels, training=True)
    assert not torch.equal(samples[(0, 0)]["image"], samples[(0, 1)]["image"])


def test_shaken_boxes_move_the_crop_and_keep_the_label(labels: Labels) -> None:
    shake = RandomBBoxTransform(shift_factor=0.1, shift_prob=1.0, scale_factor=(1.2, 1.4))
    plain, moved = crops(labels)[0], crops(labels, random_bbox=shake)[0]
    assert not torch.equal(plain["offset"], moved["offset"])
    assert (moved["scale"] > 1.1 * plain["scale"]).all()
    back = moved["keypoints"][0, :, :2] * moved["scale"] + moved["offset"]
    np.testing.assert_allclose(back, labels.keypoints[0, 0], atol=1e-4)
    # The label is the box of the animal, not the shaken one; here cut at the edge of the crop.
    sides = [sample["boxes"][0, 2:] * sample["scale"] for sample in (plain, moved)]
    np.testing.assert_allclose(sides[0], sides[1], atol=0.5)


@pytest.mark.parametrize(("budget", "expected"), [(10**8, 7), (0, 13)], ids=["cache", "no cache"])
def test_an_image_is_decoded_once_for_all_its_animals(
    labels: Labels, monkeypatch: pytest.MonkeyPatch, budget: int, expected: int
) -> None:
    decoded: list[Path] = []

    def counting(path: Path) -> Any:
        decoded.append(path)
        return read_image(path)

    monkeypatch.setattr(dlcexp.data.cache, "read_image", counting)
    samples = crops(labels, cache=ImageCache(budget))
    for position in range(len(samples)):
        samples[position]
    assert len(samples) == 13
    assert len(decoded) == expected


def test_a_broken_image_is_a_users_mistake(labels: Labels) -> None:
    labels.images[3].write_bytes(b"broken")
    samples = crops(labels)
    with pytest.raises(ProjectError, match=r"img3\.png"):
        samples[samples.indices.index(3)]
    failure = samples.__getitems__([0, samples.indices.index(3)])
    assert isinstance(failure, Failure)
    assert "img3.png" in failure.message
