"""The transformer of TokenPose: keypoints are tokens that look at the image and at each other.

Li et al., "TokenPose: Learning Keypoint Tokens for Human Pose Estimation", ICCV 2021.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from dlcexp.config.model_checks import ModelInputs, check_size
from dlcexp.errors import ConfigError, UserError, nearest
from dlcexp.models.keypoint_axes import SHARED, Axis, Channel, KeypointAxes, Points

PositionKind = Literal["sine-full", "sine", "learnable"]

# Transformers in a row, whose keypoint tokens are all handed on.
STAGES = 3

INITIAL_STD = 0.02
# Wavelengths of the position embedding reach from 2 pi to that many times 2 pi.
TEMPERATURE = 10_000


class Transformer(nn.Module):
    """Keypoint tokens (b, k, 3 dim) of a feature map (b, c, h, w).

    The map is cut into patches, each of which becomes a token; the tokens of the patches and one
    learned token per keypoint pass through three transformers (figure 2 of the paper). The tokens
    that the keypoints have after each of them are put side by side, as in TokenPose-L.

    Args:
        feature_size: height and width of the feature map.
        patch_size: height and width of a patch, map pixels.
        num_keypoints: k.
        dim: width of a token.
        depth: layers per transformer.
        heads: attention heads of a layer.
        mlp_dim: hidden units of the multilayer perceptron of a layer.
        apply_init: draw weights as the paper does; otherwise as torch does.
        channels: c.
        dropout: probability of dropping a unit in the layers.
        emb_dropout: probability of dropping a unit of the tokens put in.
        pos_embedding_type: "sine" adds a fixed embedding of the position to the tokens of the
            patches; "sine-full" adds it again between the layers of the second and the third
            transformer, as DeepLabCut does; "learnable" learns one for all tokens.

    Raises:
        ConfigError: patches or heads that do not divide what they should, or an unknown embedding.
    """

    def __init__(
        self,
        *,
        feature_size: Sequence[int],
        patch_size: Sequence[int],
        num_keypoints: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int = 3,
        apply_init: bool = False,
        channels: int = 32,
        dropout: float = 0.0,
        emb_dropout: float = 0.0,
        pos_embedding_type: PositionKind = "sine-full",
    ) -> None:
        super().__init__()
        _check(feature_size, patch_size, dim, heads, pos_embedding_type)
        self.feature_size = tuple(feature_size)
        self.patch_size = tuple(patch_size)
        self.num_keypoints = num_keypoints
        self.pos_embedding_type = pos_embedding_type
        rows, columns = (f // p for f, p in zip(feature_size, patch_size, strict=True))
        self.keypoint_token = _normal(num_keypoints, dim)
        if pos_embedding_type == "learnable":
            self.pos_embedding = _normal(num_keypoints + rows * columns, dim)
        else:
            sine = sine_embedding(rows, columns, dim)
            self.pos_embedding = nn.Parameter(sine, requires_grad=False)
        self.patch_to_embedding = nn.Linear(math.prod(patch_size) * channels, dim)
        self.dropout = nn.Dropout(emb_dropout)
        self.transformer1 = _Layers(dim, depth, heads, mlp_dim, dropout)
        self.transformer2 = _Layers(dim, depth, heads, mlp_dim, dropout)
        self.transformer3 = _Layers(dim, depth, heads, mlp_dim, dropout)
        if apply_init:
            self.apply(initialize)

    @classmethod
    def check_inputs(cls, node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
        """Reject sizes that are not those of the crops: the positions of patches are fixed."""
        stride, (patch_height, patch_width) = inputs.stride, node["patch_size"]
        for crop in inputs.crops:
            crop.check_multiple(stride * patch_width, stride * patch_height)
            size = [crop.height // stride, crop.width // stride]
            check_size(f"{key}.feature_size", node["feature_size"], size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return keypoint tokens (b, k, 3 dim).

        Raises:
            UserError: the feature map is not of the size that the positions were made for.
        """
        if features.shape[-2:] != self.feature_size:
            raise UserError(
                f"model.neck.feature_size: {list(self.feature_size)}, but the feature map is"
                f" {list(features.shape[-2:])}. Images or crops (data.top_down_crop) must be of one"
                " size: the feature size times the stride of the backbone."
            )
        keypoints = self.keypoint_token.expand(features.shape[0], -1, -1)
        patches = self.patch_to_embedding(self._patches(features))
        position = self._position()
        tokens = self.dropout(torch.cat([keypoints, patches], dim=1) + position)
        again = position if self.pos_embedding_type == "sine-full" else None
        first = self.transformer1(tokens, None)
        second = self.transformer2(first, again)
        third = self.transformer3(second, again)
        k = self.num_keypoints
        return torch.cat([first[:, :k], second[:, :k], third[:, :k]], dim=2)

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return the axes: a token per point; a learned position also of each patch."""
        axes = {"keypoint_token": {1: Axis(points.channels())}}
        if self.pos_embedding_type == "learnable":
            patches = self.pos_embedding.shape[1] - self.num_keypoints
            places = [*points.channels(), *(Channel((SHARED, i)) for i in range(patches))]
            axes["pos_embedding"] = {1: Axis(places)}
        return KeypointAxes(axes)

    def _position(self) -> torch.Tensor:
        """Return the embedding added to all tokens (1, n, dim), 0 at the keypoints if fixed."""
        if self.pos_embedding_type == "learnable":
            return self.pos_embedding
        return F.pad(self.pos_embedding, (0, 0, self.num_keypoints, 0))

    def _patches(self, features: torch.Tensor) -> torch.Tensor:
        """Patches (b, rows * columns, height * width * c) of a feature map (b, c, h, w)."""
        b, c, h, w = features.shape
        height, width = self.patch_size
        grid = features.view(b, c, h // height, height, w // width, width)
        return grid.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, height * width * c)


class _Layers(nn.Module):
    """Layers of attention and perceptron, each added to what it reads (section 3.2).

    Args: see `Transformer`.
    """

    def __init__(self, dim: int, depth: int, heads: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    _Residual(_Normalized(dim, _Attention(dim, heads, dropout))),
                    _Residual(_Normalized(dim, _Perceptron(dim, mlp_dim, dropout))),
                ]
            )
            for _ in range(depth)
        )

    def forward(self, tokens: torch.Tensor, position: torch.Tensor | None) -> torch.Tensor:
        """Map tokens (b, n, dim) to tokens; `position` (1, n, dim) is added between layers."""
        for number, layer in enumerate(self.layers):
            attention, perceptron = layer.children()
            if position is not None and number > 0:
                tokens = tokens + position
            tokens = perceptron(attention(tokens))
        return tokens


class _Residual(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.fn(tokens)


class _Normalized(nn.Module):
    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fn(self.norm(tokens))


class _Attention(nn.Module):
    """Scaled dot-product self-attention of several heads (Vaswani et al., NIPS 2017)."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(dropout))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        b, n, dim = tokens.shape
        # (query key value, b, heads, n, dim / heads)
        split = self.to_qkv(tokens).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*split.unbind())
        return self.to_out(attended.transpose(1, 2).reshape(b, n, dim))


