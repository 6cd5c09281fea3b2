"""Callbacks of Lightning and of a user's package, in trainings that are killed and resumed."""

import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from training_support import FAST, die, equal, rows, scores

import dlcexp
from dlcexp.deeplabcut.snapshots import load_snapshot
from dlcexp.errors import ConfigError
from dlcexp.runs.folder import Pruned
from dlcexp.training import Run, train

Tree = Callable[..., DictConfig]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "callbacks.md"
LIGHTNING = "lightning.pytorch.callbacks."
STEP = "dlcexp.training.pose_module:PoseModule.training_step"
STEPS_PER_EPOCH, EPOCHS = 3, 4

EMA = {"_target_": f"{LIGHTNING}EMAWeightAveraging", "decay": 0.8}
TIMER = {"_target_": f"{LIGHTNING}Timer", "duration": "01:00:00:00"}
ACCUMULATE = {
    "_target_": f"{LIGHTNING}GradientAccumulationScheduler",
    "scheduling": {0: 2, 2: 1},
}


def with_callbacks(tree: Tree, changes: dict[str, Any] | None = None, **nodes: Any) -> DictConfig:
    """The small tree with callbacks; one given by its name is of `callback_lab`."""
    named = {
        name: {"_target_": f"callback_lab.{node}"} if isinstance(node, str) else node
        for name, node in nodes.items()
    }
    return tree({**FAST, "allow_targets": ["callback_lab."], "callbacks": named, **(changes or {})})


def checkpoint(run: Run, name: str = "last.ckpt") -> dict[str, Any]:
    return torch.load(run.folder / "snapshots" / name, weights_only=True)  # type: ignore[no-any-return]


def killed_and_resumed(cfg: DictConfig, folder: Path) -> Run:
    """A run that is killed at a random step and goes on."""
    step = random.randint(1, STEPS_PER_EPOCH * EPOCHS)
    assert die(folder, cfg, STEP, step) == -signal.SIGKILL, f"step {step}"
    return train(cfg, folder)


