"""DLCRNet: a ResNet whose last feature map is joined by those of two earlier stages.

Lauer et al., "Multi-animal pose estimation, identification and tracking with DeepLabCut", Nature
Methods 2022, figure 1c ("multi-fusion module").
"""

import torch
import torch.nn.functional as F
from torch import nn

from dlcexp.models.backbones.base import Backbone, Freeze
from dlcexp.models.backbones.resnet import create_resnet

OUTPUT_STRIDES = (16, 32)
# Channels of the first and the second stage of a ResNet with bottlenecks, and those they add.
STAGE1_CHANNELS = 256
STAGE2_CHANNELS = 512
FUSED_CHANNELS = 128
# As slow as in the published model: its statistics are those of ImageNet for long.
BATCH_NORM_MOMENTUM = 0.001


class DLCRNet(Backbone):
    """timm's ResNet, with its first two stages added to its last feature map.

    Args:
        model_name: "resnet50", "resnet101" or another ResNet of timm with bottlenecks.
        output_stride: image pixels per pixel of the feature map: 16 or 32.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        weights: see `dlcexp.models.backbones.pretrained`; those of the fusion are
            random in any case.
        pretrained: DeepLabCut's key; with False, `auto` weights are random ones.

    Raises:
        ConfigError: another output stride.
    """

    multianimal_only = True

    def __init__(
        self,
        model_name: str = "resnet50",
        output_stride: int = 32,
        freeze_bn_stats: Freeze = True,
        freeze_bn_weights: bool = True,
        weights: str | None = None,
        pretrained: bool = True,
    ) -> None:
        file = self.start_file(model_name=model_name, weights=weights, pretrained=pretrained)
        model = create_resnet(model_name, file, output_stride, OUTPUT_STRIDES)
        super().__init__(
            {
                "model": model,
                "conv_block1": _convolution(STAGE2_CHANNELS, STAGE2_CHANNELS, 3, stride=2),
                "conv_block2": _convolution(STAGE2_CHANNELS, FUSED_CHANNELS, 1),
                "conv_block3": _convolution(STAGE1_CHANNELS, STAGE1_CHANNELS, 3, stride=2),
                "conv_block4": _convolution(STAGE1_CHANNELS, STAGE1_CHANNELS, 3, stride=2),
                "conv_block5": _convolution(STAGE1_CHANNELS, FUSED_CHANNELS, 1),
            },
            random_weights=file is None,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        self.stride = output_stride
        self.out_channels = 2 * FUSED_CHANNELS + model.feature_info.channels()[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (b, 3, h, w) to features (b, out_channels, h / stride, w / stride)."""
        net = self.model
        stage1 = net.layer1(net.maxpool(net.act1(net.bn1(net.conv1(images)))))
        # The second stage is read before its last block.
        stage2 = net.layer2[:-1](stage1)
        last = net.layer4(net.layer3(net.layer2[-1](stage2)))
        fine = self.conv_block5(self.conv_block4(self.conv_block3(stage1)))
        middle = self.conv_block2(self.conv_block1(stage2))
        return torch.cat([_resized(fine, last), _resized(middle, last), last], dim=1)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride),
        nn.BatchNorm2d(outputs, momentum=BATCH_NORM_MOMENTUM),
        nn.ReLU(),
    )


def _resized(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the features at the resolution of others."""
    return F.interpolate(features, like.shape[-2:], mode="bilinear", antialias=True)
