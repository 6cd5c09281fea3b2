"""Menus become images: what is drawn under a keypoint stays under it, and seeds decide the rest."""

import logging
import random
import zlib
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest

from dlcexp.data.augmentation import IMAGENET_MEAN, IMAGENET_STD, build_pipeline, padding_share
from dlcexp.data.pipeline import Augmented
from dlcexp.errors import ConfigError, UserError

NAN = (np.nan, np.nan)
BODYPARTS = ("nose", "earL", "earR")
POINTS = np.array([[(60, 50), (90.25, 100.5), (140, 80)], [(200, 150), NAN, (110, 160.75)]])
UNIQUE = np.array([(30.0, 170.0), NAN])
EVERYTHING: dict[str, Any] = {
    "hflip": True,
    "affine": {"p": 0.9, "rotation": 30, "scaling": [0.5, 1.25], "translation": 10},
    "crop_sampling": {"width": 128, "height": 96, "max_shift": 0.1, "method": "hybrid"},
    "elastic_transform": True,
    "hist_eq": True,
    "motion_blur": True,
    "covering": True,
    "grayscale": True,
    "gaussian_noise": 12.75,
    "gamma": {"_target_": "albumentations.RandomGamma", "p": 0.5},
    "normalize_images": True,
}


def draw_blobs(height: int, width: int, points: np.ndarray, sigma: float = 3.0) -> np.ndarray:
    """uint8 (height, width, 3), black but for a Gaussian blob centred on each finite point."""
    image = np.zeros((height, width), np.float64)
    rows, columns = np.mgrid[:height, :width]
    for x, y in points.reshape(-1, 2):
        if np.isfinite(x):
            image += 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def blob_centre(plane: np.ndarray, near: np.ndarray, radius: int = 12) -> np.ndarray:
    """Centre of mass (x, y) of a plane within `radius` px of a point."""
    x, y = np.rint(near).astype(int)
    top, left = max(y - radius, 0), max(x - radius, 0)
    window = plane[top : y + radius + 1, left : x + radius + 1].astype(float)
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
    mass = window.sum()
    return np.array([(window * columns).sum() / mass + left, (window * rows).sum() / mass + top])


def run(menu: dict[str, Any], image: np.ndarray, *, seed: int = 0, **options: Any) -> Augmented:
    boxes = options.pop("boxes", None)
    pipeline = build_pipeline(
        menu,
        bodyparts=BODYPARTS,
        unique_bodyparts=("corner", "door"),
        **{"training": True, **options},
    )
    return pipeline(image, POINTS, UNIQUE, boxes, seed=seed)


def blobs() -> np.ndarray:
    return draw_blobs(200, 260, np.concatenate([POINTS.reshape(-1, 2), UNIQUE]))


GEOMETRY: dict[str, dict[str, Any]] = {
    "nothing": {},
    "resize to a larger size": {"resize": {"width": 500, "height": 500, "keep_ratio": True}},
    "resize to a smaller size": {"resize": {"width": 200, "height": 150}},
    "resize without the ratio": {"resize": {"width": 200, "height": 190, "keep_ratio": False}},
    "resize by one side": {"resize": {"width": None, "height": 300}},
    "longest_max_size": {"longest_max_size": 190},
    "hflip": {"hflip": 1.0},
    "rotation": {"affine": {"p": 1.0, "rotation": 30}},
    "flat rotation": {"rotation": [20, 25]},
    "scaling": {"affine": {"p": 1.0, "scaling": [0.7, 1.25]}},
    "flat scaling": {"scale_jitter": [1.1, 1.2]},
    "translation": {"affine": {"p": 1.0, "translation": [-15, 10]}},
    "affine": {"affine": {"p": 1, "rotation": 30, "scaling": [0.7, 1.2], "translation": 9}},
    "crop": {"crop_sampling": {"width": 150, "height": 120, "method": "density"}},
    "crop larger than the image": {"crop_sampling": {"width": 300, "height": 300}},
    "elastic": {"elastic_transform": {"p": 1.0, "alpha": 60, "sigma": 8}},
    "padding": {"auto_padding": {"pad_width_divisor": 64, "pad_height_divisor": 64}},
    "padding to a size": {"auto_padding": {"min_width": 400, "min_height": 300}},
    "all": {
        "resize": {"width": 300, "height": 300},
        "hflip": 1.0,
        "affine": {"p": 1, "rotation": 20, "scaling": [0.9, 1.2]},
        "crop_sampling": {"width": 220, "height": 220, "max_shift": 0.3},
        "elastic_transform": {"p": 1.0},
        "auto_padding": {"pad_width_divisor": 32, "pad_height_divisor": 32},
    },
}


