"""The losses of DEKR (Geng et al., CVPR 2021, section 3.4)."""

import torch
import torch.nn.functional as F

from dlcexp.models.criterions.base import Criterion, mean_where_weighted


class DEKRHeatmapLoss(Criterion):
    """Weighted squared error, averaged over all elements."""

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        return (F.mse_loss(output, target, reduction="none") * weights).mean()


class DEKROffsetLoss(Criterion):
    """Smooth L1 error, averaged over the elements whose weight is not 0; 0 if there are none.

    Args:
        weight: factor of this loss in the total loss of its head.
        beta: error in map pixels from which the loss is linear.
    """

    def __init__(self, weight: float = 1.0, beta: float = 1 / 9) -> None:
        super().__init__(weight)
        self.beta = beta

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        loss = F.smooth_l1_loss(output, target, beta=self.beta, reduction="none")
        return mean_where_weighted(loss, weights)
