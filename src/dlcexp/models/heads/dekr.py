"""The head of DEKR: keypoint heatmaps, and offsets from each pixel to the keypoints around it.

Geng et al., "Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression", CVPR 2021.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from timm.models.resnet import BasicBlock
from torch import nn

from dlcexp.models.criterions import Criterion
from dlcexp.models.heads.base import Head, initialize
from dlcexp.models.keypoint_axes import (
    CENTER,
    Channel,
    KeypointAxes,
    Points,
    norm_outputs,
    outputs,
)
from dlcexp.models.predictors import Predictor
from dlcexp.models.targets import TargetGenerator


class DEKRHead(Head):
    """Heatmaps (b, k + 1, h, w), the last for the centres, and offsets (b, 2 k, h, w).

    Args:
        heatmap_config: keywords of `HeatmapBranch`.
        offset_config: keywords of `OffsetBranch`.
        target_generator, criterion, predictor: see `Head`.
        weight_init: scheme of the initial weights, "normal", "dekr" or "RTMPose"; None: torch's.
    """

    one_animal = False
    needs_center = True

    def __init__(
        self,
        heatmap_config: "Annotated[Mapping[str, Any], HeatmapBranch]",
        offset_config: "Annotated[Mapping[str, Any], OffsetBranch]",
        target_generator: TargetGenerator,
        criterion: Mapping[str, Criterion],
        predictor: Predictor,
        weight_init: str | None = None,
    ) -> None:
        super().__init__(predictor, target_generator, criterion)
        self.heatmap_head = HeatmapBranch(**heatmap_config)
        self.offset_head = OffsetBranch(**offset_config)
        initialize(self, weight_init)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return maps of a feature map (b, c, h, w), at its resolution."""
        return {"heatmap": self.heatmap_head(features), "offset": self.offset_head(features)}

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return the axes: heatmaps of points and centres, offset features and layers of points."""
        features = points.channels(self.offset_head.num_offset_per_kpt)
        return KeypointAxes(
            {
                **outputs(
                    "heatmap_head.head_heatmap.1", [*points.channels(), Channel((CENTER, 0))]
                ),
                **outputs("offset_head.transition_offset.0", features),
                **norm_outputs("offset_head.transition_offset.1", features),
            },
            lists={
                "offset_head.offset_feature_layers": points.channels(),
                "offset_head.offset_final_layer": points.channels(),
            },
        )


class HeatmapBranch(nn.Module):
    """One heatmap per keypoint and one for the centres.

    Args:
        channels: channels of the feature map, inside the branch, and of the output.
        num_blocks: residual blocks in the branch.
        dilation_rate: dilation of their convolutions.
        final_conv_kernel: size of the last convolution, in pixels.
    """

    def __init__(
        self, channels: list[int], num_blocks: int, dilation_rate: int, final_conv_kernel: int
    ) -> None:
        super().__init__()
        inputs, width, outputs = channels
        self.transition_heatmap = _transition(inputs, width)
        blocks = [BasicBlock(width, width, dilation=dilation_rate) for _ in range(num_blocks)]
        self.head_heatmap = nn.Sequential(
            nn.Sequential(*blocks), _final_conv(width, outputs, final_conv_kernel)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return heatmaps (b, outputs, h, w) of features (b, inputs, h, w)."""
        return self.head_heatmap(self.transition_heatmap(features))


