"""The stage of the pose model."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from dlcexp.training.fine_tuning import parameter_groups
from dlcexp.training.module import StageModule


class PoseModule(StageModule):
    """Trains a `PoseModel`: whole frames bottom-up, crops of single animals top-down.

    Conditional top-down each crop comes with a pose, drawn from its labels.
    """

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Forward pass, targets and losses of one batch."""
        conditions = [batch["conditions"]] if "conditions" in batch else []
        outputs = self.model(batch["image"], *conditions)
        return self.model.losses(outputs, self.model.targets(outputs, batch))

    def parameters_to_train(self) -> Sequence[Any]:
        """The parameters that are not frozen, in groups where `weights.lr_scale` has factors."""
        factors = self.cfg.get("weights", {}).get("lr_scale")
        return parameter_groups(self.model, factors) if factors else super().parameters_to_train()

    def batches(self, rank: int, world_size: int) -> DataLoader:
        """Augmented frames or crops with their labels."""
        return self.data.train_loader(rank, world_size)
