"""Images of several sizes in one batch, and batches of random sizes."""

from typing import Any

import numpy as np
import pytest
import torch

from dlcexp.data.collation import PadCollate, ResizeFromDataSize, ResizeFromList, build_collate
from dlcexp.data.dataset import Failure, label_arrays


def sample(height: int, width: int, index: int = 0, epoch: int = 0) -> dict[str, Any]:
    """A black frame with a bright blob under its first keypoint; the second is not labelled."""
    x, y = width * 0.5, height * 0.5
    rows, columns = np.mgrid[:height, :width]
    blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 32).astype(np.float32)
    keypoints = np.array([[(x, y), (np.nan, np.nan), (x + 8, y + 4)]])
    boxes = np.array([[x - 10, y - 10, 20, 20]])
    labels = label_arrays(keypoints, np.array([(x, y)]), boxes, with_center_keypoints=True)
    return {
        "image": torch.from_numpy(np.repeat(blob[None], 3, axis=0)),
        **{name: torch.from_numpy(array) for name, array in labels.items()},
        "index": index,
        "epoch": epoch,
    }


def test_padding_keeps_images_at_the_top_left() -> None:
    samples = [sample(40, 60), sample(50, 30, index=1)]
    batch = PadCollate()(samples)
    assert batch["image"].shape == (2, 3, 50, 60)
    assert torch.equal(batch["image"][0, :, :40, :60], samples[0]["image"])
    assert torch.equal(batch["image"][1, :, :50, :30], samples[1]["image"])
    assert batch["image"][1, :, :, 30:].abs().max() == 0
    assert torch.equal(batch["keypoints"][1], samples[1]["keypoints"])
    assert batch["index"].tolist() == [0, 1]


def data_size(**options: Any) -> ResizeFromDataSize:
    return ResizeFromDataSize(0, True, **{"min_scale": 0.5, "max_scale": 2.0, **options})


@pytest.mark.parametrize(
    ("collate", "allowed"),
    [
        (data_size(min_short_side=10), lambda h, w: 30 <= h <= 120 and abs(w / h - 4 / 3) < 0.05),
        (data_size(min_short_side=90, max_short_side=90), lambda h, w: (h, w) == (90, 120)),
        (data_size(min_short_side=10, multiple_of=32), lambda h, w: h % 32 == w % 32 == 0),
        (data_size(min_short_side=10, to_square=True), lambda h, w: h == w),
        (data_size(min_short_side=10, max_ratio=1.1), lambda h, w: w / h < 1.15),
        (ResizeFromList(0, True, scales=[64, 96]), lambda h, w: h == w and h in (64, 96)),
        (ResizeFromList(0, True, scales=[(64, 96)]), lambda h, w: (h, w) == (64, 96)),
    ],
)
def test_random_sizes(collate: Any, allowed: Any) -> None:
    sizes = set()
    for epoch in range(12):
        batch = collate([sample(60, 80, epoch=epoch), sample(90, 60, 1, epoch)])
        height, width = batch["image"].shape[2:]
        sizes.add((height, width))
        assert allowed(height, width)
        for number in range(2):
            assert_consistent({name: value[number] for name, value in batch.items()})
    assert len(sizes) > 1 or "90, 120" in str(sizes) or "(64, 96)" in str(sizes)


def assert_consistent(result: dict[str, torch.Tensor]) -> None:
    """The blob is under its keypoint; centre, area and box fit the points."""
    points = result["keypoints"][0]
    height, width = result["image"].shape[1:]
    if points[0, 2] and 8 < points[0, 0] < width - 9 and 8 < points[0, 1] < height - 9:
        plane = result["image"][0]
        peak = divmod(int(plane.argmax()), width)
        assert abs(peak[1] - points[0, 0]) < 1.5
        assert abs(peak[0] - points[0, 1]) < 1.5
    assert points[1].tolist() == [0, 0, 0]
    visible = points[:-1][points[:-1, 2] > 0][:, :2]
    if len(visible):
        torch.testing.assert_close(points[-1, :2], visible.mean(dim=0))
        torch.testing.assert_close(result["area"][0], result["boxes"][0, 2:].prod())
    else:
        assert points.abs().max() == 0
    assert result["boxes"][0, :2].min() >= 0


def test_size_depends_on_seed_epoch_and_frames_only() -> None:
    collate = data_size(min_short_side=10)
    batch = [sample(60, 80, index=3, epoch=2), sample(60, 80, index=5, epoch=2)]
    first = collate(batch)
    collate([sample(60, 80, index=9)])
    assert torch.equal(first["image"], collate(batch)["image"])
    assert first["image"].shape != collate([sample(60, 80, 3, 4)] * 2)["image"].shape


def test_settings_of_a_menu() -> None:
    options: dict[str, Any] = {"seed": 0, "with_center_keypoints": False}
    assert isinstance(build_collate(None, **options), PadCollate)
    menu = {
        "type": "ResizeFromDataSizeCollate",
        "min_scale": 0.4,
        "max_scale": 1.0,
    }
    assert isinstance(build_collate(menu, **options), ResizeFromDataSize)
    menu = {"type": "ResizeFromList", "scales": [64]}
    assert isinstance(build_collate(menu, **options), ResizeFromList)


@pytest.mark.parametrize("collate", [PadCollate(), data_size()])
def test_a_failure_passes_through(collate: Any) -> None:
    assert collate(Failure("img.png")) == Failure("img.png")
