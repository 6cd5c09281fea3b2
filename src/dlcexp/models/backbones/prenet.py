"""CondPreNet: conditions mixed into the image in front of any backbone.

Zhou et al., "Rethinking pose estimation in crowds: overcoming the detection information bottleneck
and ambiguity", ICCV 2023.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from dlcexp.config.model_checks import ModelInputs, check_image_size
from dlcexp.errors import ConfigError
from dlcexp.models.backbones.base import Backbone, Freeze
from dlcexp.models.backbones.cspnext import CSPNeXt
from dlcexp.models.backbones.keypoint_encoder import StackedKeypointEncoder
from dlcexp.models.keypoint_axes import Axis, KeypointAxes, Points

IMAGE_CHANNELS = 3
HIDDEN_CHANNELS = 64
NEAR, WIDE = 3, 7  # kernels, px
INITIAL_STD = 0.001


class CondPreNet(Backbone):
    """A backbone that sees the sum of two images, made of the frame and of the conditions.

    Args:
        backbone: the network behind, which need not know of conditions.
        kpt_encoder: draws the conditions.
        img_size: height and width of the images, px; any size will do, if it is that of the crops.
        freeze_bn_stats: keep the batch-norm statistics, also in training, of the backbone behind
            too; as in DeepLabCut not those of CSPNeXt, which has separate settings.
        freeze_bn_weights: do not train the scales and shifts of the same layers.

    Raises:
        ConfigError: the backbone behind reads conditions itself.
    """

    conditional = True

    def __init__(
        self,
        backbone: Backbone,
        kpt_encoder: StackedKeypointEncoder,
        img_size: Sequence[int] = (256, 256),
        freeze_bn_stats: Freeze = True,
        freeze_bn_weights: bool = True,
    ) -> None:
        if backbone.conditional:
            raise ConfigError(
                "model.backbone.backbone", "it reads conditions itself; choose one that does not."
            )
        layers = {
            "backbone": backbone,
            "rgb_preNet": nn.Sequential(
                *_convolution(IMAGE_CHANNELS, HIDDEN_CHANNELS, NEAR),
                *_convolution(HIDDEN_CHANNELS, IMAGE_CHANNELS, WIDE),
            ),
            "cond_preNet": nn.Sequential(
                *_convolution(kpt_encoder.num_channels, IMAGE_CHANNELS, WIDE)
            ),
            "cond_enc": kpt_encoder,
        }
        super().__init__(
            layers,
            random_weights=False,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        self.stride = backbone.stride
        self.out_channels = backbone.out_channels

    @property
    def random_weights(self) -> bool:
        """Return True if the backbone behind has learned nothing yet."""
        return bool(self.backbone.random_weights)

    @classmethod
    def check_inputs(cls, node: Mapping[str, Any], key: str, inputs: ModelInputs) -> None:
        """Reject an image size other than that of the crops."""
        check_image_size(node, key, inputs)

    def keypoint_axes(self, points: Points) -> KeypointAxes:
        """Return the axes: the image of the conditions is made of a map of each keypoint."""
        return KeypointAxes({"cond_preNet.0.weight": {1: Axis(points.channels(), reads=True)}})

    def forward(  # type: ignore[override]
        self, images: torch.Tensor, conditions: torch.Tensor
    ) -> torch.Tensor:
        """Return the feature map (b, out_channels, h / stride, w / stride).

        Args:
            images: (b, 3, h, w), normalised.
            conditions: (b, 1, k, 3), x px, y px, score; 0 means that the keypoint is missing.
        """
        maps = self.cond_enc(conditions, *images.shape[-2:])
        return self.backbone(self.rgb_preNet(images) + self.cond_preNet(maps))

    def _batch_norms(self) -> list[_BatchNorm]:
        found = super()._batch_norms()
        if isinstance(self.backbone, CSPNeXt):
            behind = {id(layer) for layer in self.backbone.modules()}
            found = [layer for layer in found if id(layer) not in behind]
        return found


def _convolution(channels: int, out_channels: int, kernel_size: int) -> tuple[nn.Module, ...]:
    """Return a convolution that keeps the size, and batch norm."""
    layer = nn.Conv2d(channels, out_channels, kernel_size, padding="same")
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer, nn.BatchNorm2d(out_channels)
