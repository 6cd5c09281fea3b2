"""CSPNeXt, the backbone of RTMDet and RTMPose.

Lyu et al., "RTMDet: An Empirical Study of Designing Real-Time Object Detectors", arXiv 2212.07784;
Jiang et al., "RTMPose: Real-Time Multi-Person Pose Estimation based on MMPose", arXiv 2303.07399.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm.layers import ConvNormAct
from timm.models import load_state_dict
from timm.models.cspnext import CspNextLayer
from torch import nn

from dlcexp.errors import UserError
from dlcexp.hub import DLC_BACKBONES
from dlcexp.models.backbones.base import Backbone, Freeze
from dlcexp.models.backbones.pretrained import Published, create_timm_model, refuse_incomplete
from dlcexp.vocabulary import POSE_WEIGHTS

# RTMPose's weights, of seven data sets of human poses, which DeepLabCut starts from.
WITH_POSE_WEIGHTS = ("cspnext_s", "cspnext_m", "cspnext_x")

# In the order that snapshots and optimizers have them.
LAYER_ORDER = ("main_conv", "short_conv", "final_conv", "blocks", "attention")


class CSPNeXt(Backbone):
    """timm's CSPNeXt without its classification head, its layers named as in DeepLabCut.

    Args:
        model_name: "cspnext_s", "cspnext_m", "cspnext_x" or another CSPNeXt of timm.
        freeze_bn_stats: keep the batch-norm statistics, also in training.
        freeze_bn_weights: do not train the batch-norm scales and shifts.
        deepen_factor: blocks per stage, relative to 3, 6, 6, 3; None for those of the model.
        widen_factor: channels, relative to 128, 256, 512, 1024; None for those of the model.
        weights: see `dlcexp.models.backbones.pretrained`; a file may have the names of timm, MMPose
            or DeepLabCut. `pose` are those that DeepLabCut starts from, of human poses.
        pretrained: DeepLabCut's key; with False, `auto` weights are random ones.
    """

    stride = 32

    def __init__(
        self,
        model_name: str = "cspnext_m",
        freeze_bn_stats: Freeze = False,
        freeze_bn_weights: bool = False,
        deepen_factor: float | None = None,
        widen_factor: float | None = None,
        weights: str | None = None,
        pretrained: bool = True,
    ) -> None:
        file = self.start_file(model_name=model_name, weights=weights, pretrained=pretrained)
        factors = {"deepen_factor": deepen_factor, "widen_factor": widen_factor}
        given: dict[str, Any] = {
            name: factor for name, factor in factors.items() if factor is not None
        }
        model = create_timm_model(model_name, num_classes=0, **given)
        stages = {f"stage{i}": stage for i, stage in enumerate(model.stages, start=1)}
        super().__init__(
            {"stem": model.stem, **stages},
            random_weights=file is None,
            freeze_bn_stats=freeze_bn_stats,
            freeze_bn_weights=freeze_bn_weights,
        )
        _rename(self)
        if file is not None:
            self._load_file(file)
        self.out_channels = model.num_features

    @classmethod
    def published(cls, node: Mapping[str, Any]) -> Published:
        """Return the addresses of published weights: of human poses, and those of timm."""
        name = node.get("model_name")
        pose = {POSE_WEIGHTS: f"{DLC_BACKBONES}/{name}.pt"} if name in WITH_POSE_WEIGHTS else {}
        return {**pose, **super().published(node)}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the feature map (b, out_channels, h / 32, w / 32) of images (b, 3, h, w)."""
        features = images
        for stage in self.children():
            features = stage(features)
        return features

    def _load_file(self, path: Path) -> None:
        try:
            named = {_renamed(name): value for name, value in load_state_dict(str(path)).items()}
            missing = self.load_state_dict(named, strict=False).missing_keys
        except Exception as error:
            raise UserError(
                f"model.backbone.weights: {str(path)!r} does not fit: {error}"
            ) from error
        refuse_incomplete(path, missing)


class ConvModule(nn.Module):
    """A convolution of timm with batch norm and activation, its batch norm named `norm`."""

    def __init__(self, layer: ConvNormAct) -> None:
        super().__init__()
        self.conv = layer.conv
        self.norm = layer.bn

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (b, c, h, w) to features (b, c', h / stride, w / stride)."""
        return self.norm(self.conv(features))


def _rename(module: nn.Module) -> None:
    """Give the layers below a module the names and the order of the snapshots."""
    for name, child in list(module.named_children()):
        if isinstance(child, ConvNormAct):
            setattr(module, name, ConvModule(child))
        else:
            _rename(child)
    if isinstance(module, CspNextLayer):
        for name in LAYER_ORDER:
            module.add_module(name, module._modules.pop(name))


def _renamed(name: str) -> str:
    """Return the name that a weight of timm or MMPose has here."""
    name = name.removeprefix("backbone.").replace(".bn.", ".norm.")
    return re.sub(r"^stages\.(\d+)", lambda stage: f"stage{int(stage[1]) + 1}", name)
