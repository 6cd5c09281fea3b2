"""Conditional top-down: conditions from a run, a shuffle or a file, trained with and scored by."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from training_support import FAST, equal, rows

import dlcexp
from dlcexp.data.loading import PoseData
from dlcexp.errors import ConfigError
from dlcexp.training import Run, train
from dlcexp.training.conditions import condition_source

Tree = Callable[..., DictConfig]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def conditional(small_project: Path) -> Tree:
    """A tree of a small conditional network with dotted keys changed."""
    cfg = dlcexp.compose(
        f"project={small_project.as_posix()}",
        "method=ctd",
        "model/backbone=prenet_timm",
        "model.backbone.backbone.model_name=test_resnet.r160_in1k",
        "model.backbone.backbone.feature_level=1",
        "data.top_down_crop={width: 32, height: 32}",
        "device=cpu",
        "seed=0",
        "batch_size=4",
        "epochs=2",
        "save_epochs=1",
        "trainer.eval_interval=1",
        "trainer.progress_bar=false",
        "evaluation.examples=1",
    )

    def changed(changes: dict[str, Any] | None = None) -> DictConfig:
        tree = OmegaConf.create(OmegaConf.to_container(cfg))
        for key, value in (changes or {}).items():
            OmegaConf.update(tree, key, value, merge=False, force_add=True)
        return tree

    return changed


@pytest.fixture(scope="module")
def bottom_up(small_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    tree = OmegaConf.create({**small_tree, "epochs": 2, "save_epochs": 2})
    tree.evaluation.examples = 0
    return train(tree, tmp_path_factory.mktemp("runs") / "bottom-up")


@pytest.fixture(scope="module")
def finished(bottom_up: Run, conditional: Tree, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A conditional run of two epochs on the poses of the bottom-up run, with figures."""
    tree = conditional({"conditions": str(bottom_up.folder)})
    return train(tree, tmp_path_factory.mktemp("runs") / "conditional")


def frames_of(project: Path) -> list[str]:
    return sorted(f"labeled-data/video/{p.name}" for p in project.glob("labeled-data/video/*.png"))


def write_json(path: Path, project: Path, pose: list[list[float]]) -> Path:
    path.write_text(json.dumps({name: [pose] for name in frames_of(project)}))
    return path


@pytest.mark.slow
def test_a_run_is_scored_with_its_conditions_and_with_drawn_ones(finished: Run) -> None:
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    for name in ("test.rmse", "train.rmse", "test_gt_conditions.rmse", "train_gt_conditions.mAP"):
        assert name in metrics
    best = rows(finished)[metrics["epoch"] - 1]
    # While it trains it is scored with conditions drawn from the labels, the same each time.
    assert float(best["test_gt_conditions.rmse"]) == pytest.approx(
        metrics["test_gt_conditions.rmse"]
    )
    assert "test.rmse" not in best
    figures = {path.name for path in (finished.folder / "figures").iterdir()}
    assert {"worst-1.png", "errors.png", "learning_curves.png"} <= figures


def test_the_conditions_are_the_poses_of_the_other_run(finished: Run, bottom_up: Run) -> None:
    data = PoseData(finished.cfg)
    source = condition_source(finished.cfg)
    found = source.conditions(data, data.split.test, CPU)
    images = [data.labels.images[row] for row in data.split.test]
    for row, pose in zip(found, dlcexp.predict(bottom_up, images).values(), strict=True):
        seen = pose[..., 2] > 0
        np.testing.assert_allclose(found[row][seen[: len(found[row])]], pose[seen], rtol=1e-5)


@pytest.mark.slow
def test_the_same_tree_gives_the_same_weights(
    finished: Run, conditional: Tree, tmp_path: Path
) -> None:
    """With workers, after a pause, and whatever the conditions: training draws its own."""
    first = train(conditional({**FAST, "epochs": 1, "trainer.num_workers": 2}), tmp_path)
    assert "test.rmse" not in first.metrics
    assert "test_gt_conditions.rmse" in first.metrics
    again = train(conditional({**FAST, "epochs": 2}), tmp_path)
    assert equal(finished, again)


def test_images_are_predicted_through_the_conditions(finished: Run, small_project: Path) -> None:
    images = [small_project / name for name in frames_of(small_project)]
    poses = dlcexp.predict(finished, images)
    evaluation = dlcexp.evaluate(finished)
    for split in ("train", "test"):
        for name, pose in zip(evaluation.names[split], evaluation.poses[split], strict=True):
            np.testing.assert_allclose(poses[str(small_project / name)], pose, atol=1e-4)


def test_other_conditions_on_request(
    finished: Run, conditional: Tree, small_project: Path, tmp_path: Path
) -> None:
    path = write_json(tmp_path / "p.json", small_project, [[10, 10, 0.9], [20, 30, 0.9]])
    image = small_project / frames_of(small_project)[0]
    (pose,) = dlcexp.predict(finished, [image], conditions=path).values()
    assert pose.shape == (1, 2, 3)
    assert np.isfinite(pose).all()
    found = dlcexp.evaluate(finished, overrides=[f"conditions={path.as_posix()}"])
    np.testing.assert_array_equal(
        next(iter(found.conditions["test"].values()))[0, 0], [10, 10, 0.9]
    )
    alone = train(conditional({**FAST, "epochs": 1}), tmp_path / "alone")
    with pytest.raises(ConfigError, match=r"^conditions: "):
        dlcexp.predict(alone, [image])


