"""Criterions: the loss of a map against its target."""

from dlcexp.models.criterions.base import Criterion
from dlcexp.models.criterions.dekr import DEKRHeatmapLoss, DEKROffsetLoss
from dlcexp.models.criterions.simcc import KLDiscreteLoss
from dlcexp.models.criterions.weighted import (
    WeightedBCECriterion,
    WeightedHuberCriterion,
    WeightedMSECriterion,
)

__all__ = [
    "Criterion",
    "DEKRHeatmapLoss",
    "DEKROffsetLoss",
    "KLDiscreteLoss",
    "WeightedBCECriterion",
    "WeightedHuberCriterion",
    "WeightedMSECriterion",
]
