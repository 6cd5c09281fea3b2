"""The stage of the detector."""

from collections.abc import Mapping

from torch import Tensor
from torch.utils.data import DataLoader

from dlcexp.training.module import StageModule


class DetectorModule(StageModule):
    """Trains a `Detector` to put a box around each animal of a frame."""

    # torchvision reads values of every batch, and would meet weights that have become NaN.
    look_every = 1

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses of one batch of frames and boxes."""
        return self.model.losses(batch["image"], batch["boxes"])

    def batches(self, rank: int, world_size: int) -> DataLoader:
        """Return augmented frames with the boxes of their animals."""
        return self.data.detector_train_loader(rank, world_size)
