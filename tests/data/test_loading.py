"""Loaders: the same batches with any number of workers, in any epoch, on any rank."""

import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from dlcexp.data.cache import shared_cache
from dlcexp.data.loading import PoseData
from dlcexp.errors import ProjectError, UserError

PAD = {"pad_width_divisor": 32, "pad_height_divisor": 32}


def tree(project: Path, **changes: Any) -> Any:
    base = {
        "project": str(project),
        "seed": 0,
        "batch_size": 5,
        "with_center_keypoints": True,
        "data": {
            "colormode": "RGB",
            "bbox_margin": 20,
            "cache": "256MiB",
            "resize": {"width": 160, "height": 120, "keep_ratio": True},
            "normalize_images": True,
            "train": {
                "affine": {"p": 0.5, "rotation": 30, "scaling": [0.5, 1.25]},
                "crop_sampling": {"width": 64, "height": 96, "max_shift": 0.1, "method": "hybrid"},
                "gaussian_noise": {"std": 12.75, "p": 1.0},
            },
            "inference": {"auto_padding": PAD},
        },
        "split": {
            "_target_": "dlcexp.data.splits.FractionSplit",
            "train_fraction": 0.1,
            "seed": 42,
            "stratify": False,
        },
        "trainer": {"num_workers": 0, "pin_memory": False},
    }
    return OmegaConf.merge(base, OmegaConf.create(changes))


def batches(data: PoseData, epochs: list[int], **ranks: int) -> list[dict[str, torch.Tensor]]:
    loader = data.train_loader(**ranks)
    found = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        found += list(loader)
    return found


def assert_equal(first: list[dict], second: list[dict]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            torch.testing.assert_close(value, other[name], rtol=0, atol=0, equal_nan=True, msg=name)


def test_batches_are_the_same_with_workers_and_after_a_resume(openfield: Path) -> None:
    straight = batches(PoseData(tree(openfield)), [0, 1, 2])
    assert len(straight) == 3 * 3
    data = PoseData(tree(openfield, trainer={"num_workers": 2}))
    assert_equal(straight, batches(data, [0, 1, 2]))
    assert_equal(straight[6:], batches(data, [2]))
    images = torch.cat([batch["image"] for batch in straight])
    distinct = len({zlib.crc32(image.numpy().tobytes()) for image in images})
    assert distinct == images.shape[0]


def test_iterating_leaves_the_global_generators_alone(openfield: Path) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    batches(PoseData(tree(openfield)), [0])
    after = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


def test_a_batch_holds_what_models_need(flies13: Path) -> None:
    data = PoseData(tree(flies13, batch_size=2))
    [batch, *_] = batches(data, [0])
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    assert shapes == {
        "image": (2, 3, 96, 64),
        "keypoints": (2, 2, 14, 3),
        "keypoints_unique": (2, 0, 3),
        "area": (2, 2),
        "individual_ids": (2, 2),
        "boxes": (2, 2, 4),
        "index": (2,),
        "epoch": (2,),
        "scale": (2, 2),
        "offset": (2, 2),
    }


def test_frames_to_be_predicted_are_not_augmented(openfield: Path) -> None:
    data = PoseData(tree(openfield))
    frames = data.frames("test")
    assert len(frames) == len(data.split.test)
    sample = frames[3]
    assert sample["image"].shape == (3, 128, 160)
    points = sample["keypoints"][0, :-1]
    original = points[:, :2].numpy() * sample["scale"].numpy() + sample["offset"].numpy()
    labelled = data.labels.keypoints[sample["index"], 0]
    visible = np.isfinite(labelled[:, 0])
    np.testing.assert_array_equal(points[:, 2] > 0, visible)
    np.testing.assert_allclose(original[visible], labelled[visible], rtol=1e-5)


def test_a_batch_larger_than_the_data_is_one_smaller_batch(openfield: Path) -> None:
    data = PoseData(tree(openfield, batch_size=64))
    [batch] = batches(data, [0])
    assert sorted(batch["index"].tolist()) == sorted(data.split.train)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_frames(openfield: Path, world_size: int) -> None:
    data = PoseData(tree(openfield, batch_size=2))
    shares = [batches(data, [0], rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    seen = {int(index) for share in shares for batch in share for index in batch["index"]}
    assert seen == set(data.split.train)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_worker_reports_a_broken_image_in_one_line(
    tmp_path: Path, openfield: Path, workers: int
) -> None:
    data = PoseData(tree(openfield, trainer={"num_workers": workers}))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images = (broken,) * len(data.labels.images)
    object.__setattr__(data.labels, "images", images)
    with pytest.raises(UserError) as caught:
        batches(data, [0])
    assert "\n" not in str(caught.value)
    assert str(broken) in str(caught.value)


def test_runs_share_decoded_images(openfield: Path) -> None:
    shared_cache(0)
    first, second = PoseData(tree(openfield)), PoseData(tree(openfield, seed=1))
    for data in (first, second):
        batches(data, [0, 1])
        assert data.cache.bytes == len(data.split.train) * 480 * 640 * 3


def test_a_data_set_can_be_sent_to_a_process_that_is_not_forked(openfield: Path) -> None:
    dataset = PoseData(tree(openfield)).train_loader().dataset
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(dataset[(1, 2)]["image"], copy[(1, 2)]["image"])


def test_a_missing_project_is_named() -> None:
    with pytest.raises(ProjectError, match="nowhere"):
        PoseData(tree(Path("nowhere")))
