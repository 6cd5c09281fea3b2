"""The heatmap head: transposed convolutions to keypoint heatmaps and location refinement.

Xiao et al., "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018; location
refinement from Insafutdinov et al., "DeeperCut", ECCV 2016.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import nn

from dlcexp.errors import ConfigError
from dlcexp.models.criterions import Criterion
from dlcexp.models.heads.base import Head, initialize
from dlcexp.models.keypoint_axes import Axis, Channel, KeypointAxes, Points, outputs
from dlcexp.models.predictors import Predictor
from dlcexp.models.targets import TargetGenerator


class HeatmapHead(Head):
    """Heatmaps (b, k, h, w), and with a `locref_config` location refinement (b, 2 k, h, w).

    Args:
        heatmap_config, locref_config: keywords of `DeconvModule`.
        target_generator, criterion, predictor: see `Head`.
        weight_init: scheme of the initial weights, "normal", "dekr" or "RTMPose"; None: torch's.

    Raises:
        ConfigError: heatmaps and location refinement have different strides.
    """

    def __init__(
        self,
        heatmap_config: "Annotated[Mapping[str, Any], DeconvModule]",
        target_generator: TargetGenerator,
        criterion: Mapping[str, Criterion],
        predictor: Predictor,
        locref_config: "Annotated[Mapping[str, Any] | None, DeconvModule]" = None,
        weight_init: str | None = None,
    ) -> None:
        heatmap_head = DeconvModule(**heatmap_config)
        super().__init__(predictor, target_generator, criterion, heatmap_head.stride)
        self.heatmap_head = heatmap_head
        self.locref_head = None if locref_config is None else DeconvModule(**locref_config)
        if self.locref_head is not None and self.locref_head.stride != self.stride:
            raise ConfigError(
                "locref_config.strides",
                f"multiply to {self.locref_head.stride}, those of the heatmap to {self.stride}.",
            )
        initialize(self, weight_init)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return maps of a feature map (b, c, h, w), `stride` times its resolution."""
        maps = {"heatmap": self.heatmap_head(features)}
        if self.locref_head is not None:
            maps["locref"] = self.locref_head(features)
        return maps

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return the axes: a heatmap and two maps of location refinement per point."""
        axes = self.heatmap_head.output_axes("heatmap_head", points.channels())
        if self.locref_head is not None:
            axes |= self.locref_head.output_axes("locref_head", points.channels(2))
        return KeypointAxes(axes)


class DeconvModule(nn.Module):
    """Transposed convolutions, with ReLU between them, and an optional last convolution.

    Args:
        channels: channels of the input and of each layer's output.
        kernel_size: size of each transposed convolution, in pixels.
        strides: stride of each transposed convolution.
        final_conv: `out_channels` and `kernel_size` of a convolution at the end.

    Attributes:
        stride: pixels of the output per pixel of the input.

    Raises:
        ConfigError: the lists do not fit together.
    """

    def __init__(
        self,
        channels: list[int],
        kernel_size: list[int],
        strides: list[int],
        final_conv: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        if not len(channels) - 1 == len(kernel_size) == len(strides):
            raise ConfigError(
                "heatmap_config",
                f"channels={channels} need one kernel_size and one stride per layer, one fewer than"
                f" channels, but kernel_size={kernel_size} and strides={strides}.",
            )
        self.stride = 1
        layers: list[nn.Module] = []
        for i, (kernel, stride) in enumerate(zip(kernel_size, strides, strict=True)):
            if layers:
                layers.append(nn.ReLU())
            layers.append(nn.ConvTranspose2d(channels[i], channels[i + 1], kernel, stride))
            self.stride *= stride
        self.deconv_layers = nn.Sequential(*layers)
        self.final_conv: nn.Module = nn.Identity()
        if final_conv is not None:
            outputs, kernel = final_conv["out_channels"], final_conv["kernel_size"]
            self.final_conv = nn.Conv2d(channels[-1], outputs, kernel, padding="same")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return maps (b, c', about stride * h, about stride * w) of features (b, c, h, w)."""
        return self.final_conv(self.deconv_layers(features))

    def output_axes(self, name: str, channels: Sequence[Channel]) -> dict[str, dict[int, Axis]]:
        """Return the axes of the last layer, whose outputs are `channels`, in module `name`."""
        if isinstance(self.final_conv, nn.Conv2d):
            return outputs(f"{name}.final_conv", channels)
        return outputs(f"{name}.deconv_layers.{len(self.deconv_layers) - 1}", channels, dim=1)
