"""Callbacks of a tree: each is one of Lightning's, of a kind that this training loop can run."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from dlcexp.config.build import bind, check_targets, find_class
from dlcexp.errors import ConfigError, run_checks


def check_callbacks(tree: Mapping[str, Any]) -> None:
    """Check the callbacks of a plain tree; imports Lightning where there are any.

    Raises:
        ConfigError: a node that is not a callback, has a wrong keyword, or is in conflict with
            what dlcexp does itself; `Mistakes` for several.
    """
    batches = tree["trainer"]["accumulate_grad_batches"]
    run_checks(
        *(
            partial(_check_callback, node, batches, f"callbacks.{name}")
            for name, node in tree["callbacks"].items()
        )
    )


def _check_callback(node: Any, accumulate_grad_batches: int, key: str) -> None:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(key, f"{node!r} has no '_target_'. To remove it, write '~{key}'.")
    if node.get("_partial_"):
        raise ConfigError(f"{key}._partial_", "true, but a callback is built whole.")
    from lightning.pytorch import callbacks

    cls = find_class(node["_target_"], f"{key}._target_")
    if not issubclass(cls, callbacks.Callback):
        raise ConfigError(f"{key}._target_", f"{cls.__name__} is not a Lightning callback.")
    for kind, remedy in _conflicts().items():
        if issubclass(cls, kind):
            raise ConfigError(f"{key}._target_", f"{cls.__name__} cannot be used here: {remedy}")
    check_targets(node, key)
    if issubclass(cls, callbacks.WeightAveraging):
        bind(node, key, only_named=True)  # it hands others to a class that takes functions alone
    if issubclass(cls, callbacks.GradientAccumulationScheduler) and accumulate_grad_batches != 1:
        raise ConfigError(
            "trainer.accumulate_grad_batches",
            f"{accumulate_grad_batches!r}, but {key} schedules it. Allowed with this callback: 1.",
        )


def _conflicts() -> dict[type, str]:
    """Lightning's callbacks that do what dlcexp does, or that no run could resume with."""
    from lightning.pytorch import callbacks

    return {
        callbacks.Checkpoint: (
            "snapshots and last.ckpt are written anyway. Set save_epochs, trainer.max_snapshots "
            "or trainer.key_metric."
        ),
        callbacks.EarlyStopping: "set trainer.early_stopping.patience.",
        callbacks.ProgressBar: "set trainer.progress_bar or trainer.display_iters.",
        callbacks.LearningRateMonitor: "every row of metrics.csv has the learning rates.",
        callbacks.DeviceStatsMonitor: "it logs each step, and dlcexp logs each epoch.",
        callbacks.BatchSizeFinder: "set batch_size, or sweep it.",
        callbacks.LearningRateFinder: "set optimizer.lr, or sweep it.",
        callbacks.BackboneFinetuning: "set weights.freeze and weights.lr_scale.",
        callbacks.StochasticWeightAveraging: (
            "it replaces the schedule, and averages after the last snapshot. Use callbacks=ema."
        ),
        callbacks.ModelPruning: "its masks are not in last.ckpt, so that no run could resume.",
        callbacks.SpikeDetection: "it cannot load its own state, so that no run could resume.",
    }