def test_bodyparts_are_matched_by_name(
    conditional: Tree, small_project: Path, tmp_path: Path
) -> None:
    columns = pd.MultiIndex.from_product(
        [["DLC"], ["tail", "ear", "nose"], ["x", "y", "likelihood"]],
        names=["scorer", "bodyparts", "coords"],
    )
    pose = [1.0, 2.0, 0.5, 3.0, 4.0, 0.6, 5.0, 6.0, 0.7]
    names = frames_of(small_project)
    table = pd.DataFrame([pose] * len(names), names, columns)
    table.to_csv(tmp_path / "p.csv")
    cfg = conditional({"conditions": str(tmp_path / "p.csv")})
    found = condition_source(cfg).conditions(PoseData(cfg), [0], CPU)
    np.testing.assert_array_equal(found[0], [[[5, 6, 0.7], [1, 2, 0.5]]])
    table.drop(columns="nose", level="bodyparts").to_csv(tmp_path / "p.csv")
    with pytest.raises(ConfigError, match=r"nose.*tail, ear"):
        condition_source(cfg)


def test_frames_without_a_pose_are_counted(
    conditional: Tree, small_project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_json(tmp_path / "p.json", small_project, [[10, 10, 0.9], [20, 30, 0.9]])
    content = json.loads(path.read_text())
    del content[frames_of(small_project)[0]]
    content[frames_of(small_project)[1]] = [[[10, 10, 0.01], [20, 30, 0.04]]]
    path.write_text(json.dumps(content))
    cfg = conditional({"conditions": str(path)})
    data = PoseData(cfg)
    with caplog.at_level(logging.WARNING):
        found = condition_source(cfg).conditions(data, range(len(data.labels)), CPU)
    assert [len(poses) for poses in found.values()].count(0) == 2
    assert "2 of 12 frames" in caplog.text
    path.write_text(json.dumps({"labeled-data/other/img.png": []}))
    with pytest.raises(ConfigError, match=r"\b1\b.*labeled-data/vid"):
        condition_source(cfg).conditions(data, [0], CPU)
    write_json(path, small_project, [[10, 10, 0.9]])
    with pytest.raises(ConfigError, match=r"\b1\b.*\b2\b"):
        condition_source(cfg)


@pytest.fixture
def with_shuffle(small_project: Path, bottom_up: Run, tmp_path: Path) -> Path:
    """The project with a shuffle 7 that was trained to a heatmap model of ours."""
    root = tmp_path / "project"
    shutil.copytree(small_project, root)
    model = dlcexp.compose(f"project={root.as_posix()}", "net_type=resnet_50", "device=cpu")
    train_folder = root / "dlc-models-pytorch/iteration-0/smallNov24-trainset80shuffle7/train"
    train_folder.mkdir(parents=True)
    (train_folder / "pytorch_config.yaml").write_text(dlcexp.export(model))
    from dlcexp.deeplabcut.snapshots import Snapshot, save_snapshot

    torch.manual_seed(0)
    weights = dlcexp.build(model.model).state_dict()
    save_snapshot(train_folder / "snapshot-best-010.pt", Snapshot(10, weights))
    return root


@pytest.mark.slow
def test_a_shuffle_of_the_project(conditional: Tree, with_shuffle: Path) -> None:
    cfg = conditional({"project": str(with_shuffle), "conditions": 7})
    source = condition_source(cfg)
    assert source.snapshot.name == "snapshot-best-010.pt"
    found = source.conditions(PoseData(cfg), [0, 1], CPU)
    assert all(poses.shape[1:] == (2, 3) for poses in found.values())
    settings = source.snapshot.parent / "pytorch_config.yaml"
    settings.write_text(settings.read_text().replace("locref_std: 7.2801", "locref_std: 5.0"))
    assert condition_source(cfg).cfg.model.heads.bodypart.predictor.locref_std == 5.0
    cfg.conditions = 8
    with pytest.raises(ConfigError, match=r"\b8\b.*\b7\b"):
        condition_source(cfg)
    cfg.conditions = 7
    source.snapshot.unlink()
    with pytest.raises(ConfigError, match=r"^conditions: "):
        condition_source(cfg)
    settings.write_text(settings.read_text().replace("method: bu", "method: td"))
    with pytest.raises(ConfigError, match=r"^conditions: .*\btd\b"):
        condition_source(cfg)


def test_conditions_that_cannot_be_are_refused_before_training(
    finished: Run, conditional: Tree, small_project: Path, tmp_path: Path
) -> None:
    faint = write_json(tmp_path / "p.json", small_project, [[10, 10, 0.01], [20, 30, 0.04]])
    with pytest.raises(ConfigError, match=r"^conditions: .*0\.05 .*12 frames"):
        train(conditional({"conditions": str(faint)}), tmp_path / "faint")
    assert not (tmp_path / "faint" / "metrics.csv").exists()
    for given, message in (
        (str(finished.folder), "method=ctd"),
        (str(tmp_path / "nowhere"), "nowhere"),
        (str(tmp_path), tmp_path.name),
        (3, r"\b3\b"),
    ):
        with pytest.raises(ConfigError, match=f"^conditions: .*{message}"):
            train(conditional({"conditions": given}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
