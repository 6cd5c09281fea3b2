"""Loaders: the same batches with any number of workers, in any epoch, on any rank."""

import dataclasses
import itertools
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import dlcexp.data.cache
from dlcexp import compose
from dlcexp.data.cache import read_image, shared_cache
from dlcexp.data.loading import PoseData, PoseLoader
from dlcexp.errors import ConfigError, ProjectError, UserError

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


def top_down_tree(project: Path, **changes: Any) -> Any:
    """The recommended tree, with few frames and steps for boxes."""
    base = compose(
        *(f"project={project.as_posix()}", "method=td", "batch_size=5", "detector.batch_size=3"),
        *("split.train_fraction=0.1", "data.cache=256MiB"),
        *("data.train.gaussian_noise={std: 12.75, p: 1.0}", "data.train.random_bbox_transform.p=1"),
    )
    return OmegaConf.merge(base, OmegaConf.create(changes))


def batches(data: PoseData, epochs: list[int], **ranks: int) -> list[dict[str, torch.Tensor]]:
    return batches_of(data.train_loader(**ranks), epochs)


def batches_of(loader: PoseLoader, epochs: list[int]) -> list[dict[str, torch.Tensor]]:
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


def test_a_batch_can_be_all_of_the_data_and_not_more(openfield: Path) -> None:
    data = PoseData(tree(openfield, batch_size=12))
    [batch] = batches(data, [0])
    assert sorted(batch["index"].tolist()) == sorted(data.split.train)
    with pytest.raises(ConfigError, match=r"^batch_size: 64 .* 1 to 12"):
        PoseData(tree(openfield, batch_size=64)).train_loader()


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


def with_labels(data: PoseData, keypoints: np.ndarray) -> PoseData:
    data.labels = dataclasses.replace(data.labels, keypoints=keypoints)
    return data


def test_a_batch_of_crops(flies13: Path) -> None:
    data = PoseData(top_down_tree(flies13))
    loader = data.train_loader()
    assert len(loader.dataset) == 2 * len(data.split.train)
    found = batches_of(loader, [0])
    animals = [
        (int(index), int(individual))
        for batch in found
        for index, individual in zip(batch["index"], batch["individual"], strict=True)
    ]
    assert sorted(animals) == sorted(itertools.product(data.split.train, (0, 1)))
    shapes = {name: tuple(value.shape) for name, value in found[0].items()}
    assert shapes == {
        "image": (5, 3, 256, 256),
        "keypoints": (5, 1, 13, 3),
        "keypoints_unique": (5, 0, 3),
        "area": (5, 1),
        "individual_ids": (5, 1),
        "boxes": (5, 1, 4),
        "index": (5,),
        "individual": (5,),
        "epoch": (5,),
        "scale": (5, 2),
        "offset": (5, 2),
    }


