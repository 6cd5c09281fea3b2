"""Training batches as a picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dlcexp.cli import main
from dlcexp.data.augmentation import build_pipeline
from dlcexp.training import browse as module


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("colormode", ["RGB", "BGR"])
def test_the_image_behind_the_values_is_found(normalize: bool, colormode: str) -> None:
    pipeline = build_pipeline(
        {"normalize_images": normalize},
        bodyparts=["nose"],
        unique_bodyparts=[],
        training=True,
        colormode=colormode,
        key="data",
    )
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    values = pipeline(image, np.full((1, 1, 2), np.nan), np.zeros((0, 2)), seed=0).image
    np.testing.assert_array_equal(pipeline.to_image(values), image)


def test_maps_are_those_of_the_targets() -> None:
    import torch

    heatmap = torch.zeros(2, 3, 4, 5)
    heatmap[1, 2, 3, 4] = -0.5
    bins = torch.ones(2, 3, 7)
    targets = {
        "bodypart": {"heatmap": {"target": heatmap, "weights": 1.0}, "x": {"target": bins}},
        "identity": {"heatmap": {"target": heatmap}},
    }
    maps = dict(module._maps(targets))
    assert list(maps) == ["bodypart.heatmap", "bodypart.x", "identity.heatmap"]
    assert maps["bodypart.heatmap"].shape == (2, 4, 5)
    assert maps["bodypart.heatmap"][1, 3, 4] == 0.5
    assert maps["bodypart.x"].shape == (2, 3, 7)


def test_a_picture_of_batches(tiny: list[str], tmp_path: Path, capsys) -> None:
    path = tmp_path / "seen.png"
    words = ["model=dekr", *tiny, "batch_size=3", f"browse.file={path}"]
    assert main(["browse", *words, "browse.batches=3"]) == 0
    assert str(path) in capsys.readouterr().out
    # 9 images in rows of 8, each above its heatmap and its offsets.
    height, width = cv2.imread(str(path)).shape[:2]
    side = module._SIDE * module._DPI
    assert width == pytest.approx(8 * side, abs=2)
    assert height == pytest.approx(6 * side, abs=side / 2)
    assert main(["browse", *words, "browse.batches=none"]) == 2
    assert "'none'" in capsys.readouterr().err