@pytest.mark.parametrize("menu", GEOMETRY.values(), ids=GEOMETRY.keys())
def test_what_is_under_a_keypoint_stays_under_it(menu: dict[str, Any]) -> None:
    seen = 0
    for seed in range(5):
        result = run({**menu, "scale_to_unit_range": True}, blobs(), seed=seed)
        height, width = result.image.shape[1:]
        for point in np.concatenate([result.keypoints.reshape(-1, 2), result.unique]):
            if not np.isfinite(point).all():
                continue
            inner = np.all((point > 12) & (point < np.array([width, height]) - 13))
            if inner:
                seen += 1
                assert np.abs(blob_centre(result.image[0], point) - point).max() < 1.0
    assert seen >= 10
    assert np.isnan(result.keypoints[1, 1]).all()
    assert np.isnan(result.unique[1]).all()


def test_flip_maps_x_to_width_minus_one_minus_x_and_exchanges_sides() -> None:
    image = blobs()
    result = run({"hflip": {"p": 1.0, "symmetries": [["earL", "earR"], [0, 3]]}}, image)
    np.testing.assert_array_equal(result.image, image[:, ::-1].transpose(2, 0, 1))
    mirrored = POINTS * (-1, 1) + (259, 0)
    np.testing.assert_allclose(result.keypoints[:, [2, 1]], mirrored[:, [1, 2]])
    # A number beyond the bodyparts is a unique one; here it goes with the first individual.
    np.testing.assert_allclose(result.unique[0], mirrored[0, 0])


def test_flip_without_symmetries_warns_of_sided_bodyparts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run({"hflip": True}, blobs())
    assert "earL, earR" in caplog.text
    assert "data.train.hflip={symmetries:" in caplog.text


def test_points_outside_become_unlabelled_and_boxes_are_cut() -> None:
    menu = {"mine": {"_target_": "albumentations.Crop", "x_min": 80, "x_max": 260, "y_max": 120}}
    boxes = np.array([[50.0, 40, 100, 70], [np.nan] * 4])
    result = run(menu, blobs(), boxes=boxes)
    assert result.image.shape == (3, 120, 180)
    expected = np.array([[NAN, (10.25, 100.5), (60, 80)], [NAN, NAN, NAN]])
    np.testing.assert_allclose(result.keypoints, expected)
    np.testing.assert_allclose(result.boxes, [[0, 40, 70, 70], [np.nan] * 4])


def test_resize_keeps_the_ratio_and_pads_right_and_below() -> None:
    image = np.full((479, 641, 3), 200, np.uint8)
    result = run({"resize": {"width": 300, "height": 300}}, image, training=False)
    assert result.image.shape == (3, 300, 300)
    assert result.image[:, :223].min() == 200  # 479 * 300 / 641 = 224.2
    assert result.image[:, 224:].max() == 0
    np.testing.assert_allclose(result.scale, [641 / 300, 479 / 224])
    np.testing.assert_allclose(result.offset, 0)


@pytest.mark.parametrize(
    ("menu", "size", "scale", "offset"),
    [
        ({}, (200, 260), (1, 1), (0, 0)),
        ({"longest_max_size": 130}, (100, 130), (2, 2), (0, 0)),
        (
            {"resize": {"width": 130, "height": 200, "keep_ratio": False}},
            (200, 130), (2, 1), (0, 0),
        ),
        (
            {"auto_padding": {"pad_width_divisor": 32, "pad_height_divisor": 32}},
            (224, 288), (1, 1), (0, 0),
        ),
        (
            {"auto_padding": {"min_width": 270, "min_height": 240, "position": "center"}},
            (240, 270), (1, 1), (-5, -20),
        ),
    ],
)  # fmt: skip
def test_inference_knows_the_way_back(
    menu: dict[str, Any], size: tuple, scale: tuple, offset: tuple
) -> None:
    result = run(menu, blobs(), training=False)
    assert result.image.shape == (3, *size)
    np.testing.assert_allclose(result.scale, scale)
    np.testing.assert_allclose(result.offset, offset)
    np.testing.assert_allclose(result.keypoints * result.scale + result.offset, POINTS)


