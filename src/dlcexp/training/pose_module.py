"""The stage of the pose model."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dlcexp.data.loading import PoseData
from dlcexp.runs.folder import plain
from dlcexp.runs.stages import POSE, Stage
from dlcexp.runs.started_from import random_starts
from dlcexp.training.fine_tuning import GROUPING, parameter_groups
from dlcexp.training.module import StageModule

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class PoseModule(StageModule):
    """Trains a `PoseModel`: whole frames bottom-up, crops of single animals top-down.

    Conditional top-down each crop comes with a pose, drawn from its labels. Kernels and images are
    in `trainer.memory_format`. It decides which algorithms a convolution takes, and with them speed
    and rounding; equal seeds give equal weights within one format.
    """

    def __init__(self, model: nn.Module, data: PoseData, cfg: DictConfig, stage: Stage) -> None:
        self.memory_format = MEMORY_FORMATS[cfg.trainer.get("memory_format", "contiguous")]
        super().__init__(model.to(memory_format=self.memory_format), data, cfg, stage)

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the forward pass, targets and losses of one batch."""
        images = batch["image"].contiguous(memory_format=self.memory_format)
        conditions = [batch["conditions"]] if "conditions" in batch else []
        outputs = self.model(images, *conditions)
        return self.model.losses(outputs, self.model.targets(outputs, batch))

    def parameters_to_train(self) -> Sequence[Any]:
        """Return all parameters; with factors in `weights`, groups of those not frozen.

        `weights.layer_decay` is for layers that know something: not from random weights.
        """
        node = self.cfg.get("weights", {})
        if not any(node.get(key) for key in GROUPING):
            return super().parameters_to_train()
        decay = None if random_starts(plain(self.cfg)).get(POSE) else node.get("layer_decay")
        return parameter_groups(self.model, node.get("lr_scale") or {}, decay)

    def batches(self, rank: int, world_size: int) -> DataLoader:
        """Return augmented frames or crops with their labels."""
        return self.data.train_loader(rank, world_size)
