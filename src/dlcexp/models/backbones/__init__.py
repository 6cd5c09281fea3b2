"""Backbones: networks that turn an image into one feature map."""

from dlcexp.models.backbones.base import Backbone
from dlcexp.models.backbones.hrnet import HRNet
from dlcexp.models.backbones.timm_backbone import TimmBackbone, timm_feature_info

__all__ = ["Backbone", "HRNet", "TimmBackbone", "timm_feature_info"]
