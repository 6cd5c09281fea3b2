"""The models of the parity records: built from DeepLabCut's own configs, filled as on record."""

import csv
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml

from dlcexp.config.build import build
from dlcexp.models import PoseModel

KINDS = {
    "backbone": "backbones",
    "heads": "heads",
    "predictor": "predictors",
    "target_generator": "targets",
    "generators": "targets",
    "criterion": "criterions",
}


def pose_model(shared: Path, project: str, net: str) -> PoseModel:
    """The model of a recorded config, with the weights of the record, in evaluation."""
    path = shared / "parity" / "configs" / project / f"{net}.yaml"
    node = as_targets(yaml.safe_load(path.read_text(encoding="utf-8"))["model"])
    node.pop("pose_model")
    model = build({"_target_": "dlcexp.models.PoseModel", **node}, key="model")
    model.load_state_dict(fill(shared).fill_state_dict(model.state_dict()))
    return model.eval()


def as_targets(node: Any, kind: str = "") -> Any:
    """The node with DeepLabCut's `type: X` written as `_target_: dlcexp.models.<kind>.X`."""
    if isinstance(node, list):
        return [as_targets(item, kind) for item in node]
    if not isinstance(node, dict):
        return node
    rest = {k: as_targets(v, KINDS.get(k, kind)) for k, v in node.items() if k != "type"}
    return {"_target_": f"dlcexp.models.{kind}.{node['type']}", **rest} if "type" in node else rest


def record(shared: Path, project: str, net: str) -> dict[str, np.ndarray]:
    """The arrays on record."""
    with np.load(shared / "parity" / "records" / project / f"{net}.npz") as file:
        return dict(file)


def recorded_entries(shared: Path, project: str, net: str) -> list[tuple[str, str, str]]:
    """Name, shape and dtype of each entry of the state dict on record."""
    path = shared / "parity" / "records" / project / f"{net}.keys.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["name"], row["shape"], row["dtype"]) for row in csv.DictReader(file)]


@cache
def fill(shared: Path) -> ModuleType:
    """The module that made the weights, images and labels of the records."""
    spec = importlib.util.spec_from_file_location("fill", shared / "parity" / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def images(shared: Path, recorded: dict[str, np.ndarray]) -> torch.Tensor:
    """The images of a record."""
    return torch.from_numpy(fill(shared).image(*recorded["batch_height_width"]))


def labels(recorded: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The labels of a record."""
    return {name: torch.from_numpy(recorded[name]) for name in ("keypoints", "area")}


def relative_error(value: torch.Tensor, recorded: np.ndarray) -> float:
    """Largest difference, relative to the largest absolute value on record."""
    difference = np.abs(value.double().numpy() - recorded).max()
    return float(difference / max(np.abs(recorded).max(), 1e-12))
