"""The start of a run as text, for logs, tables and pages."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from dlcexp.config.build import backbones
from dlcexp.hub import ADDRESS
from dlcexp.vocabulary import AUTO, BACKBONE_STARTS, IMAGENET, POSE_WEIGHTS, RANDOM

# The column of tables, and the key of the final numbers.
START = "start"
_DETECTOR = "; detector: "

# The data of published weights, by the last part of their name in timm; most are ImageNet's.
_DATA = {
    r"lvd142m|lvd1689m": "self-supervised",
    r"in1k|in12k|in21k|in22k|imagenet": "ImageNet",
    r"DeepLabCut-Backbones": "human poses",
}


def start_of(tree: Mapping[str, Any]) -> str:
    """Return what the networks of a settled tree start from: `ImageNet, hrnet_w32.ms_in1k`.

    That of the pose model, and behind a semicolon that of a detector.
    """
    pose = _pose_start(tree)
    detector = (tree.get("detector") or {}) if tree.get("method") == "td" else None
    if detector is None:
        return pose
    taken = detector.get("snapshot")
    weights = f"snapshot {taken}" if taken else (detector.get("model") or {}).get("weights")
    return f"{pose}{_DETECTOR}{_text(weights)}"


def recorded_start(tree: Mapping[str, Any]) -> str | None:
    """Return the start by the tree of any run; None where that is damaged or not settled yet."""
    try:
        start = start_of(tree) if tree.get("model") else None
    except (AttributeError, TypeError):
        return None
    return None if start is None or AUTO in start.split(_DETECTOR) else start


def is_random(tree: Mapping[str, Any]) -> bool:
    """Return True if the pose model of a settled tree starts from random weights."""
    return _pose_start(tree) == RANDOM


def _pose_start(tree: Mapping[str, Any]) -> str:
    path = (tree.get("weights") or {}).get("path")
    if path is not None and path not in BACKBONE_STARTS:
        return str(path)
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
