"""Necks: what stands between the feature map of a backbone and the heads."""

from dlcexp.models.necks.transformer import Transformer

__all__ = ["Transformer"]
