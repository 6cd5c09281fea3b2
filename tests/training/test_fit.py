import io
import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from disk_support import full_disk
from omegaconf import DictConfig, OmegaConf
from process_support import run_process
from training_support import FAST, equal, offline_runs, rows

from dlcexp.deeplabcut.snapshots import load_snapshot
from dlcexp.errors import ConfigError, StorageError
from dlcexp.training import Run, train
from dlcexp.training.module import DivergenceError
from dlcexp.training.pose_module import PoseModule

Tree = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def finished(small_tree: dict, tmp_path_factory: pytest.TempPathFactory) -> Run:  # type: ignore[type-arg]
    """A run of four epochs, with figures."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return train(OmegaConf.create(small_tree), folder, ["epochs=4"])


def test_a_run_leaves_its_folder(finished: Run) -> None:
    names = {p.name for p in finished.folder.rglob("*") if p.is_file()}
    described = {"config.yaml", "overrides.yaml", "pytorch_config.yaml", "environment.json"}
    written = {"status.json", "frames.json", "metrics.json", "metrics.csv", "log.txt", "last.ckpt"}
    written.add("keypoint_errors.csv")
    snapshots = {"snapshot-002.pt", "snapshot-004.pt", finished.best_snapshot.name}
    figures = {p.name for p in (finished.folder / "figures").iterdir()}
    assert names - figures == described | written | snapshots
    assert {"worst-1.png", "best-1.png"} <= figures
    assert json.loads((finished.folder / "status.json").read_text())["status"] == "completed"


def test_a_table_that_cannot_be_printed_fails_no_run(
    small_tree: dict,  # type: ignore[type-arg]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a Windows console, whose encoding lacks some characters."""
    tree = {**small_tree, "epochs": 1, "evaluation": {**small_tree["evaluation"], "examples": 0}}
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert train(OmegaConf.create(tree), tmp_path).metrics
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "completed"


def test_metrics_are_there_every_epoch_and_at_the_end(finished: Run) -> None:
    table = rows(finished)
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4"]
    assert json.loads((finished.folder / "metrics.json").read_text())["start"] == "random"
    assert [row["lr"] for row in table] == ["0.0005", "0.0005", "0.0001", "1e-05"]
    assert [bool(row["test.rmse"]) for row in table] == [False, True, False, True]
    assert float(table[-1]["train.total_loss"]) < float(table[0]["train.total_loss"])
    epoch = finished.metrics["epoch"]
    assert finished.metrics["test.rmse"] == pytest.approx(float(table[epoch - 1]["test.rmse"]))
    assert "train.mAP" in finished.metrics


def test_the_model_of_a_run_has_the_best_weights(finished: Run) -> None:
    model = finished.model()
    assert not model.training
    saved = load_snapshot(finished.best_snapshot).model
    assert all(torch.equal(saved[name], value) for name, value in model.state_dict().items())


def test_the_same_tree_gives_the_same_weights(finished: Run, tree: Tree, tmp_path: Path) -> None:
    torch.rand(3)  # what was drawn before does not matter
    assert equal(finished, train(tree({**FAST, "trainer.num_workers": 2}), tmp_path))


def test_another_seed_gives_other_weights(finished: Run, tree: Tree, tmp_path: Path) -> None:
    assert not equal(finished, train(tree({**FAST, "seed": 1}), tmp_path))