def same_rows(first: Run, second: Run) -> bool:
    speed = {"images_per_second": ""}
    return [row | speed for row in rows(first)] == [row | speed for row in rows(second)]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param({"ema": EMA}, id="average"),
        pytest.param({"accumulate": ACCUMULATE, "timer": TIMER}, id="accumulation, timer"),
        pytest.param({"jitter": "Jitter", "ema": EMA}, id="random numbers, average"),
    ],
)
def test_a_killed_run_with_callbacks_ends_bit_equal(
    tree: Tree, tmp_path: Path, nodes: dict[str, Any]
) -> None:
    cfg = with_callbacks(tree, **nodes)
    whole = train(cfg, tmp_path / "whole")
    resumed = killed_and_resumed(cfg, tmp_path / "killed")
    assert equal(whole, resumed)
    assert same_rows(whole, resumed)
    assert scores(whole) == scores(resumed)
    assert not equal(whole, train(tree(FAST), tmp_path / "without"))
    if "ema" in nodes:  # the weights that are trained on, too, not only their average
        first, second = (checkpoint(run)["current_model_state"] for run in (whole, resumed))
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_callback_without_its_state_does_not(tree: Tree, tmp_path: Path) -> None:
    cfg = with_callbacks(tree, forgetful="Forgetful")
    whole = train(cfg, tmp_path / "whole")
    assert die(tmp_path / "killed", cfg, STEP, STEPS_PER_EPOCH + 2) == -signal.SIGKILL
    assert not equal(whole, train(cfg, tmp_path / "killed"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_the_callback_of_the_page_is_an_option_and_resumes_bit_equal(
    small_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    for name, content in shown:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    overrides = [
        *small_words,
        *("allow_targets=[mylab.]", "callbacks=[ema,clip]", "callbacks.ema.decay=0.8"),
        *(f"epochs={EPOCHS}", "trainer.eval_interval=2", "evaluation.examples=0"),
    ]
    cfg = dlcexp.compose(*overrides, config_dir=tmp_path / "options")
    whole = train(cfg, tmp_path / "whole")
    resumed = killed_and_resumed(cfg, tmp_path / "killed")
    assert equal(whole, resumed)
    assert same_rows(whole, resumed)
    norms = checkpoint(resumed)["callbacks"]["AutoClip"]["norms"]
    assert len(norms) == STEPS_PER_EPOCH * EPOCHS
    by_epoch = np.reshape(norms, (EPOCHS, STEPS_PER_EPOCH))
    means = np.average(by_epoch, axis=1, weights=[4, 4, 2])  # images in each batch
    assert [float(row["gradient_norm"]) for row in rows(resumed)] == pytest.approx(means)
    recorded = OmegaConf.load(resumed.folder / "config.yaml")
    assert recorded.callbacks.clip == {"_target_": "mylab.callbacks.AutoClip", "percentile": 10.0}


def test_the_moving_average_is_what_is_kept_and_scored(tree: Tree, tmp_path: Path) -> None:
    cfg = with_callbacks(tree, {"trainer.eval_interval": 3}, ema=EMA, recorder="Recorder")
    run = train(cfg, tmp_path)
    seen = checkpoint(run)["callbacks"]["Recorder"]["seen"]
    for epoch in (2, 4):  # not evaluated, evaluated
        average = {name: value.double() for name, value in seen[0].items()}
        for weights in seen[1 : epoch * STEPS_PER_EPOCH]:
            average = {n: 0.8 * a + 0.2 * weights[n].double() for n, a in average.items()}
        (path,) = run.folder.glob(f"snapshots/snapshot-{epoch:03d}.pt")
        for name, value in load_snapshot(path).model.items():
            if value.is_floating_point():
                assert torch.allclose(value.double(), average[name], rtol=1e-4, atol=1e-6), name
    best = rows(run)[load_snapshot(run.best_snapshot).epoch - 1]
    assert run.metrics["test.rmse"] == pytest.approx(float(best["test.rmse"]))


def test_what_a_callback_logs_is_in_the_row_of_its_epoch(tree: Tree, tmp_path: Path) -> None:
    table = rows(train(with_callbacks(tree, {"epochs": 3}, logs="Logs"), tmp_path))
    assert [row["is_detector"] for row in table] == ["0.0"] * 3
    assert [row["mean_step"] for row in table] == ["", "1.0", ""]


def test_evaluations_are_validations_to_a_callback(tree: Tree, tmp_path: Path) -> None:
    run = train(with_callbacks(tree, watches="Watches"), tmp_path)
    (score,) = [row["test.rmse"] for row in rows(run) if row["test.rmse"]]
    notes = checkpoint(run)["callbacks"]["Watches"]["notes"]
    assert notes == ["start", f"{float(score):.3f}"]
    assert len(rows(run)) == 2  # the first epoch with an evaluation


def test_a_stop_within_an_epoch_ends_training_after_it(tree: Tree, tmp_path: Path) -> None:
    run = train(with_callbacks(tree, stops="StopsInAnEpoch"), tmp_path / "stopped")
    assert len(rows(run)) == 3
    assert rows(run)[-1]["test.rmse"]
    assert "stopped after epoch 3 of 4" in (run.folder / "log.txt").read_text()
    assert equal(run, train(tree({**FAST, "epochs": 3}), tmp_path / "three"))


def test_a_timer_ends_a_run_and_a_longer_one_continues_it(tree: Tree, tmp_path: Path) -> None:
    short = with_callbacks(tree, timer=TIMER | {"duration": {"microseconds": 1}})
    assert len(rows(train(short, tmp_path / "run"))) == 1
    assert len(rows(train(short, tmp_path / "run"))) == 1
    run = train(with_callbacks(tree, timer=TIMER), tmp_path / "run")
    assert equal(run, train(tree(FAST), tmp_path / "whole"))


def test_a_run_of_before_resumes_and_other_callbacks_are_another_experiment(
    tree: Tree, tmp_path: Path
) -> None:
    run = train(tree({**FAST, "epochs": 1, "callbacks": {}}), tmp_path)
    recorded = OmegaConf.load(tmp_path / "config.yaml")
    del recorded["callbacks"]
    OmegaConf.save(recorded, tmp_path / "config.yaml")
    assert len(rows(train(tree({**FAST, "epochs": 2, "callbacks": {}}), tmp_path))) == 2
    with pytest.raises(ConfigError, match=r"resume: .*callbacks\.ema"):
        train(with_callbacks(tree, ema=EMA), run.folder)


def test_early_stopping_and_pruning_work_with_callbacks(tree: Tree, tmp_path: Path) -> None:
    patient = {
        "trainer.eval_interval": 1,
        "trainer.key_metric": "test.mAP",
        "trainer.early_stopping.patience": 1,
        "trainer.early_stopping.min_delta": 1000.0,
    }
    stopped = train(with_callbacks(tree, patient, ema=EMA, jitter="Jitter"), tmp_path / "stopped")
    assert len(rows(stopped)) == 2
    with pytest.raises(Pruned, match="worst"):
        train(with_callbacks(tree, ema=EMA), tmp_path / "pruned", watch=lambda *_: "worst so far")


def test_two_states_of_one_name_are_refused(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.b: .*callbacks\.a .*'Timer'"):
        train(with_callbacks(tree, a=TIMER, b=TIMER), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_arguments_that_lightning_refuses_are_named(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"callbacks\.timer: .*'2h'"):
        train(with_callbacks(tree, timer=TIMER | {"duration": "2h"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_state_that_could_not_be_resumed_from_ends_the_run(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"callbacks: .*Unstorable.*numpy"):
        train(with_callbacks(tree, bad="Unstorable"), tmp_path)
    epochs = torch.load(tmp_path / "snapshots" / "last.ckpt", weights_only=True)["epoch"]
    assert epochs == 0  # of the epoch before