class _Perceptron(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.net(tokens)


def sine_embedding(rows: int, columns: int, dim: int) -> torch.Tensor:
    """Return a fixed embedding (1, rows * columns, dim) of grid positions, rows in the first half.

    The position counts from 1 and is scaled to 2 pi at the last row or column; sine and cosine of
    it alternate with falling frequency (Vaswani et al., NIPS 2017, in two dimensions).
    """
    half = dim // 2
    frequencies = TEMPERATURE ** (-torch.arange(0, half, 2) / half)

    def waves(count: int) -> torch.Tensor:
        position = 2 * math.pi * torch.arange(1, count + 1) / count
        angles = position[:, None] * frequencies
        return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)

    down = waves(rows)[:, None].expand(rows, columns, half)
    across = waves(columns).expand(rows, columns, half)
    return torch.cat([down, across], dim=2).view(1, rows * columns, dim)


def _normal(count: int, dim: int) -> nn.Parameter:
    """Tokens (1, count, dim) to be learned."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, count, dim), std=INITIAL_STD))


def initialize(layer: nn.Module) -> None:
    """Initialize a layer as vision transformers do: truncated normal weights, biases of 0."""
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=INITIAL_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _check(
    feature_size: Sequence[int], patch_size: Sequence[int], dim: int, heads: int, position: str
) -> None:
    """Raise a `ConfigError` for what does not fit together."""
    for feature, patch in zip(feature_size, patch_size, strict=True):
        if feature % patch:
            raise ConfigError(
                "model.neck.patch_size",
                f"{list(patch_size)} does not divide feature_size={list(feature_size)}.",
            )
    if dim % heads:
        raise ConfigError("model.neck.heads", f"{heads} does not divide dim={dim}.")
    if dim % 4:
        raise ConfigError(
            "model.neck.dim", f"{dim}; sine and cosine of two axes need a multiple of 4."
        )
    known = get_args(PositionKind)
    if position not in known:
        raise ConfigError(
            "model.neck.pos_embedding_type",
            f"{position!r}; allowed are {', '.join(known)}.{nearest(position, known)}",
        )
