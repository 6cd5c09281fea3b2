"""The base class of predictors, and the conversion from map pixels."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import nn


class Predictor(nn.Module, ABC):
    """Decodes maps into poses.

    Called with the stride (image px per map px) and the maps of a head; returns "poses"
    (b, n, k, 3): x px, y px in the input image, and score; identity returns a "heatmap" instead.
    """

    @abstractmethod
    def forward(
        self, stride: float, outputs: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return poses, and whatever else is read from the maps."""


def to_image(positions: torch.Tensor, stride: float) -> torch.Tensor:
    """Return positions in map pixels as image px; a map pixel is at the middle of its square."""
    return positions * stride + stride / 2
