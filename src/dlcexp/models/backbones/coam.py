"""HRNet with conditional attention: the conditions direct attention in its feature maps.

Zhou et al., "Rethinking pose estimation in crowds: overcoming the detection information bottleneck
and ambiguity", ICCV 2023; dual attention from Fu et al., "Dual Attention Network for Scene
Segmentation", CVPR 2019.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dlcexp.config.model_checks import ModelInputs, check_image_size
from dlcexp.errors import not_one_of
from dlcexp.models.backbones.base import Freeze
from dlcexp.models.backbones.hrnet import HRNet
from dlcexp.models.backbones.keypoint_encoder import StackedKeypointEncoder
from dlcexp.models.backbones.pretrained import Published
from dlcexp.models.keypoint_axes import Axis, KeypointAxes, Points, outputs

STEM = ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "layer1")
# The stages that attention may follow; the last has nothing behind it.
STAGES = (1, 2, 3)
DROPOUT = 0.1
INITIAL_STD = 0.001


class HRNetCoAM(HRNet):
    """HRNet whose branches attend to the conditions after some of its stages.

    Args:
        base_model_name: "hrnet_w32", "hrnet_w48" or another HRNet of timm.
        kpt_encoder: draws the conditions.
        img_size: height and width of the images, px; attention has weights for each position.
        pretrained: DeepLabCut's key; with False, `auto` weights are random ones.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        coam_modules: the stages followed by attention, from 1 to 3.
        channel_att_only: attend to channels alone, not to positions.
        att_heads: heads of the attention to positions.
        weights: see `dlcexp.models.backbones.pretrained`.

    Raises:
        ConfigError: a stage that is not one of 1, 2 and 3.
    """

    conditional = True
    needs_heatmaps = True

    def __init__(
        self,
        base_model_name: str,
        kpt_encoder: StackedKeypointEncoder,
        img_size: Sequence[int] = (256, 256),
        pretrained: bool = True,
        freeze_bn_stats: Freeze = False,
        freeze_bn_weights: bool = False,
        coam_modules: Sequence[int] = (2,),
        channel_att_only: bool = False,
        att_heads: int = 1,
        weights: str | None = None,
    ) -> None:
        for stage in coam_modules:
            if stage not in STAGES:
                raise not_one_of("model.backbone.coam_modules", stage, map(str, STAGES))
        super().__init__(
            base_model_name,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
            weights=weights,
            pretrained=pretrained,
        )
        self.cond_enc = kpt_encoder
        self.coam_stages = nn.ModuleDict()
        for stage in sorted(set(coam_modules)):
            branches = [
                DualAttention(
                    channels,
                    kpt_encoder.num_channels,
                    positions=math.prod(side // (self.stride << branch) for side in img_size),
                    heads=att_heads,
                    channels_alone=channel_att_only,
                )
                for branch, channels in enumerate(self.branch_channels[: stage + 1])
            ]
            self.coam_stages[_key(stage)] = CoAMBlock(branches)

    @classmethod
    def published(cls, node: Mapping[str, Any]) -> Published:
        """Return the addresses of the weights that timm publishes for the HRNet."""
        return super().published({"model_name": node.get("base_model_name"), **node})

    @classmethod
    def check_inputs(cls, node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
        """Reject an image size other than that of the crops: attention has weights by position."""
        check_image_size(node, key, inputs)

    def forward(  # type: ignore[override]
        self, images: torch.Tensor, conditions: torch.Tensor
    ) -> torch.Tensor:
        """Return the feature map (b, out_channels, h / 4, w / 4).

        Args:
            images: (b, 3, h, w), normalised, of the size `img_size`.
            conditions: (b, 1, k, 3), x px, y px, score; 0 means that the keypoint is missing.
        """
        maps = self.cond_enc(conditions, *images.shape[-2:])
        features = images
        for name in STEM:
            features = getattr(self.model, name)(features)
        branches = [features]
        for stage in STAGES:
            branches = _widen(branches, getattr(self.model, f"transition{stage}"))
            if _key(stage) in self.coam_stages:
                branches = self.coam_stages[_key(stage)](branches, maps)
            branches = getattr(self.model, f"stage{stage + 1}")(branches)
        return branches[0]


class CoAMBlock(nn.Module):
    """Attention in each branch.

    Args:
        branches: the attention of each, finest first.
    """

    def __init__(self, branches: Sequence["DualAttention"]) -> None:
        super().__init__()
        self.att_layers = nn.ModuleList(branches)

    def forward(self, branches: Sequence[torch.Tensor], maps: torch.Tensor) -> list[torch.Tensor]:
        """Return branches (b, c, h, w) of the same shapes, for conditions drawn as (b, k, H, W)."""
        pairs = zip(self.att_layers, branches, strict=True)
        return [attention(features, _shrink(maps, features)) for attention, features in pairs]


class DualAttention(nn.Module):
    """Features, to which their attention to positions and to channels is added.

    Args:
        channels: of the features.
        maps: number of maps in which the conditions are drawn.
        positions: pixels of the features, height times width.
        heads: of the attention to positions.
        channels_alone: leave that one out.
    """

    def __init__(
        self, channels: int, maps: int, positions: int, heads: int, channels_alone: bool
    ) -> None:
        super().__init__()
        self.position_attention_module = (
            None if channels_alone else PositionAttention(channels, maps, heads)
        )
        self.channel_attention_module = ChannelAttention(channels, maps, positions)

    def forward(self, features: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Map features (b, channels, h, w) and conditions (b, maps, h, w) to features."""
        attended = self.channel_attention_module(features, maps).view_as(features)
        if self.position_attention_module is not None:
            positions = self.position_attention_module(features, maps)
            attended = attended + positions.transpose(1, 2).reshape(features.shape)
        return features + attended


