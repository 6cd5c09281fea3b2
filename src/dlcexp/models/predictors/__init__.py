"""Predictors: decode the maps of a head into poses."""

from dlcexp.models.predictors.base import Predictor
from dlcexp.models.predictors.dekr import DEKRPredictor
from dlcexp.models.predictors.heatmap import HeatmapPredictor
from dlcexp.models.predictors.paf import PartAffinityFieldPredictor
from dlcexp.models.predictors.simcc import SimCCPredictor

__all__ = [
    "DEKRPredictor",
    "HeatmapPredictor",
    "PartAffinityFieldPredictor",
    "Predictor",
    "SimCCPredictor",
]
