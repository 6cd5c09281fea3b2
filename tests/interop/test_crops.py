"""Crops and boxes are those that DeepLabCut's top-down models see."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dlcexp.data.augmentation import build_pipeline
from dlcexp.data.boxes import ground_truth_boxes
from dlcexp.data.cache import ImageCache
from dlcexp.data.crops import CropDataset, Window
from dlcexp.project import Labels

HEIGHT, WIDTH = 200, 300
SIZES = [(64, 64), (256, 256), (48, 64), (96, 48), (192, 256), (70, 51)]

BY_HAND = [
    (0, 0, 300, 200),  # the whole image
    (0, 0, 10, 200),
    (-20, -10, 60, 50),  # beyond the image
    (280, 180, 40, 40),
    (100, 50, 500, 20),
    (290, 50, 30, 10),
    (200, 197, 20, 3),
    (150, 90, 1, 1),  # as small as can be
    (100, 90, 0, 40),  # without extent in one direction
    (250, 90, 20, 0.4),
    (100.5, 50.5, 61.5, 20.5),  # halves, which are rounded to even numbers
    (100.3, 50.7, 33.4, 64.2),
]

MENUS: list[dict[str, Any]] = [
    {"normalize_images": True},
    {
        "normalize_images": True,
        "auto_padding": {
            "pad_width_divisor": 32,
            "pad_height_divisor": 32,
            "position": "top_left",
        },
    },
]


def random_boxes(number: int) -> list[tuple[float, ...]]:
    """Boxes that meet the image, in whole pixels, quarters and finer."""
    generator = np.random.default_rng(number)
    sides = generator.uniform(2, 150, size=(60, 2))
    corners = generator.uniform(-sides + 1, (WIDTH - 1, HEIGHT - 1))
    boxes = np.concatenate([corners, sides], axis=1)
    grains = np.repeat([1.0, 4.0, 1e6], 20)[:, None]
    return [tuple(map(float, box)) for box in np.rint(boxes * grains) / grains]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, in which every pixel is another."""
    path = tmp_path_factory.mktemp("images") / "noise.npy"
    noise = np.random.default_rng(0).integers(0, 256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
    np.save(path, noise)
    cv2.imwrite(str(path.with_suffix(".png")), noise[..., ::-1])
    return path


def ramp(path: Path) -> Path:
    """An image that says where each pixel comes from: float32 x, y, 1."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    np.save(path, np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32))
    return path


LABELLED = [
    {"points": points.tolist(), "shape": [HEIGHT, WIDTH], "margin": margin}
    for points, margin in product(
        np.random.default_rng(3).uniform(0, (WIDTH, HEIGHT), size=(4, 3, 5, 2)), (0, 20)
    )
]


@pytest.fixture(scope="module")
def theirs(
    deeplabcut: Any, image: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("deeplabcut")
    images = (image, ramp(folder / "ramp.npy"))
    orders = {
        "crops": [
            {"image": str(path), "boxes": BY_HAND + random_boxes(number), "size": size}
            for path in images
            for number, size in enumerate(SIZES)
        ],
        "inputs": [
            {"image": str(image), "boxes": random_boxes(9)[:20], "size": (128, 80), "menu": menu}
            for menu in MENUS
        ],
        "keypoints": LABELLED,
    }
    (folder / "orders.json").write_text(json.dumps(orders))
    deeplabcut("crop_frames", folder / "orders.json", folder / "crops.npz")
    with np.load(folder / "crops.npz") as record:
        return dict(record)


@pytest.mark.parametrize("number", range(len(SIZES)), ids=lambda n: str(SIZES[n]))
def test_windows_and_pixels(theirs: dict[str, np.ndarray], image: Path, number: int) -> None:
    picture = np.load(image)
    for place, box in enumerate(BY_HAND + random_boxes(number)):
        window = Window.around(np.array(box), SIZES[number])
        expected = {n: theirs[f"crops/{number}/{n}"][place] for n in ("image", "offset", "scale")}
        np.testing.assert_array_equal(window.offset, expected["offset"], err_msg=str(box))
        np.testing.assert_allclose(window.scale, expected["scale"], rtol=1e-12, err_msg=str(box))
        np.testing.assert_array_equal(window.cut(picture), expected["image"], err_msg=str(box))


@pytest.mark.parametrize("number", range(len(SIZES)), ids=lambda n: str(SIZES[n]))
def test_a_pixel_comes_from_where_scale_and_offset_say(
    theirs: dict[str, np.ndarray], number: int
) -> None:
    """Up to half a pixel: DeepLabCut takes corners of pixels where OpenCV takes their centres."""
    for place, box in enumerate(BY_HAND + random_boxes(number)):
        window = Window.around(np.array(box), SIZES[number])
        pixels = theirs[f"crops/{len(SIZES) + number}/image"][place]
        rows, columns = np.nonzero(np.abs(pixels[..., 2] - 1) < 1e-6)
        seen = pixels[rows, columns, :2]
        grid = np.stack([columns, rows], axis=1) + 0.5
        told = grid * window.scale + window.offset - 0.5
        # Where pixels are enlarged beyond the edge of the window, OpenCV repeats the edge.
        told = np.clip(told, (window.left, window.top), (window.right - 1, window.bottom - 1))
        np.testing.assert_allclose(seen, told, atol=0.01, err_msg=str(box))


@pytest.mark.parametrize("number", range(len(MENUS)))
def test_the_inputs_of_a_model(theirs: dict[str, np.ndarray], image: Path, number: int) -> None:
    frame = image.with_suffix(".png")
    labels = Labels(
        names=("a",),
        images=(frame,),
        folders=("v",),
        keypoints=np.full((1, 1, 1, 2), np.nan),
        unique=np.zeros((1, 0, 2)),
    )
    boxes = np.array(random_boxes(9)[:20])
    crops = CropDataset(
        labels,
        [(0, row) for row in range(len(boxes))],
        build_pipeline(MENUS[number], bodyparts=("a",), training=False),
        size=(128, 80),
        seed=0,
        cache=ImageCache(10**7),
        boxes={0: boxes},
    )
    for row in range(len(boxes)):
        sample = crops[row]
        expected = {n: theirs[f"inputs/{number}/{n}"][row] for n in ("image", "offset", "scale")}
        np.testing.assert_allclose(sample["image"], expected["image"], atol=1e-5)
        np.testing.assert_allclose(sample["offset"], expected["offset"], atol=1e-4)
        np.testing.assert_allclose(sample["scale"], expected["scale"], rtol=1e-6)


def test_boxes_around_keypoints(theirs: dict[str, np.ndarray]) -> None:
    for number, order in enumerate(LABELLED):
        labels = Labels(
            names=("a",),
            images=(Path("a"),),
            folders=("v",),
            keypoints=np.array(order["points"])[None],
            unique=np.zeros((1, 0, 2)),
        )
        ours = ground_truth_boxes(labels, 0, order["shape"], order["margin"])
        np.testing.assert_allclose(ours, theirs[f"keypoints/{number}/boxes"], atol=1e-9)