def test_inference_refuses_what_cannot_be_undone() -> None:
    for menu in ({"turn": {"_target_": "albumentations.Rotate", "limit": [20, 21], "p": 1.0}},
                 {"mirror": {"_target_": "albumentations.HorizontalFlip", "p": 1.0}}):  # fmt: skip
        with pytest.raises(UserError, match=r"data\.inference: .*data\.train"):
            run(menu, blobs(), training=False)


def test_padding_reflects_the_image_but_not_the_points() -> None:
    image = blobs()
    result = run(
        {"auto_padding": {"pad_width_divisor": 64, "pad_height_divisor": 64}}, image, training=False
    )
    expected = cv2.copyMakeBorder(image, 0, 56, 0, 60, cv2.BORDER_REFLECT_101)
    np.testing.assert_array_equal(result.image, expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(result.keypoints, POINTS)


@pytest.mark.parametrize("mode", ["RGB", "BGR"])
def test_normalisation(mode: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    channels = image if mode == "RGB" else image[..., ::-1]
    expected = ((channels / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)
    np.testing.assert_allclose(
        run({"normalize_images": True}, image, colormode=mode).image, expected, atol=1e-6
    )
    unit = run({"scale_to_unit_range": True}, image, colormode=mode).image
    np.testing.assert_allclose(unit, channels.transpose(2, 0, 1) / 255, atol=1e-7)
    raw = run({}, image, colormode=mode).image
    np.testing.assert_array_equal(raw, channels.transpose(2, 0, 1))
    assert {unit.dtype, raw.dtype} == {np.dtype(np.float32)}


def test_a_seed_decides_everything_and_nothing_else_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 260, 3), dtype=np.uint8)
    pipeline = build_pipeline(EVERYTHING, bodyparts=BODYPARTS, training=True)
    none = np.zeros((0, 2))
    results = []
    for state in range(2):
        np.random.seed(state)  # noqa: NPY002
        random.seed(state)
        cv2.setRNGSeed(state)
        for _ in range(state):
            pipeline(image, POINTS, none, seed=99)
        before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        results.append([pipeline(image, POINTS, none, seed=seed) for seed in range(12)])
        unchanged = before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
        assert unchanged
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.keypoints, second.keypoints)
    distinct = len({zlib.crc32(result.image.tobytes()) for result in results[0]})
    assert distinct == 12


def test_steps_toss_their_own_coins() -> None:
    """Seeding each transform alike, as albumentations does, would make all happen at once."""
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, :30] = (200, 50, 20)
    pipeline = build_pipeline(
        {"hflip": True, "grayscale": {"p": 0.5, "alpha": 1}}, bodyparts=BODYPARTS, training=True
    )
    seen = set()
    for seed in range(40):
        result = pipeline(image, POINTS, np.zeros((0, 2)), seed=seed).image
        seen.add((bool(result[:, :, 0].max() == 0), bool((result[0] == result[1]).all())))
    assert len(seen) == 4


def test_the_input_is_left_alone() -> None:
    image = blobs()
    image.flags.writeable = False
    copy, points = image.copy(), POINTS.copy()
    for seed in range(10):
        run(EVERYTHING, image, seed=seed)
    np.testing.assert_array_equal(image, copy)
    np.testing.assert_array_equal(points, POINTS)


def test_noise_has_at_most_the_given_deviation() -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    menu = {"gaussian_noise": {"std": 12.75, "p": 1.0}}
    stds = [run(menu, image, seed=seed).image.std() for seed in range(30)]
    assert max(stds) < 13.2
    assert max(stds) > 10
    assert min(stds) < 4


def test_covering_hides_ten_small_holes_and_keeps_the_labels() -> None:
    image = np.full((200, 260, 3), 255, np.uint8)
    for seed in range(5):
        result = run({"covering": 1.0}, image, seed=seed)
        hidden = (result.image[0] == 0).mean()
        assert 10 * 0.01**2 * 0.2 < hidden < 10 * 0.05**2
        np.testing.assert_array_equal(result.keypoints, POINTS)


