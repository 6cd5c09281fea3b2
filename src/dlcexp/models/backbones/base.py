"""What every backbone has: a stride, a channel count, and batch norm that can be frozen."""

import logging
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlcexp.models.backbones.pretrained import create_timm_model

logger = logging.getLogger(__name__)


class Backbone(nn.Module):
    """A timm network that gives feature maps, its batch norm frozen on request.

    Args:
        model_name: name of the timm model.
        out_indices: the feature levels of the timm model to return.
        weights: None for random weights, "hub" for timm's published ones, or a file of weights.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        model_kwargs: further keywords of `timm.create_model`.

    Attributes:
        stride: image pixels per pixel of the feature map.
        out_channels: channels of the feature map.
    """

    model: Any  # a timm model, with attributes of its own
    stride: int
    out_channels: int

    def __init__(
        self,
        model_name: str,
        *,
        out_indices: tuple[int, ...],
        weights: str | None = None,
        freeze_bn_stats: bool = False,
        freeze_bn_weights: bool = False,
        **model_kwargs: object,
    ) -> None:
        super().__init__()
        self.model = create_timm_model(
            model_name, weights, features_only=True, out_indices=out_indices, **model_kwargs
        )
        self.freeze_bn_stats = freeze_bn_stats
        self._random_weights = weights is None
        self.register_load_state_dict_post_hook(_weights_were_loaded)
        if freeze_bn_weights:
            for layer in self._batch_norms():
                layer.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "Backbone":
        """Switch between training and evaluation; frozen statistics stay in evaluation."""
        super().train(mode)
        if self.freeze_bn_stats:
            for layer in self._batch_norms():
                layer.eval()
        return self

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps (b, c, h / stride, w / stride) of images (b, 3, h, w), finest first."""
        if self.training and self.freeze_bn_stats and self._random_weights:
            self._random_weights = False  # once is enough
            logger.warning(
                "Training starts from random weights with frozen batch-norm statistics, which"
                " diverges as a rule. Set model.backbone.freeze_bn_stats=false, or give pretrained"
                " weights by model.backbone.weights=FILE or model.backbone.weights=hub."
            )
        return self.model(images)

    def _batch_norms(self) -> list[_BatchNorm]:
        return [layer for layer in self.modules() if isinstance(layer, _BatchNorm)]


def _weights_were_loaded(backbone: "Backbone", _: object) -> None:
    """A snapshot brings statistics that fit its weights."""
    backbone._random_weights = False
