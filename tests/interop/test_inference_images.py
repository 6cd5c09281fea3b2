"""The images that a model sees in inference are those that DeepLabCut shows it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcexp.data.augmentation import build_pipeline
from dlcexp.data.cache import read_image

PAD = {"pad_width_divisor": 32, "pad_height_divisor": 32, "position": "top_left"}
NORMALISED = {"normalize_images": True}
MENUS: dict[str, dict[str, Any]] = {
    "as DLC writes it for DEKR": {"auto_padding": PAD, **NORMALISED},
    "padding that reflects": {"auto_padding": {**PAD, "pad_width_divisor": 300}, **NORMALISED},
    "padding with a constant": {
        "auto_padding": {**PAD, "pad_height_divisor": 77, "border_mode": "constant"},
        **NORMALISED,
    },
    "smaller, ratio kept": {
        "resize": {"width": 320, "height": 320, "keep_ratio": True},
        **NORMALISED,
    },
    "larger, ratio kept": {
        "resize": {"width": 1300, "height": 800, "keep_ratio": True},
        **NORMALISED,
    },
    "odd size": {"resize": {"width": 333, "height": 217, "keep_ratio": True}, **NORMALISED},
    "ratio lost": {"resize": {"width": 300, "height": 200, "keep_ratio": False}, **NORMALISED},
    "longest side": {"longest_max_size": 300, **NORMALISED},
    "unit range": {"normalize_images": False, "scale_to_unit_range": True},
}


@pytest.fixture(scope="module")
def frames(openfield: Path) -> list[Path]:
    return sorted(openfield.glob("labeled-data/*/*.png"))[:2]


@pytest.fixture(scope="module")
def theirs(
    deeplabcut: Any, frames: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """MENU/FRAME/image (h, w, 3) and MENU/FRAME/point (2,), by number of the menu and frame."""
    target = tmp_path_factory.mktemp("deeplabcut") / "images.npz"
    deeplabcut("transform_frames", json.dumps(list(MENUS.values())), target, *frames)
    with np.load(target) as record:
        return dict(record)


@pytest.mark.parametrize("name", MENUS)
def test_images_equal_those_of_deeplabcut(
    theirs: dict[str, np.ndarray], frames: list[Path], name: str
) -> None:
    menu = {key: value for key, value in MENUS[name].items() if value is not False}
    pipeline = build_pipeline(menu, bodyparts=("a",), training=False)
    for number, frame in enumerate(frames):
        record = f"{list(MENUS).index(name)}/{number}"
        keypoints = np.array([[(100.0, 50.0)]])
        ours = pipeline(read_image(frame), keypoints, np.zeros((0, 2)), seed=0)
        expected = theirs[f"{record}/image"].transpose(2, 0, 1)
        np.testing.assert_allclose(ours.image, expected, atol=1e-5)
        # DeepLabCut scales points by the ratio before the size is rounded to whole pixels.
        np.testing.assert_allclose(ours.keypoints[0, 0], theirs[f"{record}/point"], atol=0.5)
