"""Each epoch's random numbers, and its end: measure, evaluate, schedule, log, keep, store."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from dlcexp.deeplabcut.snapshots import Snapshot, SnapshotManager
from dlcexp.runs.folder import Pruned, RunFolder
from dlcexp.runs.metric_names import part_of
from dlcexp.runs.stages import POSE, Stage
from dlcexp.training.callbacks import validating, weights_to_keep
from dlcexp.training.fine_tuning import GROUPING, unscaled
from dlcexp.training.module import StageModule, whole_epochs
from dlcexp.training.progress_bar import Clock

logger = logging.getLogger(__name__)

# Scores a network: metrics of the frames that choose, by name, `val.rmse` and the like.
Evaluate = Callable[[nn.Module], Mapping[str, float]]

# Takes the epoch and the metrics of each evaluation, by the names under which they are logged;
# returns the reason where training should stop.
Watch = Callable[[int, Mapping[str, float]], str | None]


@dataclass
class EarlyStopping:
    """Counts evaluations since the key metric last grew better by more than `min_delta`.

    Args:
        patience: evaluations to wait; None never stops.
        min_delta: smallest change that counts.
        larger_is_better: direction of the metric.
    """

    patience: int | None
    min_delta: float = 0.0
    larger_is_better: bool = True
    best: float | None = None
    waited: int = 0

    def update(self, value: float) -> None:
        """Take one evaluation into account; NaN is never better."""
        value = value if self.larger_is_better else -value
        if self.best is None or value > self.best + self.min_delta:
            # NaN as the first value leaves the next one free to be the best.
            self.best = None if value != value else value
            self.waited = 0
        else:
            self.waited += 1

    @property
    def exhausted(self) -> bool:
        """True if training should stop."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the evaluations since, as plain values."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state of `state_dict`."""
        self.best, self.waited = state["best"], state["waited"]


class EpochSeed(Callback):
    """A callback that seeds each epoch, before any other callback draws random numbers.

    They follow from (seed, epoch, process) alone, so that a resumed run draws what an uninterrupted
    one would have drawn, and no generator needs to be stored.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, module: StageModule) -> None:  # type: ignore[override]
        """Begin those of callbacks at the start of an epoch."""
        self._begin(trainer, 1)

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin those of training, after the loader has taken its own."""
        if batch_idx == 0:
            self._begin(trainer)

    def _begin(self, trainer: Trainer, *purpose: int) -> None:
        parts = [self.seed, trainer.current_epoch, trainer.global_rank, *purpose]
        seed_everything(int(np.random.SeedSequence(parts).generate_state(1)[0]), verbose=False)


class EpochEnd(Callback):
    """Evaluates, schedules, logs, keeps snapshots and stores the state to resume from.

    It stands behind the callbacks of the tree, so that `last.ckpt` has their state after the epoch.
    The order makes a kill at any moment harmless: whatever is written before `last.ckpt` is written
    again, equal, by the resumed run, and nothing that `last.ckpt` speaks of is removed before it is
    replaced itself.

    Args:
        cfg: the resolved tree.
        stage: which of its networks is trained.
        folder: the run folder.
        evaluate: scores the network.
        loggers: get a row for each epoch.
        watch: decides after each evaluation whether training continues.
    """

    def __init__(
        self,
        cfg: DictConfig,
        stage: Stage,
        folder: RunFolder,
        evaluate: Evaluate,
        loggers: Sequence[Logger] = (),
        watch: Watch | None = None,
    ) -> None:
        self.loggers = loggers
        self.watch = watch
        self.trainer_cfg = cfg.trainer
        self.stage = stage
        self.epochs = int(stage.settings.epochs)
        self.checkpoint = folder.checkpoint(stage.name)
        node = cfg.get("weights") or {}
        grouped = any(node.get(key) for key in GROUPING)
        self.groups_of_its_own = grouped and stage.name == POSE
        self.evaluate = evaluate
        self.manager = SnapshotManager(
            folder.snapshots,
            prefix=stage.prefix,
            max_snapshots=cfg.trainer.max_snapshots,
            key_metric=stage.key_metric,
            key_metric_asc=stage.key_metric_asc,
            tie_breaks=(f"{part_of(stage.key_metric or '')}.rmse", "train.total_loss"),
        )
        stopping = cfg.trainer.get("early_stopping") or {}
        self.stopping = EarlyStopping(
            stopping.get("patience"), stopping.get("min_delta") or 0.0, stage.key_metric_asc
        )
        self._clock = Clock()

    def on_train_start(self, trainer: Trainer, module: StageModule) -> None:  # type: ignore[override]
        """Forget what a killed run wrote after its last stored state."""
        if trainer.is_global_zero:
            self.manager.forget_after(whole_epochs(trainer))
        trainer.should_stop |= self.stopping.exhausted
        self._clock = Clock(whole_epochs(trainer))

    def on_train_epoch_start(self, trainer: Trainer, module: StageModule) -> None:  # type: ignore[override]
        """Begin the values that callbacks log, and put off a stop of theirs to the epoch's end.

        A run cannot resume in the middle of an epoch.
        """
        trainer.logged_metrics.clear()
        trainer.fit_loop.min_epochs = whole_epochs(trainer) + 1

    def on_train_epoch_end(self, trainer: Trainer, module: StageModule) -> None:  # type: ignore[override]
        """End an epoch: log, evaluate, save.

        Raises:
            DivergenceError: the loss was not finite in one of its steps.
        """
        module.look()
        epoch = trainer.current_epoch + 1
        last = epoch >= self.epochs or trainer.should_stop
        losses = module.meter.means(module)
        speed = losses.pop("images_per_second")
        logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
        row = {**logged, **losses, **module.learning_rates, "images_per_second": speed}
        metrics: dict[str, float] = {}
        if last or epoch % self.stage.eval_interval == 0:
            metrics = self._evaluate(trainer, module)
        if self.manager.key_metric in metrics:
            self.stopping.update(metrics[self.manager.key_metric])
        trainer.should_stop |= self.stopping.exhausted
        self._step_scheduler(module, losses["train.total_loss"], metrics)
        self._log(trainer, epoch, row, metrics)

        periodic = last or trainer.should_stop or epoch % self.stage.settings.save_epochs == 0
        if trainer.is_global_zero:
            snapshot = self._snapshot(trainer, module, epoch, losses, metrics)
            self.manager.save(snapshot, periodic=periodic)
        trainer.save_checkpoint(self.checkpoint)
        if trainer.is_global_zero:
            self.manager.prune()
        if metrics and not last:
            self._ask_watch(trainer, epoch, metrics)

    def _ask_watch(self, trainer: Trainer, epoch: int, metrics: Mapping[str, float]) -> None:
        """Stop all processes where the watch of the first returns a reason.

        Raises:
            Pruned: with the reason.
        """
        reason = None
        if self.watch and trainer.is_global_zero:
            reason = self.watch(epoch, self.stage.logged(metrics))
        reason = trainer.strategy.broadcast(reason, src=0)
        if reason is not None:
            raise Pruned(reason)

    def _evaluate(self, trainer: Trainer, module: StageModule) -> dict[str, float]:
        """Compute metrics in single precision, by the first process for all."""
        metrics: dict[str, float] = {}
        with validating(trainer, module):
            if trainer.is_global_zero:
                metrics = dict(self.evaluate(single_precision(module.model)))
                module.model.train()
            metrics = trainer.strategy.broadcast(metrics, src=0)
            module.log_dict(metrics, logger=False)  # into `trainer.callback_metrics`
        return metrics

    def _step_scheduler(
        self, module: StageModule, loss: float, metrics: Mapping[str, float]
    ) -> None:
        """Step the schedule, once per epoch.

        A plateau of `mode: min` watches the training loss, one of `mode: max` the key metric.
        """
        scheduler = module.scheduler
        with unscaled(module.optimizers()):  # type: ignore[arg-type]
            if isinstance(scheduler, ReduceLROnPlateau):
                watched = (
                    loss if scheduler.mode == "min" else metrics.get(self.manager.key_metric or "")
                )
                if watched is not None:
                    scheduler.step(watched)
            elif scheduler is not None:
                scheduler.step()

    def _log(
        self, trainer: Trainer, epoch: int, row: Mapping[str, float], metrics: Mapping[str, float]
    ) -> None:
        named = {f"{self.stage.key_prefix}{name}": value for name, value in row.items()}
        for target in self.loggers:
            target.log_metrics({**named, **self.stage.logged(metrics)}, step=epoch)
            target.save()
        chosen_by = self.stage.key_metric or "test"
        names = (f"{part_of(chosen_by)}.rmse", chosen_by)
        shown = {name: value for name, value in metrics.items() if name in names}
        scores = self.stage.logged(shown)
        logger.info(
            "%sepoch %d/%d  loss %.4g  lr %.3g  %.1f images/s%s  %s left",
            self.stage.log_prefix,
            epoch,
            self.epochs,
            row["train.total_loss"],
            row["lr"],
            row["images_per_second"],
            "".join(f"  {k.removeprefix('detector.')} {v:.2f}" for k, v in scores.items()),
            self._clock.left(epoch, self.epochs),
        )

    def _snapshot(
        self,
        trainer: Trainer,
        module: StageModule,
        epoch: int,
        losses: Mapping[str, float],
        metrics: Mapping[str, float],
    ) -> Snapshot:
        scheduler = module.scheduler
        optimizer = module.optimizers()
        weights = weights_to_keep(trainer, module)
        # DeepLabCut's optimizer has one group of all parameters, and could not load another.
        keep = self.trainer_cfg.save_optimizer_state and not self.groups_of_its_own
        return Snapshot(
            epoch=epoch,
            model={name.removeprefix("model."): value for name, value in weights.items()},
            metrics=metrics,
            losses=losses,
            scheduler=scheduler.state_dict() if scheduler else None,
            optimizer=optimizer.optimizer.state_dict() if keep else None,  # type: ignore[union-attr]
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into `last.ckpt`."""
        return {"best": self.manager.state_dict(), "stopping": self.stopping.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what comes from `last.ckpt`."""
        self.manager.load_state_dict(state_dict["best"])
        self.stopping.load_state_dict(state_dict["stopping"])


def single_precision(model: nn.Module) -> nn.Module:
    """Return the network, or a float32 copy where it is trained in another format."""
    formats = {p.dtype for p in model.parameters()}
    return model if formats <= {torch.float32} else copy.deepcopy(model).float()