@pytest.mark.slow
def test_crops_and_frames_are_the_same_with_workers_and_after_a_resume(flies13: Path) -> None:
    alone = PoseData(top_down_tree(flies13))
    helped = PoseData(
        top_down_tree(flies13, trainer={"num_workers": 2}, detector={"num_workers": 2})
    )
    for name in ("train_loader", "detector_train_loader"):
        straight = batches_of(getattr(alone, name)(), [0, 1])
        loader = getattr(helped, name)()
        assert loader.num_workers == 2
        assert_equal(straight, batches_of(loader, [0, 1]))
        assert_equal(straight[len(straight) // 2 :], batches_of(getattr(alone, name)(), [1]))
        images = [image for batch in straight for image in batch["image"]]
        distinct = len({zlib.crc32(image.numpy().tobytes()) for image in images})
        assert distinct == len(images)


def test_ranks_share_the_animals(flies13: Path) -> None:
    data = PoseData(top_down_tree(flies13))
    seen = {
        (int(index), int(individual))
        for rank in range(2)
        for batch in batches(data, [0], rank=rank, world_size=2)
        for index, individual in zip(batch["index"], batch["individual"], strict=True)
    }
    assert seen == set(itertools.product(data.split.train, (0, 1)))


def test_crops_to_be_predicted_are_not_augmented(flies13: Path) -> None:
    data = PoseData(top_down_tree(flies13))
    crops = data.frames("test")
    assert len(crops) == 2 * len(data.split.test)
    sample = crops[3]
    points = sample["keypoints"][0]
    original = points[:, :2].numpy() * sample["scale"].numpy() + sample["offset"].numpy()
    labelled = data.labels.keypoints[sample["index"], sample["individual"]]
    visible = np.isfinite(labelled[:, 0])
    np.testing.assert_array_equal(points[:, 2] > 0, visible)
    np.testing.assert_allclose(original[visible], labelled[visible], rtol=1e-5)
    box = data.ground_truth_boxes(sample["index"])[sample["individual"]]
    low, high = np.nanmin(labelled, axis=0) - 20, np.nanmax(labelled, axis=0) + 20
    np.testing.assert_allclose(box, [*low, *(high - low)])
    [same] = data.crops({sample["index"]: np.array([[*np.trunc(box), 0.7]])})
    assert torch.equal(same["image"], sample["image"])


def test_batches_for_the_detector(flies13: Path) -> None:
    """Both flies are bright: the boxes are where the light is, whatever happened to the frame."""
    data = PoseData(top_down_tree(flies13))
    for batch in batches_of(data.detector_train_loader(), [0, 1]):
        height, width = batch["image"].shape[2:]
        assert batch["boxes"].shape == (len(batch["image"]), 2, 4)
        assert height % 32 == width % 32 == 0
        for image, boxes in zip(batch["image"], batch["boxes"], strict=True):
            bright = torch.nonzero(image[0] > 0.3 * image[0].max() + 0.7 * image[0].min())
            inside = torch.zeros(len(bright), dtype=torch.bool)
            for x, y, w, h in boxes:
                rows, columns = bright.unbind(dim=1)
                inside |= (columns >= x) & (columns <= x + w) & (rows >= y) & (rows <= y + h)
            assert inside.float().mean() > 0.8


def test_a_box_that_leaves_its_image_vanishes(flies13: Path) -> None:
    shift = {"train": {"affine": {"p": 1.0, "rotation": 0, "translation": [900, 900]}}}
    data = PoseData(top_down_tree(flies13, data_detector=shift))
    [first, *_] = batches_of(data.detector_train_loader(), [0])
    assert first["boxes"].shape == (3, 2, 4)
    assert first["boxes"].abs().max() == 0


def test_the_detector_sees_whole_frames(flies13: Path) -> None:
    resize = {"resize": {"width": 512, "height": 512, "keep_ratio": True}}
    data = PoseData(top_down_tree(flies13, data_detector=resize))
    frames = data.detector_frames("test")
    assert frames.indices == data.split.test
    sample = frames[2]
    assert sample["image"].shape == (3, 512, 512)
    boxes = sample["boxes"].numpy()
    original = np.concatenate(
        [boxes[:, :2] * sample["scale"].numpy() + sample["offset"].numpy(), 2 * boxes[:, 2:]],
        axis=1,
    )
    np.testing.assert_allclose(original, data.ground_truth_boxes(sample["index"]), atol=1e-3)


def test_frames_without_animals(flies13: Path) -> None:
    data = PoseData(top_down_tree(flies13))
    keypoints = data.labels.keypoints.copy()
    empty = data.split.train[1]
    keypoints[empty] = np.nan
    keypoints[data.split.train[0], 1] = np.nan
    with_labels(data, keypoints)
    animals = len(data.split.train) * 2 - 3
    assert len(data.train_loader().dataset) == len(data.frames("train")) == animals
    found = batches_of(data.detector_train_loader(), [0])
    [boxes] = [b["boxes"][b["index"] == empty][0] for b in found if (b["index"] == empty).any()]
    assert boxes.abs().max() == 0
    assert np.isnan(data.ground_truth_boxes(empty)).all()


def test_no_animal_to_train_with(flies13: Path) -> None:
    data = PoseData(top_down_tree(flies13))
    keypoints = data.labels.keypoints.copy()
    keypoints[list(data.split.train)] = np.nan
    with_labels(data, keypoints)
    for loader in (data.train_loader, data.detector_train_loader):
        with pytest.raises(ConfigError, match=r"^split: .*method=td.*split\.seed=1"):
            loader()
    assert len(data.frames("train")) == 0
    assert len(data.frames("test")) == 2 * len(data.split.test)


def test_boxes_of_a_coco_file(flies13: Path) -> None:
    file = flies13 / "coco" / "ma_flies13.json"
    data = PoseData(top_down_tree(file))
    annotations = json.loads(file.read_text())["annotations"]
    sample = data.frames("test")[0]
    image_id = sample["index"] + 1
    given = [a["bbox"] for a in annotations if a["image_id"] == image_id]
    np.testing.assert_allclose(data.ground_truth_boxes(sample["index"]), given)
    x, y, w, h = given[sample["individual"]]
    # The centre of the given box is the centre of the crop, whose side is its longer side.
    centre = 128 * sample["scale"].numpy() + sample["offset"].numpy()
    np.testing.assert_allclose(centre, [x + w / 2, y + h / 2], atol=1)
    np.testing.assert_allclose(sample["scale"] * 256, max(w, h), atol=1)


def test_a_flip_does_not_warn_for_boxes(flies13: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = PoseData(top_down_tree(flies13))
    data.detector_train_loader()
    assert not caplog.records
    PoseData(top_down_tree(flies13, data={"train": {"hflip": True}})).train_loader()
    assert "data.train.hflip" in caplog.text


def test_an_image_is_decoded_once_for_both_stages(
    flies13: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def counting(path: Path) -> Any:
        decoded.append(path)
        return read_image(path)

    shared_cache(0)
    monkeypatch.setattr(dlcexp.data.cache, "read_image", counting)
    data = PoseData(top_down_tree(flies13))
    for loader in (data.detector_train_loader(), data.train_loader()):
        batches_of(loader, [0, 1])
    assert len(decoded) == len(data.split.train)
