"""The start of each network, made definite once, when a run or a sweep begins.

The tree of a run holds what `auto` and `imagenet` became: an address, a file, or null for random
weights. Further processes read it there, and so does the run when it is resumed, whether or not
the network is there.
"""

import copy
from collections.abc import MutableMapping
from typing import Any

from dlcexp.config.build import allowing, backbones, find_class
from dlcexp.models.backbones.pretrained import weights_file
from dlcexp.models.detectors import available_weights
from dlcexp.runs.stages import DETECTOR, POSE
from dlcexp.runs.started_from import named_source
from dlcexp.training.weights_file import backbone_name
from dlcexp.vocabulary import AUTO

# What `auto` became, by class and name of a network, for the runs that follow.
Settled = MutableMapping[str, str | None]


def settled(tree: dict[str, Any], known: Settled) -> dict[str, Any]:
    """Return a plain tree with what its networks will start from.

    Args:
        tree: resolved and checked.
        known: what `auto` became for other runs of a sweep; more is added.

    Raises:
        UserError: weights that are asked for are not available.
    """
    tree = copy.deepcopy(tree)
    trained = tree["train"]["stages"]
    with allowing(tree.get("allow_targets") or []):
        if POSE in trained:
            _settle_pose(tree, known)
    detector = tree.get("detector") or {}
    if DETECTOR in trained and not detector.get("snapshot"):
        model = detector["model"]
        if model.get("weights") == AUTO:
            name = f"{model['_target_']} {model.get('variant') or ''}".strip()
            if name not in known:
                known[name] = available_weights(model.get("variant"))
            model["weights"] = known[name]
        if model.get("freeze_bn_stats") == AUTO:
            model["freeze_bn_stats"] = model.get("weights") is not None
    return tree


def _settle_pose(tree: dict[str, Any], known: Settled) -> None:
    nodes = list(backbones(tree["model"]))
    pretrained = named_source(tree["weights"]) is not None
    for node in nodes:
        if "weights" in node:
            node["weights"] = _start(node, known)
            pretrained = pretrained or node["weights"] is not None
    for node in nodes:
        if node.get("freeze_bn_stats") == AUTO:
            node["freeze_bn_stats"] = pretrained


def _start(node: dict[str, Any], known: Settled) -> str | None:
    """Return where the weights of a backbone are, which `auto` and names fetch; None: random."""
    backbone: Any = find_class(node["_target_"], "model.backbone._target_")
    is_open = node["weights"] == AUTO and node.get("pretrained") is not False
    name = f"{node['_target_']} {backbone_name(node) or ''}".strip()
    if is_open and name in known:
        return known[name]
    start: str | None = backbone.start(node)
    if start is not None and start != node["weights"]:
        weights_file(start)
    if is_open:
        known[name] = start
    return start
