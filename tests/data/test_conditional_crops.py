"""Conditional crops: where they are cut, what they show, and what their conditions are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dlcexp.data.augmentation import MOVES, build_pipeline
from dlcexp.data.cache import ImageCache, read_image
from dlcexp.data.conditional_crops import ConditionalCropDataset, usable_conditions
from dlcexp.data.crops import Window, labelled_animals
from dlcexp.data.gen_sampling import GenerativeSampler
from dlcexp.project import Labels

GOOD = {"jitter_prob": 0.0, "swap_prob": 0.0, "inv_prob": 0.0, "miss_prob": 0.0}
BODYPARTS = ("nose", "left", "right")
MENU: dict[str, Any] = {
    "hflip": {"p": 0.5, "symmetries": [["left", "right"]]},
    "affine": {"p": 0.9, "rotation": 30, "scaling": [0.8, 1.2], "translation": 5},
}


def make(labels: Labels, menu: dict[str, Any] | None = None, **changed: Any) -> Any:
    """Crops of 64 x 64 px with a margin of 8 px; without a menu as in inference."""
    menu = menu or {}
    moving = {name: menu[name] for name in MOVES if name in menu}
    rest = {name: value for name, value in menu.items() if name not in MOVES}

    def pipeline(part: dict[str, Any]) -> Any:
        return build_pipeline(part, bodyparts=BODYPARTS, training=bool(menu))

    settings: dict[str, Any] = {
        "size": (64, 64),
        "seed": 0,
        "cache": ImageCache(10**7),
        "sampler": GenerativeSampler(3, **GOOD),
        "bbox_margin": 8,
        "moving": pipeline(moving) if moving else None,
    }
    animals = labelled_animals(labels, range(len(labels)))
    animals = changed.pop("animals", animals)
    return ConditionalCropDataset(labels, animals, pipeline(rest), **(settings | changed))


def in_image(sample: dict[str, Any], name: str) -> np.ndarray:
    return np.asarray(sample[name][0, :, :2] * sample["scale"] + sample["offset"])


def test_one_crop_for_each_labelled_animal(labels: Labels) -> None:
    crops = make(labels)
    assert len(crops) == 13
    sample = crops[0]
    assert sample["image"].shape == (3, 64, 64)
    assert sample["conditions"].shape == sample["keypoints"].shape == (1, 3, 3)
    np.testing.assert_allclose(in_image(sample, "keypoints"), labels.keypoints[0, 0], atol=1e-3)


def test_a_missing_keypoint_is_missing_in_the_condition(labels: Labels) -> None:
    sample = make(labels, animals=[(1, 0)])[0]
    np.testing.assert_array_equal(sample["conditions"][0, 2], [0, 0, 0])
    np.testing.assert_array_equal(sample["conditions"][0, :, 2], [1, 1, 0])


def test_conditions_that_are_given_are_cut_by_and_go_along(labels: Labels) -> None:
    pose = np.array([[50.0, 40.0, 0.9], [70.0, 60.0, 0.3], [0.0, 0.0, 0.0]])
    sample = make(labels, animals=[(0, 0)], conditions={0: pose[None]})[0]
    # The box is 36 px wide and high, and so is the window.
    np.testing.assert_allclose(sample["offset"], [42, 32])
    np.testing.assert_allclose(sample["scale"], 36 / 64)
    np.testing.assert_allclose(in_image(sample, "conditions")[:2], pose[:2, :2], atol=1e-4)
    np.testing.assert_allclose(sample["conditions"][0, :, 2], pose[:, 2])
    assert not sample["keypoints"].any()
    window = Window(42, 32, 78, 68, (64, 64))
    expected = window.cut(read_image(labels.images[0])).transpose(2, 0, 1)
    np.testing.assert_array_equal(sample["image"], expected)


def test_outside_of_the_box_a_crop_is_black_unless_it_has_context(labels: Labels) -> None:
    pose = np.array([[[40.0, 50.0, 1.0], [80.0, 50.0, 1.0], [60.0, 50.0, 1.0]]])
    given: dict[str, Any] = {"animals": [(0, 0)], "conditions": {0: pose}}
    image = make(labels, **given)[0]["image"]
    # 56 x 16 px, brought to 64 x 64: 18 rows in the middle.
    assert not image[:, :22].any()
    assert not image[:, 42:].any()
    assert image[:, 24:40].any()
    assert make(labels, **given, context=True)[0]["image"][:, :22].any()


def test_a_condition_at_the_border_keeps_keypoints_that_are_beyond(labels: Labels) -> None:
    pose = np.array([[[-20.0, 30.0, 1.0], [30.0, 60.0, 1.0], [10.0, 40.0, 1.0]]])
    sample = make(labels, animals=[(0, 0)], conditions={0: pose})[0]
    assert sample["conditions"][0, 0, 0] < 0
    np.testing.assert_allclose(in_image(sample, "conditions"), pose[0, :, :2], atol=1e-4)


def test_labels_and_conditions_move_with_the_frame(labels: Labels) -> None:
    crops = make(labels, MENU)
    sampler = GenerativeSampler(3, **GOOD)
    flipped = 0
    for position in range(len(crops)):
        sample = crops[(3, position)]
        seen = sample["keypoints"][0, :, 2] > 0
        for (x, y, _), visible in zip(sample["keypoints"][0], seen, strict=True):
            if visible and min(x, y) > 3 and max(x, y) < 61:
                assert sample["image"][2, int(y), int(x)] > 120  # the dot under the label
        apart = (sample["keypoints"] - sample["conditions"])[0, seen, :2].norm(dim=-1)
        # In an image of 96 x 128 px; the crop enlarges by no more than 64 / 16.
        assert (apart <= 4 * sampler.distance(0.85, 96 * 128).max()).all()
        sides = sample["keypoints"][0, 1:, 0] - sample["keypoints"][0, 0, 0]
        before = labels.keypoints[sample["index"], sample["individual"], 1:, 0]
        flipped += bool(seen.all()) and (sides[0] - sides[1]).sign() == np.sign(
            before[0] - before[1]
        )
    assert 0 < flipped < len(crops)


def test_a_sample_depends_on_seed_epoch_and_animal_alone(labels: Labels) -> None:
    menu = {**MENU, "gaussian_noise": 12.75}
    sampler = GenerativeSampler(3)
    first, second = (make(labels, menu, sampler=sampler) for _ in range(2))
    for position in (5, 2):
        mine, same = first[(1, position)], second[(1, position)]
        other = make(labels, menu, sampler=sampler, animals=[first.animals[position]])[(1, 0)]
        for name in ("image", "conditions", "keypoints"):
            np.testing.assert_array_equal(mine[name], same[name])
            np.testing.assert_array_equal(mine[name], other[name])
    assert not np.array_equal(first[(1, 2)]["conditions"], first[(2, 2)]["conditions"])
    another = make(labels, menu, sampler=sampler, seed=1)
    assert not np.array_equal(first[(1, 2)]["conditions"], another[(1, 2)]["conditions"])


def test_other_animals_are_mistaken_for_this_one(labels: Labels) -> None:
    two = replace(labels, keypoints=labels.keypoints.copy())
    two.keypoints[0] = [[[20, 20], [30, 24], [24, 30]], [[80, 70], [90, 60], [70, 70]]]
    sampler = GenerativeSampler(3, **{**GOOD, "swap_prob": 1.0})
    sample = make(two, animals=[(0, 0)], sampler=sampler)[0]
    apart = np.linalg.norm(in_image(sample, "conditions")[:, None] - two.keypoints[0, 1], axis=-1)
    assert apart.min(axis=1).max() < 15


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([[0.9, 0.1, 0.2], [0.04, 0.03, 0.01]], [0]),
        ([[0.05, 0.0, 0.0], [0.2, 0.2, 0.2], [0.3, 0.3, 0.3]], [1, 2]),
        ([[-1.0, -1.0, -1.0], [np.nan, 0.6, 0.1]], [1]),
        ([], []),
    ],
    ids=["low scores", "the best two", "absent", "none"],
)
def test_which_poses_are_conditions(scores: list[list[float]], kept: list[int]) -> None:
    poses = np.full((len(scores), 3, 3), 7.0)
    poses[..., 2] = np.reshape(scores, (-1, 3))
    found = usable_conditions(poses, most=2)
    assert found.shape == (len(kept), 3, 3)
    expected = np.where(poses[kept, :, 2:] > 0, poses[kept], 0.0)
    np.testing.assert_array_equal(found, expected)


def test_a_keypoint_without_position_is_missing() -> None:
    poses = np.array([[[1.0, 2.0, 0.9], [np.nan, np.nan, 0.9]]])
    np.testing.assert_array_equal(usable_conditions(poses, 1), [[[1, 2, 0.9], [0, 0, 0]]])
