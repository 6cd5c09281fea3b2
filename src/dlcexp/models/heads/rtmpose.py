"""The head of RTMPose: each keypoint as a distribution over the columns and one over the rows.

Jiang et al., "RTMPose: Real-Time Multi-Person Pose Estimation based on MMPose", arXiv 2303.07399;
coordinate classification from Li et al., "SimCC", ECCV 2022; the gated attention unit from Hua et
al., "Transformer Quality in Linear Time", ICML 2022.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import nn

from dlcexp.config.model_checks import ModelInputs, check_size
from dlcexp.errors import ConfigError, nearest
from dlcexp.models.criterions import Criterion
from dlcexp.models.heads.base import Head, initialize
from dlcexp.models.keypoint_axes import Axis, Channel, KeypointAxes, Points, outputs
from dlcexp.models.predictors import Predictor
from dlcexp.models.targets import TargetGenerator

ACTIVATIONS: dict[str, type[nn.Module]] = {"ReLU": nn.ReLU, "SiLU": nn.SiLU}
LEAST_NORM = 1e-5


class RTMCCHead(Head):
    """Logits "x" (b, k, width * split ratio) and "y" (b, k, height * split ratio).

    Args:
        input_size: width and height of the images, px.
        in_channels: channels of the feature map.
        out_channels: keypoints k.
        in_featuremap_size: width and height of the feature map, its pixels.
        simcc_split_ratio: bins per image px.
        final_layer_kernel_size: of the convolution to one map per keypoint, feature map pixels.
        gau_cfg: keywords of `GatedAttentionUnit`.
        target_generator, criterion, predictor: see `Head`.
        weight_init: scheme of the initial weights, "normal", "dekr" or "RTMPose"; None: torch's.
    """

    of_one_size = True
    heatmaps = False

    def __init__(
        self,
        input_size: list[int],
        in_channels: int,
        out_channels: int,
        in_featuremap_size: list[int],
        simcc_split_ratio: float,
        final_layer_kernel_size: int,
        gau_cfg: "Annotated[Mapping[str, Any], GatedAttentionUnit]",
        target_generator: TargetGenerator,
        criterion: Mapping[str, Criterion],
        predictor: Predictor,
        weight_init: str | None = None,
    ) -> None:
        super().__init__(predictor, target_generator, criterion)
        width, height = input_size
        self.in_featuremap_size = in_featuremap_size
        cells = in_featuremap_size[0] * in_featuremap_size[1]
        self.gau = GatedAttentionUnit(out_channels, **gau_cfg)
        dims = self.gau.hidden_dims
        self.final_layer = nn.Conv2d(
            in_channels,
            out_channels,
            final_layer_kernel_size,
            padding=final_layer_kernel_size // 2,
        )
        self.mlp = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, dims, bias=False))
        self.cls_x = nn.Linear(dims, int(width * simcc_split_ratio), bias=False)
        self.cls_y = nn.Linear(dims, int(height * simcc_split_ratio), bias=False)
        initialize(self, weight_init)

    @classmethod
    def check_inputs(cls, node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
        """Reject sizes that are not those of the crops: each of their sides has its classes."""
        stride = inputs.stride
        for crop in inputs.crops:
            crop.check_multiple(stride, stride)
            check_size(f"{key}.input_size", node["input_size"], [crop.width, crop.height])
            size = [crop.width // stride, crop.height // stride]
            check_size(f"{key}.in_featuremap_size", node["in_featuremap_size"], size)

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return logits of a feature map (b, c, h, w).

        Raises:
            ConfigError: the feature map is not of the size the head was made for.
        """
        width, height = self.in_featuremap_size
        if features.shape[-2:] != (height, width):
            h, w = features.shape[-2:]
            raise ConfigError(
                "in_featuremap_size",
                f"[{width}, {height}], but the feature map is {w} wide and {h} high; RTMPose takes"
                " images of one size, its `input_size`.",
            )
        maps = self.final_layer(features).flatten(2)
        keypoints = self.gau(self.mlp(maps))
        return {"x": self.cls_x(keypoints), "y": self.cls_y(keypoints)}

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return the axes: one map per point; what relates points is the same for all.

        A bias by the distance in their order holds for the same points in the same order only.
        """
        distances = [Channel((*points.names, i)) for i in range(2 * len(points.names) - 1)]
        return KeypointAxes(
            {**outputs("final_layer", points.channels()), "gau.w": {0: Axis(distances)}}
        )


class GatedAttentionUnit(nn.Module):
    """Self-attention between the keypoints, gated by the keypoints themselves.

    Args:
        keypoints: how many.
        hidden_dims: features of each keypoint.
        s: features of queries and keys.
        expansion_factor: features of gates and values, relative to `hidden_dims`.
        dropout_rate: of the attention.
        drop_path: how often the unit is left out in training.
        act_fn: "SiLU" or "ReLU".
        use_rel_bias: add to the attention a learned bias by how far two keypoints are apart in
            their order.
        pos_enc: encode that order by turning queries and keys; must be false.

    Raises:
        ConfigError: another activation, or a position encoding.
    """

    def __init__(
        self,
        keypoints: int,
        hidden_dims: int = 256,
        s: int = 128,
        expansion_factor: int = 2,
        dropout_rate: float = 0.0,
        drop_path: float = 0.0,
        act_fn: str = "SiLU",
        use_rel_bias: bool = False,
        pos_enc: bool = False,
    ) -> None:
        super().__init__()
        if act_fn not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            hint = nearest(act_fn, ACTIVATIONS)
            raise ConfigError("gau_cfg.act_fn", f"{act_fn!r}; allowed are {known}.{hint}")
        if pos_enc:
            raise ConfigError("gau_cfg.pos_enc", "true is not supported; use use_rel_bias=true.")
        self.hidden_dims = hidden_dims
        self.gate_dims = int(hidden_dims * expansion_factor)
        self.query_dims = s
        self.dropout_rate = dropout_rate
        self.w = nn.Parameter(torch.rand(2 * keypoints - 1)) if use_rel_bias else None
        self.gamma = nn.Parameter(torch.rand(2, s))
        self.beta = nn.Parameter(torch.rand(2, s))
        self.o = nn.Linear(self.gate_dims, hidden_dims, bias=False)
        self.uv = nn.Linear(hidden_dims, 2 * self.gate_dims + s, bias=False)
        self.ln = ScaleNorm(hidden_dims)
        self.act = ACTIVATIONS[act_fn]()
        self.drop_path = DropPath(drop_path)
        self.res_scale = Scale(hidden_dims)

    def forward(self, keypoints: torch.Tensor) -> torch.Tensor:
        """Map features (b, k, c) of the keypoints to features of the same shape."""
        return self.res_scale(keypoints) + self.drop_path(self._attended(keypoints))

    def _attended(self, keypoints: torch.Tensor) -> torch.Tensor:
        sizes = [self.gate_dims, self.gate_dims, self.query_dims]
        gate, value, base = self.act(self.uv(self.ln(keypoints))).split(sizes, dim=2)
        query, key = (base.unsqueeze(2) * self.gamma + self.beta).unbind(dim=2)
        similarity = query @ key.transpose(1, 2)
        if self.w is not None:
            order = torch.arange(keypoints.shape[1], device=keypoints.device)
            similarity = similarity + self.w[order - order[:, None] + len(order) - 1]
        attention = F.relu(similarity / self.query_dims**0.5).square()
        attention = F.dropout(attention, self.dropout_rate, self.training)
        return self.o(gate * (attention @ value))


class ScaleNorm(nn.Module):
    """Features divided by their root mean square, times a learned factor.

    Nguyen and Salazar, "Transformers without Tears", IWSLT 2019.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.scale = dims**-0.5
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (..., dims) to features of the same shape."""
        norm = features.norm(dim=-1, keepdim=True) * self.scale
        return features / norm.clamp(min=LEAST_NORM) * self.g


class Scale(nn.Module):
    """A learned factor for each feature."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dims))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (..., dims) to features of the same shape."""
        return features * self.scale
