"""The head of TokenPose: each keypoint token becomes the heatmap of its keypoint.

Li et al., "TokenPose: Learning Keypoint Tokens for Human Pose Estimation", ICCV 2021.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from dlcexp.errors import ConfigError
from dlcexp.models.criterions import Criterion
from dlcexp.models.heads.base import Head
from dlcexp.models.keypoint_axes import KeypointAxes, Points
from dlcexp.models.necks.transformer import STAGES, initialize
from dlcexp.models.predictors import Predictor
from dlcexp.models.targets import TargetGenerator

# DeepLabCut leaves the hidden layer out unless it widens the tokens by this factor.
LEAST_WIDENING = 2


class TransformerHead(Head):
    """Heatmaps (b, k, h, w) from keypoint tokens (b, k, 3 dim).

    Args:
        dim: width of a token of the neck; the head reads those of its three transformers.
        hidden_heatmap_dim: units of the hidden layer.
        heatmap_dim: units of the last layer, h w.
        apply_multi: have a hidden layer, if it is at least twice as wide as its input.
        heatmap_size: h and w.
        apply_init: draw weights as the paper does; otherwise as torch does.
        head_stride: pixels of the heatmap per pixel of the feature map.
        target_generator, predictor: see `Head`.
        criterion: the loss of the heatmap.

    Raises:
        ConfigError: `heatmap_dim` is not the number of pixels of the heatmap.
    """

    of_one_size = True

    def __init__(
        self,
        dim: int,
        hidden_heatmap_dim: int,
        heatmap_dim: int,
        apply_multi: bool,
        heatmap_size: Sequence[int],
        apply_init: bool,
        head_stride: int,
        target_generator: TargetGenerator,
        criterion: Criterion,
        predictor: Predictor,
    ) -> None:
        super().__init__(predictor, target_generator, {"heatmap": criterion}, head_stride)
        self.check_arguments(
            {"heatmap_dim": heatmap_dim, "heatmap_size": heatmap_size}, "model.heads.bodypart"
        )
        self.heatmap_size = tuple(heatmap_size)
        widths = [STAGES * dim, heatmap_dim]
        if apply_multi and hidden_heatmap_dim >= LEAST_WIDENING * widths[0]:
            widths.insert(1, hidden_heatmap_dim)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.LayerNorm(inputs), nn.Linear(inputs, outputs)]
        self.mlp_head = nn.Sequential(*layers)
        if apply_init:
            self.mlp_head.apply(initialize)

    @classmethod
    def check_arguments(cls, given: Mapping[str, Any], key: str) -> None:
        """Reject a last layer that does not have a unit for each pixel of the heatmap."""
        units, size = given["heatmap_dim"], list(given["heatmap_size"])
        if units != math.prod(size):
            raise ConfigError(
                f"{key}.heatmap_dim",
                f"{units!r}, but heatmap_size={size!r} has {math.prod(size)} pixels.",
            )

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return maps of keypoint tokens (b, k, 3 dim)."""
        return {"heatmap": self.mlp_head(tokens).unflatten(2, self.heatmap_size)}

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return no axes: every token passes through the same layers."""
        return KeypointAxes()
