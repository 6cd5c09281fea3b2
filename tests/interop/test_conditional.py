"""Conditional top-down: crops, conditions and drawn poses are those of DeepLabCut."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dlcexp
from dlcexp.data.gen_sampling import GenerativeSampler
from dlcexp.data.loading import PoseData
from dlcexp.deeplabcut.snapshots import Snapshot, save_snapshot

FRAMES = 2

ANIMAL = [[200.0, 500.0], [400.0, 500.0], [700.0, 500.0], [1100.0, 500.0]]
DRAWING: dict[str, Any] = {
    "tries": 1000,
    "settings": {"keypoints_symmetry": [[0, 1]]},
    "area": 3600.0,
    "image_size": [2000, 2000, 3],
    "keypoints": [[*point, 2] for point in ANIMAL],
    "near_keypoints": [[[x, y + 500, 2] for x, y in ANIMAL]],
}


@pytest.fixture(scope="module")
def cfg(flies13: Path) -> Any:
    return dlcexp.compose(
        f"project={flies13.as_posix()}",
        "net_type=ctd_prenet_rtmpose_s",
        "device=cpu",
    )


@pytest.fixture(scope="module")
def data(cfg: Any) -> PoseData:
    return PoseData(cfg)


@pytest.fixture(scope="module")
def conditions(data: PoseData) -> dict[int, np.ndarray]:
    """Labels with errors; some keypoints are missing, and one has a score of almost nothing."""
    generator = np.random.default_rng(0)
    found = {}
    for row in data.split.test[:FRAMES]:
        labels = np.nan_to_num(data.labels.keypoints[row] + generator.normal(0, 8, (2, 13, 2)))
        scores = generator.uniform(0.1, 1, (2, 13, 1))
        scores[:, 3], scores[0, 5] = 0, 0.01
        scores[~np.isfinite(data.labels.keypoints[row]).all(axis=-1)] = 0
        found[row] = np.concatenate([labels, scores], axis=-1)
        found[row][scores[..., 0] == 0] = 0
    return found


@pytest.fixture(scope="module")
def ours(cfg: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A model with random weights, and the folder with its snapshot and configuration."""
    folder = tmp_path_factory.mktemp("conditional")
    torch.manual_seed(0)
    model = dlcexp.build(cfg.model).eval()
    save_snapshot(folder / "snapshot-best-001.pt", Snapshot(1, model.state_dict()))
    (folder / "pytorch_config.yaml").write_text(dlcexp.export(cfg))
    return model, folder


@pytest.fixture(scope="module")
def theirs(
    deeplabcut: Any, data: PoseData, conditions: dict[int, np.ndarray], ours: Any
) -> dict[str, np.ndarray]:
    folder = ours[1]
    frames = [
        {"image": str(data.labels.images[row]), "poses": poses.tolist()}
        for row, poses in conditions.items()
    ]
    (folder / "orders.json").write_text(json.dumps({"frames": frames, "drawing": DRAWING}))
    names = ("pytorch_config.yaml", "snapshot-best-001.pt", "orders.json", "out.npz")
    assert deeplabcut("correct_poses", *(folder / name for name in names)) == {"frames": FRAMES}
    with np.load(folder / "out.npz") as record:
        return dict(record)


def test_the_same_crops_and_conditions(
    data: PoseData, conditions: dict[int, np.ndarray], theirs: dict[str, np.ndarray]
) -> None:
    crops = data.conditional_crops(conditions)
    for position in range(len(crops)):
        sample = crops[position]
        frame, animal = divmod(position, 2)
        np.testing.assert_allclose(sample["image"], theirs[f"{frame}/crops"][animal], atol=1e-5)
        expected = theirs[f"{frame}/conditions"][animal, 0]
        given = expected[:, 2] > 0
        assert (sample["conditions"][0, ~given] == 0).all()
        np.testing.assert_allclose(sample["conditions"][0, given], expected[given], atol=1e-3)


def test_drawn_poses_have_errors_as_often_and_as_far_off(theirs: dict[str, np.ndarray]) -> None:
    sampler = GenerativeSampler(4, **DRAWING["settings"])
    generator = np.random.default_rng(0)
    animal = np.array(ANIMAL)
    drawn = np.stack(
        [
            sampler(animal, (animal + np.array([0, 500]))[None], 3600.0, (2000, 2000), generator)
            for _ in range(DRAWING["tries"])
        ]
    )
    edges = [0, *(float(sampler.distance(each, 3600.0)[0]) for each in (0.85, 0.5, 0.1)), np.inf]
    shares, means = [], []
    for poses in (drawn, theirs["drawn"]):
        apart = np.linalg.norm(poses[..., :2] - animal, axis=-1)
        shares.append(np.histogram(apart, edges)[0] / apart.size)
        means.append([apart[(apart >= a) & (apart < b)].mean() for a, b in pairwise(edges[:4])])
    np.testing.assert_allclose(*shares, atol=0.03)
    np.testing.assert_allclose(*means, rtol=0.1)
