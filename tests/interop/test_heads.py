"""Heads beside the bodyparts are those that DeepLabCut adds for the same project, and do the same.

One process of DeepLabCut answers all questions of this file.
"""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from parity_support import RECORDS, Parity

from dlcexp.composition import compose
from dlcexp.config.build import build
from dlcexp.config.overrides import literal
from dlcexp.deeplabcut.export import export_config
from dlcexp.errors import ConfigError
from dlcexp.models.predictors import assign_identities, identity_scores

PROJECT = {
    "Task": "arena",
    "scorer": "me",
    "date": "Nov24",
    "project_path": "",
    "engine": "pytorch",
    "multianimalproject": True,
    "bodyparts": "MULTI!",
    "multianimalbodyparts": ["nose", "ear", "tail"],
    "uniquebodyparts": [],
    "individuals": ["anna", "bert", "carl"],
    "identity": None,
    "skeleton": [],
    "iteration": 0,
    "TrainingFraction": [0.8],
}
CORNERS = {"uniquebodyparts": ["left_corner", "right_corner"]}
PROJECTS = {
    "unique": CORNERS,
    "identity": {"identity": True},
    "both": {**CORNERS, "identity": True},
    "one animal": {**CORNERS, "identity": True, "individuals": ["anna"]},
    "single-animal": {
        "multianimalproject": False,
        "bodyparts": ["nose", "ear", "tail"],
        "identity": True,
        "individuals": None,
    },
    "neither": {"identity": False},
}
CASES = [
    *product(PROJECTS, ("dekr_w18", "resnet_50")),
    ("both", "hrnet_w32"),
    ("unique", "top_down_resnet_50"),
    ("identity", "rtmpose_s"),
]
TOP_DOWN = ("top_down_resnet_50", "rtmpose_s")
# Projects and net types whose model is built, and compared in every number.
BUILT = [("both", "dekr_w18"), ("both", "resnet_50"), ("single-animal", "resnet_50")]

TOLERANCE = 1e-4
PIXELS = 0.01


@pytest.fixture(scope="module")
def folder(deeplabcut: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What DeepLabCut says, in files PROJECT-NET.*; the projects in folders of their own."""
    folder = tmp_path_factory.mktemp("heads")
    orders = []
    for project, net in CASES:
        content = {**PROJECT, **PROJECTS[project], "project_path": str(folder / project)}
        (folder / project).mkdir(exist_ok=True)
        (folder / project / "config.yaml").write_text(yaml.safe_dump(content))
        orders.append(
            {
                "name": f"{project}-{net}",
                "project": content,
                "net_type": net.removeprefix("top_down_"),
                "top_down": net in TOP_DOWN,
                "numbers": (project, net) in BUILT,
            }
        )
    (folder / "orders.json").write_text(json.dumps(orders))
    deeplabcut("compute_heads", RECORDS / "fill.py", folder / "orders.json", folder)
    return folder


def words(folder: Path, project: str, net: str) -> list[str]:
    return [f"project={literal(str(folder / project))}", f"net_type={net}"]


@pytest.mark.parametrize(("project", "net"), CASES)
def test_the_same_heads_in_the_same_order_or_the_same_refusal(
    folder: Path, project: str, net: str
) -> None:
    refused = folder / f"{project}-{net}.txt"
    if refused.exists():
        with pytest.raises(ConfigError, match=r"^method: 'td' "):
            compose(*words(folder, project, net))
        return
    theirs = yaml.safe_load((folder / f"{project}-{net}.yaml").read_text())
    ours = yaml.safe_load(export_config(compose(*words(folder, project, net))))
    assert in_order(ours["model"]) == in_order(theirs["model"])
    for name in ("bodyparts", "unique_bodyparts", "individuals", "with_identity"):
        assert ours["metadata"][name] == theirs["metadata"][name]


def in_order(node: Any) -> Any:
    """Mappings as lists of pairs, so that their order counts."""
    if isinstance(node, dict):
        return [(key, in_order(value)) for key, value in node.items()]
    return [in_order(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize(("project", "net"), BUILT)
def test_every_number_is_the_same(folder: Path, parity: Parity, project: str, net: str) -> None:
    model = build(compose(*words(folder, project, net)).model, key="model")
    model.load_state_dict(parity.fill.fill_state_dict(model.state_dict()))
    with np.load(folder / f"{project}-{net}.npz") as file:
        theirs = dict(file)
    labels = {
        name.removeprefix("labels/"): torch.from_numpy(array)
        for name, array in theirs.items()
        if name.startswith("labels/")
    }
    with torch.inference_mode():
        outputs = model.eval()(torch.from_numpy(parity.fill.image(2, 96, 128)))
        targets = model.targets(outputs, labels)
        ours = {"output": outputs, "target": targets, "loss": model.losses(outputs, targets)}
        ours["prediction"] = predicted = model.predict(outputs)
    heads = [head for head in ("unique_bodypart", "identity") if head in model.heads]
    compared = []
    for name, expected in theirs.items():
        kind, head, *rest = name.split("/")
        if kind in ("output", "target", "prediction") and head in heads:
            value = ours[kind][head][rest[0]]
            value = value[rest[1]] if kind == "target" else value
        elif kind == "loss" and head.startswith(tuple(heads)):
            value = ours["loss"][head]
        else:
            continue
        compared.append(kind)
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(value, expected, atol=TOLERANCE * scale, err_msg=name)
    assert {"output", "target", "prediction", "loss"} == set(compared)
    total = float(theirs["loss/total_loss"])
    assert float(ours["loss"]["total_loss"]) == pytest.approx(total, rel=TOLERANCE)
    poses = predicted["bodypart"]["poses"]
    scores = identity_scores(poses, predicted["identity"]["heatmap"])
    final = assign_identities(poses, scores)
    for image in range(2):
        expected = theirs[f"final/{image}/bodyparts"][..., :3]
        np.testing.assert_allclose(final[image], expected, atol=PIXELS, rtol=TOLERANCE)
