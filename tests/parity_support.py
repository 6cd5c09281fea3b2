"""What DeepLabCut 3.0.2 writes and computes for a project, as recorded in `parity/`."""

import csv
import importlib.util
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from dlcexp.config.build import build
from dlcexp.models import PoseModel

RECORDS = Path(__file__).parent / "parity"
SHARED = Path(__file__).resolve().parents[2] / "shared"
# Records of openfield are in the repository, those of other projects next to the checkout.
PLACES = (RECORDS, SHARED / "parity")

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


def config_files() -> list[Path]:
    """Return the `pytorch_config.yaml` of every project and net type on record, by name."""
    files = [file for place in PLACES for file in place.glob("configs/*/*.yaml")]
    unique = {f"{file.parent.name}/{file.stem}": file for file in reversed(files)}
    return [unique[name] for name in sorted(unique)]


class Parity:
    """Configs and records of projects, by the name of the project.

    Args:
        folder: where to write the `config.yaml` of the projects.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fill = load_fill()

    def place(self, project: str) -> Path:
        """Return the folder with the records of a project; skip the test where there is none."""
        for place in PLACES:
            if (place / "records" / project).is_dir():
                return place
        pytest.skip(f"the records of {project} are not next to this checkout")

    def project(self, name: str) -> Path:
        """Return a DeepLabCut project with the bodyparts and individuals on record, no images."""
        root = self.folder / name
        if not root.is_dir():
            file = self.place(name) / "configs" / name / "resnet_50.yaml"
            metadata = yaml.safe_load(file.read_text(encoding="utf-8"))["metadata"]
            root.mkdir()
            text = yaml.safe_dump(project_config(name, metadata), sort_keys=False)
            (root / "config.yaml").write_text(text, encoding="utf-8")
        return root

    def config(self, project: str, name: str) -> str:
        """Return the `pytorch_config.yaml` on record, for the project in `project(...)`."""
        file = self.place(project) / "configs" / project / f"{name}.yaml"
        return file.read_text(encoding="utf-8").replace("PROJECT", self.project(project).as_posix())

    def node(self, project: str, net: str) -> dict[str, Any]:
        """Return the model of a recorded config as a node of our tree."""
        folder = self.place(project) / "configs" / project
        # The model of a top-down net is the same with every detector.
        path = next(
            p for p in (folder / f"{net}.yaml", folder / f"{net}__ssdlite.yaml") if p.exists()
        )
        node = as_targets(yaml.safe_load(path.read_text(encoding="utf-8"))["model"])
        node.pop("pose_model")
        return {"_target_": "dlcexp.models.PoseModel", **node}

    def model(self, project: str, net: str) -> PoseModel:
        """Return that model with the weights of the record, in evaluation mode."""
        model = build(self.node(project, net), key="model")
        model.load_state_dict(self.fill.fill_state_dict(model.state_dict()))
        return model.eval()

    def record(self, project: str, net: str) -> dict[str, np.ndarray]:
        """Return the arrays on record."""
        with np.load(self.place(project) / "records" / project / f"{net}.npz") as file:
            return dict(file)

    def entries(self, project: str, net: str) -> list[tuple[str, str, str]]:
        """Return name, shape and dtype of each entry of the state dict on record.

        `project` is "detectors" for the detectors, which are the same for every project.
        """
        path = self.place(project) / "records" / project / f"{net}.keys.csv"
        with path.open(newline="", encoding="utf-8") as file:
            return [(row["name"], row["shape"], row["dtype"]) for row in csv.DictReader(file)]

    def images(self, recorded: dict[str, np.ndarray]) -> torch.Tensor:
        """Return the images of a record, (b, 3, h, w)."""
        return torch.from_numpy(self.fill.image(*recorded["batch_height_width"]))

    def conditions(self, recorded: dict[str, np.ndarray]) -> torch.Tensor | None:
        """Return the conditions of a record; None for a model that takes none."""
        return torch.from_numpy(recorded["cond"]) if "cond" in recorded else None


def load_fill() -> ModuleType:
    """Load `fill.py` of the records: weights and images as functions of name and shape."""
    spec: Any = importlib.util.spec_from_file_location("fill", RECORDS / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # A net of one project has nearly all weights of the same net of the next project.
    module.fill_tensor = lru_cache(maxsize=2048)(module.fill_tensor)  # type: ignore[attr-defined]
    return module


def entries_of(model: torch.nn.Module) -> list[tuple[str, str, str]]:
    """Return name, shape and dtype of each entry of a state dict, written as the records are."""
    return [
        (name, "x".join(map(str, tensor.shape)), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in model.state_dict().items()
    ]


def project_config(name: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the `config.yaml` of a project with the bodyparts and individuals of a record."""
    several = len(metadata["individuals"]) > 1
    config = {"Task": name, "scorer": "me", "date": "Nov24", "multianimalproject": several}
    if not several:
        return config | {"bodyparts": metadata["bodyparts"]}
    return config | {
        "identity": metadata["with_identity"],
        "individuals": metadata["individuals"],
        "multianimalbodyparts": metadata["bodyparts"],
        "uniquebodyparts": metadata["unique_bodyparts"],
        "bodyparts": "MULTI!",
    }


def as_targets(node: Any, kind: str = "") -> Any:
    """Return the node with DeepLabCut's `type: X` as `_target_: dlcexp.models.<kind>.X`."""
    if isinstance(node, list):
        return [as_targets(item, kind) for item in node]
    if not isinstance(node, dict):
        return node
    rest = {k: as_targets(v, KINDS.get(k, kind)) for k, v in node.items() if k != "type"}
    return {"_target_": f"dlcexp.models.{kind}.{node['type']}", **rest} if "type" in node else rest
