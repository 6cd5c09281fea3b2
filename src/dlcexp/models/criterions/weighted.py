"""Element-wise losses, averaged over the elements whose weight is not 0."""

import torch
import torch.nn.functional as F

from dlcexp.models.criterions.base import Criterion, mean_where_weighted


class WeightedMSECriterion(Criterion):
    """Squared error."""

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        return mean_where_weighted(F.mse_loss(output, target, reduction="none"), weights)


class WeightedHuberCriterion(Criterion):
    """Huber loss: quadratic up to an error of 1, linear beyond."""

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        return mean_where_weighted(F.huber_loss(output, target, reduction="none"), weights)


class WeightedBCECriterion(Criterion):
    """Binary cross-entropy of the sigmoid of the output."""

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        loss = F.binary_cross_entropy_with_logits(output, target, reduction="none")
        return mean_where_weighted(loss, weights)
