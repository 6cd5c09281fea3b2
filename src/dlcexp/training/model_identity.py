"""The model that poses come from, as values that differ where it may find other poses."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dlcexp.files import digest, hashed
from dlcexp.runs.folder import plain
from dlcexp.training.conditions import ConditionSource

# Keys of the tree that decide which poses given weights find.
_DECIDING = ("method", "metadata", "model", "data", "detector", "data_detector")


def model_identity(
    cfg: DictConfig, snapshot: Path, detector: Path | None, conditions: ConditionSource | None
) -> dict[str, Any]:
    """Return plain values by name that decide which poses are found in a frame.

    Args:
        cfg: the resolved tree.
        snapshot, detector: weights of the pose model, and of the detector if there is one.
        conditions: what a conditional model starts from, see `condition_source`.
    """
    tree = plain(cfg)
    return {
        "weights": digest(snapshot),
        "detector": digest(detector) if detector else None,
        "conditions": digest(conditions.file) if conditions else None,
        "configuration": hashed({key: tree.get(key) for key in _DECIDING}),
    }
