"""Heads: what turns a feature map into the maps that poses are decoded from."""

from dlcexp.models.heads.base import Head
from dlcexp.models.heads.dekr import DEKRHead
from dlcexp.models.heads.dlcrnet import DLCRNetHead
from dlcexp.models.heads.heatmap import HeatmapHead
from dlcexp.models.heads.rtmpose import RTMCCHead
from dlcexp.models.heads.transformer import TransformerHead

__all__ = ["DEKRHead", "DLCRNetHead", "Head", "HeatmapHead", "RTMCCHead", "TransformerHead"]
