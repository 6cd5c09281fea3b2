"""The module that Lightning trains: a network, its losses, its optimizer and its schedule."""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader

from dlcexp.data.loading import PoseData
from dlcexp.errors import ConfigError, UserError
from dlcexp.runs.stages import Stage
from dlcexp.runs.status import DIVERGED
from dlcexp.training.fine_tuning import learning_rates, scale_rates
from dlcexp.training.schedulers import build_optimizer, build_scheduler, check_optimizer

logger = logging.getLogger(__name__)


class DivergenceError(UserError):
    """The loss is no longer a number."""

    kind = DIVERGED


class StageModule(LightningModule, ABC):
    """Trains the network of a stage; start and end of an epoch are in `dlcexp.training.epochs`.

    Args:
        model: the network.
        data: gives the training batches.
        cfg: the resolved tree.
        stage: which of its parts is trained, and how.

    Attributes:
        look_every: steps from one look at the loss to the next; each waits until a GPU, which is
            some steps behind, has caught up.
    """

    look_every = 10

    def __init__(self, model: nn.Module, data: PoseData, cfg: DictConfig, stage: Stage) -> None:
        super().__init__()
        self.model = model
        self.data = data
        self.cfg = cfg
        self.stage = stage
        self.scheduler: LRScheduler | ReduceLROnPlateau | None = None
        self._scheduler_state: dict[str, Any] | None = None
        self.meter = LossMeter()

    @abstractmethod
    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the scalar losses of a batch, `total_loss` among them."""

    @abstractmethod
    def batches(self, rank: int, world_size: int) -> DataLoader:
        """Return the training batches of one of several processes."""

    def parameters_to_train(self) -> Sequence[Any]:
        """Return all parameters, or groups of them.

        Frozen ones get no gradient and stay as they are. They are listed because the state of an
        optimizer knows parameters by their numbers, which are to be those of DeepLabCut.
        """
        return list(self.model.parameters())

    def configure_optimizers(self) -> Optimizer:
        """Build the schedule, as `scheduler`, and return the optimizer."""
        settings, prefix = self.stage.settings, self.stage.key_prefix
        key = f"{prefix}optimizer"
        optimizer = build_optimizer(settings.optimizer, self.parameters_to_train(), key)
        check_optimizer(optimizer, key)
        self.scheduler = build_scheduler(settings.scheduler, optimizer, f"{prefix}scheduler")
        scale_rates(optimizer)
        self._check_plateau()
        return optimizer

    def train_dataloader(self) -> DataLoader:
        """Return the batches of this process, at the epoch from which training continues."""
        loader = self.batches(self.trainer.global_rank, self.trainer.world_size)
        # Lightning may fill the first workers before it sets the epoch of the sampler.
        loader.sampler.set_epoch(whole_epochs(self.trainer))  # type: ignore[attr-defined]
        if self.trainer.is_global_zero:
            logger.info(
                "%sdata loading: %s%s",
                self.stage.log_prefix,
                f"{loader.num_workers} processes" if loader.num_workers else "in this process",
                ", page-locked memory" if loader.pin_memory else "",
            )
        return loader

    def on_fit_start(self) -> None:
        """Restore the schedule, now that the optimizer has been."""
        if self.scheduler is not None and self._scheduler_state is not None:
            self.scheduler.load_state_dict(self._scheduler_state)

    def on_train_epoch_start(self) -> None:
        """Begin the averages of the epoch."""
        # The model itself keeps frozen layers in eval mode.
        self.model.train()
        self.meter = LossMeter()

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Compute the losses of one batch.

        Their values stay on the device. They are looked at every few steps, and in the last step
        of an epoch, before a callback can keep anything of an epoch that diverged.

        Raises:
            DivergenceError: see `look`.
        """
        losses = self.losses(batch)
        self.meter.add(losses, len(batch["image"]))
        last = batch_idx + 1 == self.trainer.num_training_batches
        if last or batch_idx % self.look_every == 0:
            self.look()
        return losses["total_loss"]

    def look(self) -> None:
        """Read the losses so far, and stop all processes together where one is not finite.

        Raises:
            DivergenceError: a loss of this epoch, in any process, is NaN or infinite.
        """
        step, loss = self.meter.look(self.trainer)
        if math.isfinite(loss):
            return
        stage = self.stage
        raise DivergenceError(
            f"{stage.log_prefix}the loss became {loss} in epoch {self.current_epoch + 1}, "
            f"step {step}. The learning rate was {self.learning_rate:g}: try a tenth of it "
            f"({stage.key_prefix}optimizer.lr), clip the gradient (trainer.gradient_clip_val=1),"
            " or train in trainer.precision=32-true. A backbone with frozen statistics and random "
            "weights diverges at any learning rate."
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the schedule."""
        checkpoint["pose_scheduler"] = self.scheduler.state_dict() if self.scheduler else None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the schedule until there is one."""
        self._scheduler_state = checkpoint.get("pose_scheduler")

    @property
    def learning_rate(self) -> float:
        """The learning rate by which the schedule goes."""
        return self.learning_rates["lr"]

    @property
    def learning_rates(self) -> dict[str, float]:
        """`lr`, and `lr.MODULE` of each group that has a factor."""
        return learning_rates(self.optimizers())  # type: ignore[arg-type]

    def _check_plateau(self) -> None:
        plateau = isinstance(self.scheduler, ReduceLROnPlateau) and self.scheduler.mode == "max"
        if plateau and self.stage.key_metric is None:
            raise ConfigError(
                f"{self.stage.key_prefix}scheduler.mode",
                "'max' watches key_metric, and nothing chooses, as there are no validation frames. "
                "Take min, which watches the training loss.",
            )
        if plateau and not self.stage.key_metric_asc:
            raise ConfigError(
                f"{self.stage.key_prefix}scheduler.mode",
                f"'max' watches {self.stage.key_metric}, of which smaller is better "
                "(key_metric_asc=false). Take min, which watches the training loss.",
            )


def whole_epochs(trainer: Trainer) -> int:
    """Count finished epochs, also of the checkpoint; `current_epoch` lags after a resume."""
    return trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]


