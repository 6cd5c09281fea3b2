"""The start of a run as text, for logs, tables and pages."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from dlcexp.config.build import backbones
from dlcexp.config.model_checks import STAGES
from dlcexp.hub import ADDRESS
from dlcexp.vocabulary import AUTO, BACKBONE_STARTS, IMAGENET, POSE_WEIGHTS, RANDOM

# The column of tables, and the key of the final numbers.
START = "start"
DETECTOR, POSE = STAGES
_DETECTOR, _BETWEEN = "detector: ", "; "

# The data of published weights, by the last part of their name in timm; most are ImageNet's.
_DATA = {
    r"lvd142m|lvd1689m": "self-supervised",
    r"in1k|in12k|in21k|in22k|imagenet": "ImageNet",
    r"DeepLabCut-Backbones": "human poses",
}


def start_of(tree: Mapping[str, Any]) -> str:
    """Return what the networks of a settled tree start from: `ImageNet, hrnet_w32.ms_in1k`.

    That of the pose model, and behind a semicolon that of the detector, of those that it has.
    """
    starts = _starts(tree)
    texts = [starts[POSE]] if POSE in starts else []
    texts += [_DETECTOR + starts[DETECTOR]] if DETECTOR in starts else []
    return _BETWEEN.join(texts)


def named_source(weights: Mapping[str, Any]) -> str | None:
    """Return the file, folder, address or SuperAnimal that a node `weights` names; else None."""
    path = weights.get("path")
    return None if path is None or path in BACKBONE_STARTS else str(path)


def recorded_start(tree: Mapping[str, Any]) -> str | None:
    """Return the start by the tree of any run; None where that is damaged or not settled yet."""
    try:
        start = start_of(tree) if tree.get("model") else None
    except (AttributeError, TypeError):
        return None
    return (
        None
        if start is None or AUTO in [part.removeprefix(_DETECTOR) for part in start.split(_BETWEEN)]
        else start
    )


def random_starts(tree: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether each network that a settled tree has, by its stage, starts at random."""
    return {stage: start == RANDOM for stage, start in _starts(tree).items()}


def _starts(tree: Mapping[str, Any]) -> dict[str, str]:
    """Return the start of each network of a tree as text, by its stage."""
    trained = (tree.get("train") or {}).get("stages") or STAGES
    starts = {POSE: _pose_start(tree)} if POSE in trained else {}
    detector = (tree.get("detector") or {}) if tree.get("method") == "td" else {}
    if taken := detector.get("snapshot"):
        starts[DETECTOR] = f"snapshot {taken}"
    elif detector and DETECTOR in trained:
        starts[DETECTOR] = _text((detector.get("model") or {}).get("weights"))
    return starts


def _pose_start(tree: Mapping[str, Any]) -> str:
    if source := named_source(tree.get("weights") or {}):
        return source
    nodes = [node for node in backbones(tree.get("model") or {}) if "weights" in node]
    return _text(nodes[-1]["weights"] if nodes else None)


def _text(weights: Any) -> str:
    """Return a start as text; an address without its owner, with the data it was trained on."""
    if weights is None:
        return RANDOM
    text = {"hub": "ImageNet", IMAGENET: "ImageNet", POSE_WEIGHTS: "human poses"}.get(weights)
    if text or weights in (AUTO, RANDOM):
        return str(text or weights)
    if weights == "coco":
        return "COCO"
    if not str(weights).startswith(ADDRESS):
        return str(weights)
    data = next((data for pattern, data in _DATA.items() if re.search(pattern, weights)), "hub")
    name = weights.removeprefix(ADDRESS).partition("/")[2]
    return f"{data}, {PurePath(name).name if data == 'human poses' else name}"
