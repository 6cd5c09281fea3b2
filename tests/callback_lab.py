"""Callbacks of a user's package, for `allow_targets=[callback_lab.]`."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Jitter(Callback):
    """Moves all weights at random, with numbers of an epoch's start and of its steps."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.scale = 1e-3 * (torch.rand(1).item() + random.random())

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        with torch.no_grad():
            for parameter in pl_module.parameters():
                parameter.add_(self.scale * torch.randn_like(parameter))


class Forgetful(Callback):
    """Adds ever more to the weights, and keeps no state: no resumed run can be equal."""

    steps = 0

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.steps += 1
        with torch.no_grad():
            for parameter in pl_module.parameters():
                parameter.add_(1e-4 * self.steps)


class Recorder(Callback):
    """Keeps the weights after each step, in its state."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.seen.append({k: v.clone() for k, v in pl_module.model.state_dict().items()})

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}


class Logs(Callback):
    """Logs its stage, and in the second epoch alone a mean over three steps: 1."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.log("is_detector", float(pl_module.stage.name == "detector"))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1:
            self.log("mean_step", float(batch_idx), on_step=False, on_epoch=True, batch_size=1)


class StopsInAnEpoch(Callback):
    """Asks to stop at the first step of the third epoch."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.current_epoch == 2


class Watches(Callback):
    """Notes what is known around each evaluation, and stops at the first."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.notes.append("start")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.notes.append(f"{trainer.callback_metrics['test.rmse'].item():.3f}")
        trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"notes": self.notes}


class Unstorable(Callback):
    """Has a state that no run can resume from after the first epoch."""

    norm: Any = 0.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.norm = np.float64(trainer.current_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"norm": self.norm if self.norm > 0 else 0.0}