class LossMeter:
    """Means of the losses over the images of an epoch, its first step that diverged, and the speed.

    Attributes:
        latest: mean of the total loss of this process, as it was at the last look.
    """

    def __init__(self) -> None:
        self.images = 0
        self.started = time.monotonic()
        self.latest = math.nan
        self._sums: dict[str, Tensor] = {}
        # Number and loss of the last step, or of the first one whose loss is not finite.
        self._step = torch.zeros(2)

    def add(self, losses: Mapping[str, Tensor], images: int) -> None:
        """Count the losses of one batch; they stay on their device."""
        values = {name: _exact(loss.detach()) for name, loss in losses.items()}
        loss = values["total_loss"]
        if not self._sums:
            self._step = loss.new_zeros(2)
        number, former = self._step
        self._step = torch.where(former.isfinite(), torch.stack([number + 1, loss]), self._step)
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value * images
        self.images += images

    def look(self, trainer: Trainer) -> tuple[int, float]:
        """Return number and loss of the first step whose loss is not finite in any process.

        The number counts from 1. Without such a step they are those of the last one.
        """
        seen = torch.cat([self._step, self._sums["total_loss"].view(1)])
        if trainer.world_size > 1:
            seen = trainer.strategy.all_gather(seen)
        processes = seen.view(-1, 3).tolist()
        self.latest = processes[trainer.global_rank][2] / self.images
        step, loss, _ = min(processes, key=lambda each: (each[0], math.isfinite(each[1])))
        return int(step), loss

    def means(self, module: LightningModule) -> dict[str, float]:
        """Return mean losses over all processes as `train.NAME`, and `images_per_second`."""
        names = sorted(self._sums)
        seconds = max(time.monotonic() - self.started, 1e-9)
        values = [self._sums[name] for name in names]
        sums = torch.stack([*values, torch.full_like(values[0], self.images)])
        if module.trainer.world_size > 1:
            sums = module.trainer.strategy.reduce(sums, reduce_op="sum")
        *totals, images = sums.tolist()
        means = {f"train.{name}": total / images for name, total in zip(names, totals, strict=True)}
        return {**means, "images_per_second": images / seconds}

    def current(self, name: str = "total_loss") -> float:
        """Return the mean of one loss so far, of this process."""
        return float(self._sums[name]) / self.images if self.images else math.nan

    @property
    def images_per_second(self) -> float:
        """Images per second of this process since the epoch began."""
        return self.images / max(time.monotonic() - self.started, 1e-9)


def _exact(values: Tensor) -> Tensor:
    """Return values in which a sum over an epoch loses nothing, where the device has them."""
    return values.float() if values.device.type == "mps" else values.double()
