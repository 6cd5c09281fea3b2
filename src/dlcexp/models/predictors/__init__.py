"""Predictors: decode the maps of a head into poses."""

from dlcexp.models.predictors.base import Predictor
from dlcexp.models.predictors.dekr import DEKRPredictor
from dlcexp.models.predictors.heatmap import HeatmapPredictor
from dlcexp.models.predictors.identity import (
    IdentityPredictor,
    assign_identities,
    identity_scores,
)
from dlcexp.models.predictors.paf import PartAffinityFieldPredictor
from dlcexp.models.predictors.simcc import SimCCPredictor

__all__ = [
    "DEKRPredictor",
    "HeatmapPredictor",
    "IdentityPredictor",
    "PartAffinityFieldPredictor",
    "Predictor",
    "SimCCPredictor",
    "assign_identities",
    "identity_scores",
]