def test_training_leaves_the_process_as_it_was(tree: Tree, tmp_path: Path) -> None:
    before = dict(os.environ)
    train(tree({**FAST, "epochs": 1}), tmp_path)
    assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"trainer.precision": "bf16-mixed"},
        {"trainer.precision": "bf16-true"},
        {"trainer.precision": "64-true"},
        {"trainer.accumulate_grad_batches": 2, "trainer.gradient_clip_val": 0.1},
        {"trainer.deterministic": True},
        {"scheduler": None, "trainer.save_optimizer_state": True},
        {"logger": {}},
    ],
    ids=str,
)
def test_ways_to_train(tree: Tree, tmp_path: Path, changes: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(tree({**FAST, "epochs": 2, **changes}), tmp_path)
    torch.use_deterministic_algorithms(False)
    assert run.metrics["test.rmse"] > 0
    saved = load_snapshot(run.best_snapshot)
    assert all(v.dtype != torch.bfloat16 for v in saved.model.values())
    assert (saved.optimizer is not None) == ("trainer.save_optimizer_state" in changes)


def test_accumulated_batches_make_one_step(tree: Tree, tmp_path: Path) -> None:
    run = train(tree({**FAST, "epochs": 1, "trainer.accumulate_grad_batches": 2}), tmp_path)
    content = torch.load(run.folder / "snapshots" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 2  # batches of 4, 4, 2


def test_an_argument_of_lightnings_trainer_is_passed_on(tree: Tree, tmp_path: Path) -> None:
    run = train(tree({**FAST, "epochs": 2, "trainer.limit_train_batches": 1}), tmp_path)
    state = torch.load(run.folder / "snapshots" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 2


def test_early_stopping_counts_evaluations(tree: Tree, tmp_path: Path) -> None:
    changes = {
        "trainer.early_stopping": {"patience": 2, "min_delta": 1e9},
        "trainer.eval_interval": 1,
        "trainer.key_metric": "test.mAP",
    }
    run = train(tree({**FAST, **changes, "epochs": 9}), tmp_path)
    assert len(rows(run)) == 3
    again = train(tree({**FAST, **changes, "epochs": 9}), tmp_path)
    assert len(rows(again)) == 3


def test_a_plateau_needs_a_metric_of_its_direction(tree: Tree, tmp_path: Path) -> None:
    plateau = {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "_partial_": True}
    wrong = {"trainer.key_metric": "test.rmse", "trainer.key_metric_asc": False}
    with pytest.raises(ConfigError, match=r"scheduler\.mode: 'max' .*test\.rmse"):
        train(tree({**FAST, **wrong, "scheduler": {**plateau, "mode": "max"}}), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer.key_metric": "test.rmse_nos"}, "'test.rmse_nos'.*'test.rmse_nose'"),
        ({"device": "cuda:7"}, "'cuda"),
        ({"resume": "nowhere"}, "^resume: .*nowhere"),
    ],
    ids=str,
)
def test_impossible_wishes_are_refused_before_anything_is_written(
    tree: Tree, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(tree(changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_the_run(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dlcexp.models import PoseModel

    losses = PoseModel.losses
    calls = []

    def poisoned(self: PoseModel, outputs: object, targets: object) -> dict[str, torch.Tensor]:
        calls.append(1)
        found = losses(self, outputs, targets)  # type: ignore[arg-type]
        return {name: loss * (torch.nan if len(calls) == 5 else 1) for name, loss in found.items()}

    monkeypatch.setattr(PoseModel, "losses", poisoned)
    with pytest.raises(DivergenceError, match="epoch 2, step 2"):
        train(tree({**FAST, "logger": wandb()}), tmp_path)
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["status"] == "failed"
    assert status["kind"] == "diverged"
    assert "optimizer.lr" in status["error"]
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
    assert offline_runs(tmp_path)[0]["exit"] == 1
    # The weights took the step; nothing of that epoch is kept.
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["last.ckpt"]
    stored = torch.load(tmp_path / "snapshots" / "last.ckpt", weights_only=True)
    assert stored["global_step"] == 3
    assert all(value.isfinite().all() for value in stored["state_dict"].values())


def test_an_interrupt_is_told_as_such(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PoseModule, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tree(FAST), tmp_path)
    assert json.loads((tmp_path / "status.json").read_text())["error"] == "interrupted"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGTERM")
def test_a_cluster_that_ends_the_job_is_told_as_such(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = PoseModule.training_step

    def told_to_stop(self: PoseModule, batch: dict, index: int) -> torch.Tensor:  # type: ignore[type-arg]
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, index)

    monkeypatch.setattr(PoseModule, "training_step", told_to_stop)
    with pytest.raises(SystemExit):
        train(tree(FAST), tmp_path)
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["status"], status["error"]) == ("failed", "terminated")


def wandb() -> dict[str, object]:
    return {
        "wandb": {
            "_target_": "dlcexp.training.loggers.WandbLogger",
            "project_name": "mice",
            "run_name": None,
            "mode": "offline",
        }
    }


def test_wandb_follows_the_run(tree: Tree, tmp_path: Path) -> None:
    cfg = tree({"logger": wandb(), "epochs": 2})
    run = train(cfg, tmp_path / "first")
    (told,) = offline_runs(run.folder)
    assert (told["project"], told["name"], told["exit"]) == ("mice", "first", 0)
    assert told["config"]["optimizer"]["lr"] == cfg.optimizer.lr
    assert [row["epoch"] for row in told["history"][:2]] == [1, 2]
    assert told["history"][1]["test/rmse"] > 0
    assert told["summary"]["test/mAP"] == pytest.approx(run.metrics["test.mAP"])
    assert "image-file" in [row.get("figures/worst-1._type") for row in told["history"]]


CHILD = """
import sys
from omegaconf import OmegaConf
from dlcexp.training import train
run = train(OmegaConf.load(sys.argv[1]), sys.argv[2])
print("DONE", run.folder)
"""


@pytest.mark.slow
def test_two_processes_train_one_model(tree: Tree, tmp_path: Path) -> None:
    """Lightning starts the second process by running the script again."""
    cfg = tree(
        {**FAST, "epochs": 2, "batch_size": 2, "trainer.devices": 2, "trainer.strategy": "ddp"}
    )
    OmegaConf.save(cfg, tmp_path / "tree.yaml")
    (tmp_path / "child.py").write_text(CHILD)
    done = run_process([sys.executable, "child.py", "tree.yaml", "run"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("DONE") == 1
    run = Run.open(tmp_path / "run")
    assert [row["epoch"] for row in rows(run)] == ["1", "2"]
    assert run.metrics["test.rmse"] > 0
    content = torch.load(run.folder / "snapshots" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 6  # 10 frames: 5 for each process, in batches of 2, 2, 1
    assert "Warning" not in done.stderr


POISONED_CHILD = """
import os, sys
from omegaconf import OmegaConf
from dlcexp.models import PoseModel
from dlcexp.training import train

losses, steps = PoseModel.losses, []

def poisoned(self, outputs, targets):
    steps.append(1)
    bad = os.environ.get("LOCAL_RANK") == "1" and len(steps) == 2
    return {name: loss * (float("inf") if bad else 1)
            for name, loss in losses(self, outputs, targets).items()}

PoseModel.losses = poisoned
train(OmegaConf.load(sys.argv[1]), sys.argv[2])
"""


@pytest.mark.slow
def test_two_processes_stop_together_where_one_diverges(tree: Tree, tmp_path: Path) -> None:
    cfg = tree({**FAST, "batch_size": 2, "trainer.devices": 2, "trainer.strategy": "ddp"})
    OmegaConf.save(cfg, tmp_path / "tree.yaml")
    (tmp_path / "child.py").write_text(POISONED_CHILD)
    done = run_process([sys.executable, "child.py", "tree.yaml", "run"], cwd=tmp_path)
    assert done.returncode == 1
    message = "the loss became inf in epoch 1, step 2"
    assert len(re.findall(f"DivergenceError: {message}", done.stderr)) == 2
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["kind"], message in status["error"]) == ("diverged", True)
    assert not (tmp_path / "run" / "snapshots" / "last.ckpt").exists()


def test_a_full_disk_ends_a_run_with_a_message(tree: Tree, tmp_path: Path) -> None:
    with full_disk(200_000), pytest.raises(StorageError, match="snapshot"):
        train(tree(FAST), tmp_path)
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["status"], status["kind"]) == ("failed", "mistake")
    assert "File too large" in status["error"]
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