class OffsetBranch(nn.Module):
    """Per keypoint, its own features and the regression from them to its offset, in map pixels.

    Args:
        channels: channels of the feature map, inside the branch, and the number of keypoints.
        num_offset_per_kpt: channels of each keypoint's features.
        num_blocks: adaptive blocks per keypoint.
        dilation_rate: dilation of their convolutions.
        final_conv_kernel: size of the last convolution, in pixels.
    """

    def __init__(
        self,
        channels: list[int],
        num_offset_per_kpt: int,
        num_blocks: int,
        dilation_rate: int,
        final_conv_kernel: int,
    ) -> None:
        super().__init__()
        inputs, width, keypoints = channels
        each = num_offset_per_kpt
        self.keypoints = keypoints
        self.num_offset_per_kpt = each
        self.transition_offset = _transition(inputs, width)
        self.offset_feature_layers = nn.ModuleList(
            nn.Sequential(*(AdaptBlock(each, dilation_rate) for _ in range(num_blocks)))
            for _ in range(keypoints)
        )
        self.offset_final_layer = nn.ModuleList(
            _final_conv(each, 2, final_conv_kernel) for _ in range(keypoints)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return offsets (b, 2 k, h, w), x and y by keypoint, of features (b, inputs, h, w)."""
        parts = self.transition_offset(features).chunk(self.keypoints, dim=1)
        regressed = [
            final(adapt(part))
            for part, adapt, final in zip(
                parts, self.offset_feature_layers, self.offset_final_layer, strict=True
            )
        ]
        return torch.cat(regressed, dim=1)


class AdaptBlock(nn.Module):
    """A residual 3x3 convolution whose nine taps are moved by an affine map, one per pixel.

    With the regular grid G (2x9) and predicted matrix A (2x2) and translation t, the taps are at
    A G + t (section 3.2 of the paper).
    """

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        # Rows are y and x of the taps, in the order of the kernel's weights.
        grid = torch.tensor([[-1, -1, -1, 0, 0, 0, 1, 1, 1], [-1, 0, 1, -1, 0, 1, -1, 0, 1]])
        self.register_buffer("regular_matrix", grid.float())
        self.transform_matrix_conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.translation_conv = nn.Conv2d(channels, 2, 3, padding=1)
        # Holds the kernel; `_sample` replaces its fixed taps.
        self.adapt_conv = nn.Conv2d(channels, channels, 3, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.dilation = dilation

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (b, c, h, w) to features of the same shape."""
        return F.relu(self.bn(self._adaptive_convolution(features)) + features)

    def _adaptive_convolution(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features at the moved taps, weighed by the kernel.

        A deformable convolution (Dai et al., ICCV 2017) written with `grid_sample`: the same
        numbers as `torchvision.ops.deform_conv2d`, with a backward pass that is several times
        faster on a CPU, and for all devices.
        """
        b, c, h, w = features.shape
        y, x = self._taps(features).unbind(2)
        # The map reaches from -1 to 1, half a pixel around the outermost middles.
        grid = torch.stack([(2 * x + 1) / w - 1, (2 * y + 1) / h - 1], dim=-1)
        grid = grid.reshape(b, 9 * h, w, 2)
        sampled = F.grid_sample(features.to(grid), grid, align_corners=False).to(features)
        channels = self.adapt_conv.in_channels
        kernel = self.adapt_conv.weight.reshape(channels, 9 * channels, 1, 1)
        return F.conv2d(sampled.view(b, 9 * c, h, w), kernel)

    def _taps(self, features: torch.Tensor) -> torch.Tensor:
        """Position (b, 9, 2, h, w) of each tap at each pixel: y and x in pixels of the map.

        In float32 at least: bfloat16 knows no fractions of pixels beyond the 256th.
        """
        b, _, h, w = features.shape
        matrix, translation = self.transform_matrix_conv(features), self.translation_conv(features)
        with torch.autocast(features.device.type, enabled=False):
            exact = torch.promote_types(features.dtype, torch.float32)
            grid = self.regular_matrix.to(exact)
            matrix = matrix.to(exact).view(b, 2, 2, h, w)
            shift = torch.einsum("bijhw,jk->bkihw", matrix, grid) - grid.T.view(1, 9, 2, 1, 1)
            shift = shift + translation.to(exact).unsqueeze(1)
            return shift + self._fixed_taps(h, w, features.device).to(shift)

    def _fixed_taps(self, h: int, w: int, device: torch.device) -> torch.Tensor:
        """Position (9, 2, h, w) of the taps of an ordinary dilated convolution."""
        step = self.dilation * torch.arange(-1, 2, device=device)
        steps = torch.stack(torch.meshgrid(step, step, indexing="ij")).view(2, 9).T
        rows, columns = (torch.arange(length, device=device) for length in (h, w))
        pixels = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        return steps.view(9, 2, 1, 1) + pixels


def _transition(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _final_conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