class PositionAttention(nn.Module):
    """Each pixel gathers features from where its conditions point."""

    def __init__(self, channels: int, maps: int, heads: int) -> None:
        super().__init__()
        self.cnn = nn.Conv2d(channels, channels, 3, padding=1)
        self.pa = ScaledAttention(maps, channels, heads)
        self.cnn_cond = nn.Conv2d(maps, maps, 3, padding=1)

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return the axes: a query has a number of each keypoint, made of the maps of all."""
        channels = points.channels()
        axes = outputs("cnn_cond", channels)
        axes["cnn_cond.weight"][1] = Axis(channels, reads=True)
        return KeypointAxes({**axes, "pa.fc_q.weight": {1: Axis(channels, reads=True)}})

    def forward(self, features: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Map features (b, c, h, w) and conditions (b, k, h, w) to features (b, h * w, c)."""
        queries = self.cnn_cond(maps).flatten(2).transpose(1, 2)
        keys = self.cnn(features).flatten(2).transpose(1, 2)
        return self.pa(queries, keys)


class ChannelAttention(nn.Module):
    """Each channel gathers those channels that resemble its conditions."""

    def __init__(self, channels: int, maps: int, positions: int) -> None:
        super().__init__()
        self.cnn = nn.Conv2d(channels, channels, 3, padding=1)
        self.cnn_cond = nn.Conv2d(maps, channels, 3, padding=1)
        self.pa = PlainAttention(positions)

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return the axes: it reads a map of each keypoint."""
        return KeypointAxes({"cnn_cond.weight": {1: Axis(points.channels(), reads=True)}})

    def forward(self, features: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Map features (b, c, h, w) and conditions (b, k, h, w) to features (b, c, h * w)."""
        return self.pa(self.cnn_cond(maps).flatten(2), self.cnn(features).flatten(2))


class ScaledAttention(nn.Module):
    """Attention of Vaswani et al., 2017, each head as wide as the whole.

    Args:
        query_width: numbers a query.
        width: numbers a key, and an answer.
        heads: number of heads.
    """

    def __init__(self, query_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.fc_q = _linear(query_width, heads * width)
        self.fc_k = _linear(width, heads * width)
        self.fc_v = _linear(width, heads * width)
        self.fc_o = _linear(heads * width, width)

    def forward(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Map queries (b, q, query_width) and keys (b, p, width) to answers (b, q, width)."""
        q, k, v = (
            layer(values).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, values in ((self.fc_q, queries), (self.fc_k, keys), (self.fc_v, keys))
        )
        return self.fc_o(_attend(q, k, v, self.training).transpose(1, 2).flatten(2))


class PlainAttention(nn.Module):
    """Attention in which queries and keys are compared as they are.

    Args:
        width: numbers a query, a key and an answer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc_o = _linear(width, width)

    def forward(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Map queries (b, q, width) and keys (b, p, width) to answers (b, q, width)."""
        return self.fc_o(_attend(queries, keys, keys, self.training))


def _attend(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, training: bool
) -> torch.Tensor:
    return F.scaled_dot_product_attention(
        queries, keys, values, dropout_p=DROPOUT if training else 0.0
    )


def _linear(width: int, out_width: int) -> nn.Linear:
    """Return a layer that starts small, so that the features are at first hardly changed."""
    layer = nn.Linear(width, out_width)
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    nn.init.zeros_(layer.bias)
    return layer


def _widen(branches: Sequence[torch.Tensor], transition: nn.ModuleList) -> list[torch.Tensor]:
    """Return the branches as the next stage reads them, with a new one made from the coarsest."""
    return [
        layer(branches[index] if isinstance(layer, nn.Identity) else branches[-1])
        for index, layer in enumerate(transition)
    ]


def _shrink(maps: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Return the maps at the size of the features."""
    size = features.shape[-2:]
    return F.interpolate(maps, size, mode="bilinear", antialias=True)


def _key(stage: int) -> str:
    """Return the name of a stage's attention: snapshots count from 0."""
    return str(stage - 1)