def test_motion_blur_does_not_move_the_image() -> None:
    for seed in range(10):
        result = run({"motion_blur": 1.0}, blobs(), seed=seed)
        for point in POINTS[0]:
            assert np.abs(blob_centre(result.image[0], point) - point).max() < 0.3


@pytest.mark.parametrize("method", ["uniform", "keypoints", "density", "hybrid"])
def test_crops_have_their_size_and_see_what_they_should(method: str) -> None:
    menu = {"crop_sampling": {"width": 60, "height": 40, "max_shift": 0.0, "method": method}}
    results = [run(menu, blobs(), seed=seed) for seed in range(60)]
    assert {result.image.shape for result in results} == {(3, 40, 60)}
    visible = [
        np.isfinite(result.keypoints).any() or np.isfinite(result.unique).any()
        for result in results
    ]
    if method in ("keypoints", "density"):
        assert all(visible)
    else:
        assert not all(visible)
        assert any(visible)


def test_density_prefers_crowded_points() -> None:
    crowd = np.array([[(30, 30), (31, 30), (30, 31), (31, 31)], [(200, 150), NAN, NAN, NAN]])
    for method, low, high in (("keypoints", 0.6, 0.92), ("density", 0.88, 1.0)):
        menu = {"crop_sampling": {"width": 40, "height": 40, "max_shift": 0.1, "method": method}}
        pipeline = build_pipeline(menu, bodyparts="abcd", training=True)
        image, none = np.zeros((200, 260, 3), np.uint8), np.zeros((0, 2))
        hits = [
            np.isfinite(pipeline(image, crowd, none, seed=s).keypoints[0]).any() for s in range(150)
        ]
        assert low < np.mean(hits) < high  # 4 of 5 points; 16 of 17 shares


def test_crop_without_any_labels() -> None:
    menu = {"crop_sampling": {"width": 40, "height": 40, "method": "keypoints"}}
    pipeline = build_pipeline(menu, bodyparts=BODYPARTS, training=True)
    nothing = np.full((2, 3, 2), np.nan)
    result = pipeline(blobs(), nothing, np.zeros((0, 2)), seed=0)
    assert result.image.shape == (3, 40, 40)
    assert np.isnan(result.keypoints).all()


def test_a_transform_of_ones_own_may_drop_points() -> None:
    menu = {"grid": {"_target_": "albumentations.GridDistortion", "p": 1.0}}
    result = run(menu, blobs())
    assert result.keypoints.shape == POINTS.shape
    assert np.isnan(result.keypoints[1, 1]).all()


def test_wrong_transforms_are_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.train"):
        run({"mine": {"_target_": "albumentations.Blur", "blur_limt": 3}}, blobs())
    with pytest.raises(ConfigError, match=r"data\.train"):
        run({"mine": {"_target_": "albumentations.Blur", "blur_limit": "x"}}, blobs())
    with pytest.raises(UserError, match="uint8"):
        run({"mine": {"_target_": "albumentations.ToFloat"}}, blobs())


def test_copied_keypoints_are_refused() -> None:
    turn = {"_target_": "albumentations.Pad", "padding": 150, "border_mode": cv2.BORDER_REFLECT_101}
    with pytest.raises(UserError, match="border_mode: 0"):
        run({"mine": turn}, blobs())


def test_albumentations_still_copies_reflected_keypoints() -> None:
    """Why padding is a class of ours: if this fails, `transforms.Pad` can go."""
    pad = A.Compose(
        [A.PadIfNeeded(min_height=300, min_width=300, border_mode=cv2.BORDER_REFLECT_101)],
        keypoint_params=A.KeypointParams("xy", remove_invisible=False),
    )
    assert len(pad(image=blobs(), keypoints=[(100.0, 20.0)])["keypoints"]) > 1


@pytest.mark.parametrize(
    ("menu", "share"),
    [
        ({}, 0),
        ({"crop_sampling": {"width": 448, "height": 448}}, 0),
        ({"crop_sampling": {"width": 640, "height": 960}}, 0.5),
        ({"longest_max_size": 320, "crop_sampling": {"width": 320, "height": 480}}, 0.5),
        ({"resize": {"width": 320, "height": 480}}, 0.5),
        ({"resize": {"width": 320, "height": 480, "keep_ratio": False}}, 0),
    ],
)
def test_the_share_of_padding_is_that_of_black_pixels(menu, share):
    assert padding_share(menu, 640, 480) == pytest.approx(share)
