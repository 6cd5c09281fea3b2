"""The base class of criterions."""

from abc import ABC, abstractmethod

import torch
from torch import nn


class Criterion(nn.Module, ABC):
    """The loss of a map; called with output, target and weights of one shape, returns a scalar.

    Args:
        weight: factor of this loss in the total loss of its head.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    @abstractmethod
    def forward(
        self, output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | float = 1.0
    ) -> torch.Tensor:
        """Return the loss, not yet times its factor."""


def mean_where_weighted(loss: torch.Tensor, weights: torch.Tensor | float) -> torch.Tensor:
    """Return the sum of loss times weight over the count of nonzero weights; 0 without any."""
    if not isinstance(weights, torch.Tensor):
        weights = loss.new_full((), weights)  # made on the device, not copied to it
    weights = weights.to(loss).expand_as(loss)
    return (loss * weights).sum() / (weights != 0).sum().clamp(min=1)
