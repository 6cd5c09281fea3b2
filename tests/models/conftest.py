"""The models of the parity records: built from DeepLabCut's own configs, filled as on record."""

import csv
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from dlcexp.config.build import build
from dlcexp.models import PoseModel

KINDS = {
    "backbone": "backbones",
    "kpt_encoder": "backbones",
    "neck": "necks",
    "heads": "heads",
    "predictor": "predictors",
    "target_generator": "targets",
    "generators": "targets",
    "criterion": "criterions",
}


class Parity:
    """Configs and records in the shared folder `parity`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = importlib.util.spec_from_file_location("fill", folder / "fill.py")
        self.fill = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.fill)
        # A net of one project has nearly all weights of the same of another, which comes next.
        self.fill.fill_tensor = lru_cache(maxsize=2048)(self.fill.fill_tensor)

    def node(self, project: str, net: str) -> dict[str, Any]:
        """The model of a recorded config, as a node of our tree."""
        folder = self.folder / "configs" / project
        # The model of a top-down net is the same with every detector.
        path = next(
            p for p in (folder / f"{net}.yaml", folder / f"{net}__ssdlite.yaml") if p.exists()
        )
        node = as_targets(yaml.safe_load(path.read_text(encoding="utf-8"))["model"])
        node.pop("pose_model")
        return {"_target_": "dlcexp.models.PoseModel", **node}

    def model(self, project: str, net: str) -> PoseModel:
        """That model with the weights of the record, in evaluation."""
        model = build(self.node(project, net), key="model")
        model.load_state_dict(self.fill.fill_state_dict(model.state_dict()))
        return model.eval()

    def record(self, project: str, net: str) -> dict[str, np.ndarray]:
        """The arrays on record."""
        with np.load(self.folder / "records" / project / f"{net}.npz") as file:
            return dict(file)

    def entries(self, project: str, net: str) -> list[tuple[str, str, str]]:
        """Name, shape and dtype of each entry of the state dict on record."""
        path = self.folder / "records" / project / f"{net}.keys.csv"
        with path.open(newline="", encoding="utf-8") as file:
            return [(row["name"], row["shape"], row["dtype"]) for row in csv.DictReader(file)]

    def images(self, recorded: dict[str, np.ndarray]) -> torch.Tensor:
        """The images of a record."""
        return torch.from_numpy(self.fill.image(*recorded["batch_height_width"]))

    def conditions(self, recorded: dict[str, np.ndarray]) -> torch.Tensor | None:
        """The conditions of a record; None for a model that takes none."""
        return torch.from_numpy(recorded["cond"]) if "cond" in recorded else None


def as_targets(node: Any, kind: str = "") -> Any:
    """The node with DeepLabCut's `type: X` written as `_target_: dlcexp.models.<kind>.X`."""
    if isinstance(node, list):
        return [as_targets(item, kind) for item in node]
    if not isinstance(node, dict):
        return node
    rest = {k: as_targets(v, KINDS.get(k, kind)) for k, v in node.items() if k != "type"}
    return {"_target_": f"dlcexp.models.{kind}.{node['type']}", **rest} if "type" in node else rest


@pytest.fixture(scope="session")
def parity(shared: Path) -> Parity:
    return Parity(shared / "parity")
