"""Target generators: draw what the maps of a head should be."""

from dlcexp.models.targets.base import TargetGenerator
from dlcexp.models.targets.dekr import DEKRGenerator
from dlcexp.models.targets.heatmap import HeatmapGaussianGenerator, HeatmapPlateauGenerator
from dlcexp.models.targets.paf import PartAffinityFieldGenerator
from dlcexp.models.targets.sequential import SequentialGenerator
from dlcexp.models.targets.simcc import SimCCGenerator

__all__ = [
    "DEKRGenerator",
    "HeatmapGaussianGenerator",
    "HeatmapPlateauGenerator",
    "PartAffinityFieldGenerator",
    "SequentialGenerator",
    "SimCCGenerator",
    "TargetGenerator",
]
