"""Predictors: decode the maps of a head into poses."""

from dlcexp.models.predictors.base import Predictor
from dlcexp.models.predictors.dekr import DEKRPredictor

__all__ = ["DEKRPredictor", "Predictor"]
