"""Backbones: networks that turn an image into one feature map."""

from dlcexp.models.backbones.base import Backbone
from dlcexp.models.backbones.coam import HRNetCoAM
from dlcexp.models.backbones.cspnext import CSPNeXt
from dlcexp.models.backbones.dlcrnet import DLCRNet
from dlcexp.models.backbones.hrnet import HRNet
from dlcexp.models.backbones.keypoint_encoder import StackedKeypointEncoder
from dlcexp.models.backbones.prenet import CondPreNet
from dlcexp.models.backbones.resnet import ResNet
from dlcexp.models.backbones.timm_backbone import TimmBackbone

__all__ = [
    "Backbone",
    "CSPNeXt",
    "CondPreNet",
    "DLCRNet",
    "HRNet",
    "HRNetCoAM",
    "ResNet",
    "StackedKeypointEncoder",
    "TimmBackbone",
]
