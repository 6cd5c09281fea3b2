"""What every predictor is, and the map pixels they share."""

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
        """Poses, and whatever else the maps tell."""


def to_image(positions: torch.Tensor, stride: float) -> torch.Tensor:
    """Image px of positions in map pixels; a map pixel stands for the middle of its square."""
    return positions * stride + stride / 2
