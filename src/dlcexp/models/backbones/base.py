"""The base class of backbones: a stride, a channel count, and batch norm that can be frozen."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlcexp.models.backbones.pretrained import Published, settle, timm_weights, weights_file
from dlcexp.vocabulary import AUTO

logger = logging.getLogger(__name__)

# `auto`: where a network starts from pretrained weights, and not where it starts from random ones.
Freeze = bool | Literal["auto"]


class Backbone(nn.Module, ABC):
    """A network from images to one feature map, its batch norm frozen on request.

    Args:
        layers: the layers of the network, by the names they have on the backbone.
        random_weights: whether they have learned nothing yet.
        freeze_bn_stats: keep the batch-norm statistics, also in training; "auto": if they were
            loaded.
        freeze_bn_weights: do not train the batch-norm scales and shifts.

    Attributes:
        stride: image pixels per pixel of the feature map.
        out_channels: channels of the feature map.
        conditional: True if it also reads conditions, the poses to be corrected.
        needs_heatmaps: True if it works with heads of heatmaps only.
        traceable: False if a trace of it holds for one image size only.
        multianimal_only: True if DeepLabCut refuses it in a single-animal project, with a head
            that assembles individuals.
    """

    conditional = False
    needs_heatmaps = False
    traceable = True
    multianimal_only = False
    stride: int
    out_channels: int

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        *,
        random_weights: bool,
        freeze_bn_stats: Freeze,
        freeze_bn_weights: bool,
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._freeze_bn_stats = freeze_bn_stats
        self._random_weights = random_weights
        self._warned = False
        self.register_load_state_dict_post_hook(_weights_were_loaded)
        self.register_forward_pre_hook(_warn_of_frozen_statistics)
        if freeze_bn_weights:
            for batch_norm in self._batch_norms():
                batch_norm.requires_grad_(False)
        self.train()

    @classmethod
    def published(cls, node: Mapping[str, Any]) -> Published:
        """Return the addresses of published weights by name, first that which `auto` means.

        Args:
            node: arguments of the class.
        """
        return timm_weights(node.get("model_name"))

    @classmethod
    def start(cls, node: Mapping[str, Any]) -> str | None:
        """Return where the weights of the start are, on the hub or in a file; None: random ones.

        Args:
            node: arguments of the class.

        Raises:
            UserError: there are no such weights.
        """
        weights = node.get("weights")
        if weights == AUTO and node.get("pretrained") is False:
            return None
        return settle(weights, cls.published(node), str(node.get("model_name") or cls.__name__))

    @classmethod
    def start_file(cls, **node: Any) -> Path | None:
        """Return the file with the weights of `start`; None: random weights.

        Raises:
            UserError: it is not available.
        """
        source = cls.start(node)
        return weights_file(source) if source else None

    @property
    def random_weights(self) -> bool:
        """Return True if the network has learned nothing yet."""
        return self._random_weights

    @property
    def freeze_bn_stats(self) -> bool:
        """Return True if the batch-norm statistics stay, also in training."""
        if self._freeze_bn_stats == "auto":
            return not self.random_weights
        return bool(self._freeze_bn_stats)

    @abstractmethod
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, 3, h, w) to features (b, out_channels, h / stride, w / stride)."""

    def train(self, mode: bool = True) -> "Backbone":
        """Switch between training and evaluation; frozen statistics stay in evaluation."""
        super().train(mode)
        if self.freeze_bn_stats:
            for layer in self._batch_norms():
                layer.eval()
        return self

    def weights_were_loaded(self) -> None:
        """Take note that a file has brought weights, and the statistics that fit them."""
        self._random_weights = False
        self.train(self.training)

    def _batch_norms(self) -> list[_BatchNorm]:
        return [layer for layer in self.modules() if isinstance(layer, _BatchNorm)]


def _weights_were_loaded(backbone: Backbone, _: object) -> None:
    """Note that a snapshot brings statistics that fit its weights."""
    backbone.weights_were_loaded()


def _warn_of_frozen_statistics(backbone: Backbone, _: object) -> None:
    """Log once that frozen statistics do not fit random weights."""
    layers = backbone._batch_norms()
    frozen = bool(layers) and not any(layer.training for layer in layers)
    if not (backbone.training and frozen and backbone._random_weights) or backbone._warned:
        return
    backbone._warned = True
    logger.warning(
        "Training starts from random weights with frozen batch-norm statistics, which diverges as"
        " a rule. Set model.backbone.freeze_bn_stats=auto, or give pretrained weights by"
        " weights=imagenet, weights=PATH or model.backbone.weights=FILE."
    )
