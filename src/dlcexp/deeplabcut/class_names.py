"""The classes that DeepLabCut 3.0.2 builds, by name, and where their equals are here.

A file of DeepLabCut has the name of a class as `type`; the tree has its full path as `_target_`. A
subclass is another class, which DeepLabCut does not have.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LR_LIST = "dlcexp.training.schedulers.LRListScheduler"


@dataclass(frozen=True)
class Kind:
    """Classes of one kind.

    Attributes:
        noun: what one of them is, in a message.
        package: where they are here.
        names: those that DeepLabCut has; None: whatever the package has.
        others: further ones, by their full path.
    """

    noun: str
    package: str
    names: tuple[str, ...] | None = None
    others: tuple[str, ...] = ()

    def name_of(self, target: str) -> str | None:
        """Return DeepLabCut's name of a class; None if it does not have it."""
        name = target.rpartition(".")[2]
        is_here = target.startswith(f"{self.package}.")
        known = is_here and (self.names is None or name in self.names)
        return name if known or target in self.others else None

    @property
    def known(self) -> str:
        """Return the names that DeepLabCut has of this kind, for a message."""
        names = [f"those of {self.package}"] if self.names is None else self.names
        return ", ".join([*names, *(target.rpartition(".")[2] for target in self.others)])


POSE_MODEL = Kind("pose model", "dlcexp.models", ("PoseModel",))
LOGGER = Kind("logger", "dlcexp.training.loggers", ("WandbLogger",))


def _ours(noun: str, package: str, names: str) -> Kind:
    return Kind(noun, f"dlcexp.models.{package}", tuple(names.split()))


# By the key that holds such classes, directly or deeper.
KINDS = {
    "backbone": _ours("backbone", "backbones", "HRNet ResNet CSPNeXt DLCRNet HRNetCoAM CondPreNet"),
    "kpt_encoder": _ours("keypoint encoder", "backbones", "StackedKeypointEncoder"),
    "neck": _ours("neck", "necks", "Transformer"),
    "heads": _ours("head", "heads", "DEKRHead DLCRNetHead HeatmapHead RTMCCHead TransformerHead"),
    "target_generator": _ours(
        "target generator",
        "targets",
        "DEKRGenerator HeatmapGaussianGenerator HeatmapPlateauGenerator PartAffinityFieldGenerator "
        "SequentialGenerator SimCCGenerator",
    ),
    "criterion": _ours(
        "criterion",
        "criterions",
        "DEKRHeatmapLoss DEKROffsetLoss KLDiscreteLoss WeightedBCECriterion WeightedHuberCriterion "
        "WeightedMSECriterion",
    ),
    "predictor": _ours(
        "predictor",
        "predictors",
        "DEKRPredictor HeatmapPredictor IdentityPredictor PartAffinityFieldPredictor "
        "SimCCPredictor",
    ),
    "detector": _ours("detector", "detectors", "FasterRCNN SSDLite"),
    "optimizer": Kind("optimizer", "torch.optim"),
    "scheduler": Kind("scheduler", "torch.optim.lr_scheduler", others=(LR_LIST,)),
}


def class_name(node: Mapping[str, Any]) -> str:
    """Return the name of the class of a node; empty if it has none."""
    return str(node.get("_target_", "")).rpartition(".")[2]


def kind_at(path: str) -> Kind | None:
    """Return the kind of the classes at a dotted path, by the nearest key that has one."""
    parts = re.split(r"[.\[\]]+", path)
    return next((KINDS[part] for part in reversed(parts) if part in KINDS), None)
