"""Top-down: a detector is trained, then the pose model, and the pair is scored end to end."""

import csv
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from process_support import run_process
from training_support import FAST, die, equal, offline_runs, rows, scores

import dlcexp
from dlcexp.errors import ConfigError, SnapshotError, UserError
from dlcexp.results.objective import objectives
from dlcexp.runs.stages import chosen_stages
from dlcexp.training import Run, train

TopDownTree = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def top_down(small_project: Path) -> TopDownTree:
    """A tree of small networks with dotted keys changed."""
    cfg = dlcexp.compose(
        f"project={small_project.as_posix()}",
        "method=td",
        "model/backbone=timm",
        "model.backbone.model_name=test_resnet.r160_in1k",
        "model.backbone.feature_level=1",
        "data.top_down_crop={width: 32, height: 32}",
        "data_detector.train.collate={max_scale: 1.0, min_short_side: 64}",
        "detector.model={weights: null, freeze_bn_stats: false}",
        "detector={batch_size: 5, epochs: 2, save_epochs: 1, eval_interval: 1}",
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
def finished(top_down: TopDownTree, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of both stages, two epochs each, with figures."""
    return train(top_down(), tmp_path_factory.mktemp("runs") / "finished")


def detector_weights(run: Run) -> dict[str, torch.Tensor]:
    path = run.folder / "snapshots" / "last-detector.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]  # type: ignore[no-any-return]


def equal_detectors(first: Run, second: Run) -> bool:
    a, b = detector_weights(first), detector_weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_each_stage_keeps_its_own_snapshots_and_table(finished: Run) -> None:
    names = {path.name for path in (finished.folder / "snapshots").iterdir()}
    best = {finished.best_snapshot.name, finished.best_detector_snapshot.name}
    periodic = {f"snapshot{word}-00{epoch}.pt" for word in ("", "-detector") for epoch in (1, 2)}
    assert names == {"last.ckpt", "last-detector.ckpt", *best, *periodic}
    table = (finished.folder / "metrics-detector.csv").read_text().splitlines()
    assert len(table) == 3
    assert {"epoch", "train.total_loss", "test.mAP@50"} <= set(table[0].split(","))
    assert [row["epoch"] for row in rows(finished)] == ["1", "2"]
    figures = {path.name for path in (finished.folder / "figures").iterdir()}
    assert {"worst-1.png", "learning_curves.png", "learning_curves-detector.png"} <= figures


def test_the_pair_the_pose_model_and_the_detector_are_scored(finished: Run) -> None:
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    for name in ("test.rmse", "test_gt_boxes.rmse", "train_gt_boxes.mAP"):
        assert name in metrics
    assert 0 <= metrics["detector.test.mAP@50:95"] <= metrics["detector.test.mAP@50"] <= 100
    assert metrics["detector.epoch"] in (1, 2)
    # While the pose model trains, it is scored on the boxes of the labels.
    best = rows(finished)[metrics["epoch"] - 1]
    assert metrics["test_gt_boxes.rmse"] == pytest.approx(float(best["test_gt_boxes.rmse"]))
    assert "test.rmse" not in best
    assert dlcexp.evaluate(finished).metrics["test_gt_boxes"]["rmse"] == pytest.approx(
        metrics["test_gt_boxes.rmse"]
    )


@pytest.mark.slow
def test_the_same_tree_gives_the_same_weights(
    finished: Run, top_down: TopDownTree, tmp_path: Path
) -> None:
    workers = {"trainer.num_workers": 2, "detector.num_workers": 2}
    again = train(top_down({**FAST, **workers}), tmp_path)
    assert equal(finished, again)
    assert equal_detectors(finished, again)


@pytest.mark.slow
def test_callbacks_act_in_both_stages_each_with_its_own(
    top_down: TopDownTree, tmp_path: Path
) -> None:
    nodes = {name: {"_target_": f"callback_lab.{name}"} for name in ("Logs", "Jitter")}
    cfg = top_down({**FAST, "allow_targets": ["callback_lab."], "callbacks": nodes})
    whole = train(cfg, tmp_path / "whole")
    folder = tmp_path / "killed"
    for point in ("detector_module:DetectorModule", "pose_module:PoseModule"):
        step = f"dlcexp.training.{point}.training_step"
        assert die(folder, cfg, step, 4) == -signal.SIGKILL
    resumed = train(cfg, folder)
    assert equal(whole, resumed)
    assert equal_detectors(whole, resumed)
    assert [row["is_detector"] for row in rows(resumed)] == ["0.0", "0.0"]
    with (folder / "metrics-detector.csv").open(newline="") as file:
        assert [row["is_detector"] for row in csv.DictReader(file)] == ["1.0", "1.0"]


@pytest.mark.slow
def test_one_stage_after_the_other_is_both_at_once(
    finished: Run, top_down: TopDownTree, tmp_path: Path
) -> None:
    only = train(top_down({**FAST, "train.stages": ["detector"]}), tmp_path)
    assert only.best_pose_snapshot is None
    assert "test.rmse" not in only.metrics
    with pytest.raises(SnapshotError, match=re.escape(str(tmp_path))):
        only.model()
    both = train(top_down({**FAST, "train.stages": ["pose"]}), tmp_path)
    assert equal(finished, both)
    assert equal_detectors(finished, both)
    assert both.metrics["test.rmse"] == pytest.approx(finished.metrics["test.rmse"])
    assert (tmp_path / "figures" / "learning_curves-detector.png").is_file()


def test_a_pose_model_alone_is_scored_on_the_boxes_of_the_labels(
    finished: Run, top_down: TopDownTree, tmp_path: Path
) -> None:
    cfg, told = top_down({**FAST, "train.stages": ["pose"]}), []
    run = train(cfg, tmp_path, watch=lambda epoch, metrics: told.extend(metrics))
    assert equal(finished, run)
    assert run.detector() is None
    (objective,) = objectives(
        OmegaConf.merge(cfg, {"sweep": {"metric": "test.rmse", "direction": None}})
    )
    assert objective.metric in told
    assert objective.metric in run.metrics
    assert "test_gt_boxes.rmse" in run.metrics
    assert "test.rmse" not in run.metrics
    with pytest.raises(SnapshotError, match="detector"):
        dlcexp.predict(run, [tmp_path / "figures" / "errors.png"])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["run folder", "file"])
def test_a_detector_is_taken_over(
    finished: Run, top_down: TopDownTree, tmp_path: Path, way: str
) -> None:
    source = finished.folder if way == "run folder" else finished.best_detector_snapshot
    run = train(top_down({**FAST, "detector.snapshot": str(source)}), tmp_path)
    assert equal(finished, run)
    assert not (tmp_path / "snapshots" / "last-detector.ckpt").exists()
    assert run.metrics["test.rmse"] == pytest.approx(finished.metrics["test.rmse"])
    again = train(top_down({**FAST, "detector.snapshot": str(source)}), tmp_path)
    assert scores(again) == scores(run)


def test_a_detector_that_is_not_there_or_does_not_fit_is_refused(
    finished: Run, top_down: TopDownTree, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"detector\.snapshot: .*nowhere\.pt"):
        train(top_down({"detector.snapshot": str(tmp_path / "nowhere.pt")}), tmp_path / "run")
    with pytest.raises(SnapshotError, match=re.escape(finished.best_snapshot.name)):
        train(top_down({"detector.snapshot": str(finished.best_snapshot)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_detector_is_not_replaced_by_another(
    finished: Run, top_down: TopDownTree, tmp_path: Path
) -> None:
    only = {**FAST, "train.stages": ["detector"], "seed": 1}
    own = train(top_down(only), tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "snapshots").iterdir()}
    foreign = {**FAST, "seed": 1, "detector.snapshot": str(finished.folder)}
    for other in (foreign, {**FAST, "seed": 2, "train.stages": ["pose"]}):
        with pytest.raises(ConfigError, match=r"^resume: "):
            train(top_down(other), tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "snapshots").iterdir()}
    assert before == after
    assert scores(Run.open(tmp_path)) == scores(own)


def test_evaluation_takes_another_detector_on_request(finished: Run, tmp_path: Path) -> None:
    first = finished.folder / "snapshots" / "snapshot-detector-001.pt"
    last = finished.folder / "snapshots" / "snapshot-detector-002.pt"
    boxes = [
        dlcexp.evaluate(finished, overrides=[f"detector.snapshot={path}"]).boxes["test"]
        for path in (first, last)
    ]
    assert any(not np.array_equal(boxes[0][row], boxes[1][row]) for row in boxes[0])
    with pytest.raises(ConfigError, match=r"detector\.snapshot: .*nowhere\.pt"):
        dlcexp.evaluate(finished, overrides=[f"detector.snapshot={tmp_path / 'nowhere.pt'}"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer.lr": -1.0}, r"^optimizer\.lr: .*-1\.0"),
        ({"detector.optimizer.lr": -1.0}, r"^detector\.optimizer\.lr: .*-1\.0"),
        ({"detector.model.weights": "nowhere.pt"}, r"detector\.model\.weights: 'nowhere\.pt'"),
        ({"model.backbone.weights": "nowhere.pt"}, r"model\.backbone\.weights: 'nowhere\.pt'"),
    ],
    ids=str,
)
def test_a_mistake_of_either_stage_shows_before_the_first_is_trained(
    top_down: TopDownTree, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(top_down(changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_weights_that_may_be_had_are_settled_once(
    top_down: TopDownTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    auto = {**FAST, "detector.model.weights": "auto", "train.stages": ["detector"]}
    run = train(top_down(auto), tmp_path / "run")
    assert run.cfg.detector.model.weights is None
    again = train(top_down({**auto, "detector.epochs": 3}), tmp_path / "run")
    assert again.metrics["detector.epoch"] in (1, 2, 3)
    assert (tmp_path / "run" / "snapshots" / "snapshot-detector-003.pt").is_file()


@pytest.mark.slow
def test_weights_of_a_pose_model_that_is_not_trained_are_told(
    top_down: TopDownTree, tmp_path: Path
) -> None:
    only = {**FAST, "train.stages": ["detector"], "detector.epochs": 1}
    train(top_down({**only, "weights.freeze": ["backbone"]}), tmp_path)
    log = (tmp_path / "log.txt").read_text()
    assert re.search(r"weights\.freeze: .*train\.stages=\['detector'\]", log)


@pytest.mark.slow
def test_a_run_that_does_not_fit_is_refused_and_nothing_is_lost(
    finished: Run, top_down: TopDownTree, tmp_path: Path
) -> None:
    here = train(top_down({**FAST, "epochs": 1, "detector.epochs": 1, "seed": 3}), tmp_path)
    names = sorted(path.name for path in tmp_path.rglob("*"))
    for other in ({"seed": 3}, {"model.backbone.model_name": "resnet10t"}):
        with pytest.raises(ConfigError, match=r"^resume: "):
            train(top_down({**FAST, **other, "resume": str(finished.folder)}), tmp_path)
    assert names == sorted(path.name for path in tmp_path.rglob("*"))
    assert scores(Run.open(tmp_path)) == scores(here)


def test_a_metric_of_the_other_stage_is_refused(top_down: TopDownTree, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"detector\.key_metric: 'test\.mAP' "):
        train(top_down({"detector.key_metric": "test.mAP"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_detector_comes_first_whatever_the_order(top_down: TopDownTree) -> None:
    stages = chosen_stages(top_down({"train.stages": ["pose", "detector"]}))
    assert [stage.name for stage in stages] == ["detector", "pose"]


@pytest.mark.slow
def test_wandb_has_both_stages_in_one_run(top_down: TopDownTree, tmp_path: Path) -> None:
    target = "dlcexp.training.loggers.WandbLogger"
    logger = {
        "wandb": {"_target_": target, "project_name": "mice", "run_name": None, "mode": "offline"}
    }
    run = train(top_down({**FAST, "logger": logger, "epochs": 1, "detector.epochs": 1}), tmp_path)
    (told,) = offline_runs(run.folder)
    detector, pose = told["history"][:2]
    assert detector["detector/epoch"] == pose["epoch"] == 1
    assert detector["detector/train.total_loss"] > 0
    assert pose["train/total_loss"] > 0
    assert told["summary"]["detector/test.mAP@50"] == pytest.approx(
        run.metrics["detector.test.mAP@50"]
    )


def test_images_go_through_detector_and_pose_model(finished: Run, small_project: Path) -> None:
    images = sorted((small_project / "labeled-data" / "video").glob("*.png"))
    poses = dlcexp.predict(finished, images)
    evaluation = dlcexp.evaluate(finished)
    for split, names in evaluation.names.items():
        if split in ("train", "test"):
            for name, pose in zip(names, evaluation.poses[split], strict=True):
                np.testing.assert_allclose(poses[str(small_project / name)], pose, rtol=1e-5)


DETECTOR = "dlcexp.training.detector_module:DetectorModule.training_step"
POSE = "dlcexp.training.pose_module:PoseModule.training_step"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_in_either_stage_and_resumed_is_bitwise_equal(
    finished: Run, top_down: TopDownTree, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    for stage, count in [
        (DETECTOR, 1),  # before there is any checkpoint
        (DETECTOR, 3),  # in the second epoch: two steps an epoch
        (POSE, 2),  # with a whole detector
        (POSE, 2),  # and again from the same state
    ]:
        assert die(folder, top_down(FAST), stage, count) == -signal.SIGKILL
    resumed = train(top_down(FAST), folder)
    assert equal(finished, resumed)
    assert equal_detectors(finished, resumed)
    assert scores(resumed) == pytest.approx(scores(finished))


CHILD_OF_TWO = """
import sys
from omegaconf import OmegaConf
from dlcexp.training import train
run = train(OmegaConf.load(sys.argv[1]), sys.argv[2])
print("DONE", run.folder)
"""


@pytest.mark.slow
def test_two_processes_train_both_stages(top_down: TopDownTree, tmp_path: Path) -> None:
    changes = {"epochs": 1, "detector.epochs": 1, "trainer.devices": 2, "trainer.strategy": "ddp"}
    OmegaConf.save(top_down({**FAST, **changes}), tmp_path / "tree.yaml")
    (tmp_path / "child.py").write_text(CHILD_OF_TWO)
    done = run_process([sys.executable, "child.py", "tree.yaml", "run"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("DONE") == 1
    run = Run.open(tmp_path / "run")
    assert "test.rmse" in run.metrics
    steps = [
        torch.load(run.folder / "snapshots" / name, weights_only=True)["global_step"]
        for name in ("last-detector.ckpt", "last.ckpt")
    ]
    assert steps == [1, 2]  # 10 frames: 5 for each process, in batches of 5; in batches of 4 and 1
