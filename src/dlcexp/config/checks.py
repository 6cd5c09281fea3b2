"""Every mistake in a composed tree, found before anything is built.

Three passes over the plain tree: keys, types and limits against the schema; keywords of every
target against its signature; combinations of keys that make no sense together.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from dlcexp.config.augmentation_checks import check_batchable, validate_data
from dlcexp.config.augmentation_keys import SECTIONS, effective_menu
from dlcexp.config.build import allowing, build, check_targets, find_class
from dlcexp.config.callback_checks import check_callbacks
from dlcexp.config.conditions_checks import check_conditions
from dlcexp.config.paf_graph import check_graph
from dlcexp.config.schedule_checks import check_schedule
from dlcexp.config.schema import Tree
from dlcexp.config.signatures import type_in_words
from dlcexp.config.weights_checks import check_modules, weights_node
from dlcexp.errors import ConfigError, nearest, run_checks
from dlcexp.text import first_line, listed

# Keys that only a top-down tree has.
DETECTOR_KEYS = ("detector", "data_detector")
STAGES = ("detector", "pose")
_FREE_NODES = [field.name for field in dataclasses.fields(Tree) if field.type == dict[str, Any]]


def check_keys(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Check keys, types and limits of a plain, resolved tree; imports nothing heavy.

    Returns:
        The tree with its values converted to the types of the schema, in the schema's order.

    Raises:
        ConfigError: the first key that is unknown, missing, of the wrong type, or out of limits.
    """
    for name in DETECTOR_KEYS:
        if tree.get(name) and tree.get("method") in ("bu", "ctd"):
            raise needs_top_down(name, tree[name], tree["method"])
    tree = {**tree, "weights": weights_node(tree.get("weights"))}
    # The schema says nothing of what is inside of free nodes, and merging them is slow.
    free = {name: tree[name] for name in _FREE_NODES if isinstance(tree.get(name), dict)}
    try:
        typed = {name: {} if name in free else value for name, value in tree.items()}
        merged = OmegaConf.merge(OmegaConf.structured(Tree), typed)
    except ConfigKeyError as error:
        raise _unknown_key(str(error.full_key), tree) from error
    except OmegaConfBaseException as error:
        raise _wrong_type(str(error.full_key), error, tree) from error
    missing = OmegaConf.missing_keys(merged)
    if missing:
        raise ConfigError(min(missing), "must be given; it has no default.")
    plain = OmegaConf.to_container(merged)
    if not isinstance(plain, dict):
        raise TypeError("a tree is a mapping")
    tree = {str(name): free.get(str(name), value) for name, value in plain.items()}
    check_conditions(tree["conditions"], tree["method"])
    for node in (tree, tree["detector"] or {}):
        node["scheduler"] = node.get("scheduler") or None  # scheduler=none is an empty option
    _check_limits(Tree, tree, "")
    metadata, method = tree["metadata"], tree["method"]
    bodyparts = [*metadata["bodyparts"], *metadata["unique_bodyparts"]]
    validate_data(tree["data"], bodyparts, method=method)
    if method == "td":
        _check_detector_keys(tree)
        validate_data(tree["data_detector"], bodyparts, method=method, key="data_detector")
    return tree


def needs_top_down(key: str, value: Any, method: str = "bu") -> ConfigError:
    """The error for a key of the detector in a tree without one."""
    return ConfigError(
        key, f"{value!r} is about a detector, and method={method} has none. Add method=td."
    )


def _check_detector_keys(tree: Mapping[str, Any]) -> None:
    for name in DETECTOR_KEYS:
        if tree[name] is None:
            raise ConfigError(name, "must be given with method=td.")


def check_tree(tree: Mapping[str, Any]) -> None:
    """Check the targets and the combinations of a tree that passed `check_keys`; imports torch.

    Raises:
        ConfigError: names the key, its value, what is allowed and the nearest match.
    """
    check_combinations(tree)
    if tree["method"] != "bu":
        _check_top_down(tree)
    check_modules(tree["weights"], tree["model"])
    check_batchable(tree["data"], _backbone_recipe(tree).get("padding") or 1)
    if _head_name(tree) == "DLCRNetHead" and _has_graph(tree):
        check_graph(tree["model"]["heads"]["bodypart"], tree["metadata"]["bodyparts"])
    check_nodes(tree)
    with allowing(tree["allow_targets"]):
        _check_conditional(tree)
    if tree["detector"]:
        _check_variant(tree["detector"]["model"])


def _has_graph(tree: Mapping[str, Any]) -> bool:
    """Whether the head has all that belongs to a graph; what it lacks is told by its class."""
    head = tree["model"]["heads"]["bodypart"]
    nodes = [head.get(name) for name in ("predictor", "paf_config", "target_generator")]
    predictor, fields, _ = nodes
    return (
        all(isinstance(node, Mapping) for node in nodes)
        and {"graph", "edges_to_keep"} <= predictor.keys()
        and bool(fields.get("channels"))
        and isinstance(fields["channels"], list)
    )


def check_nodes(tree: Mapping[str, Any]) -> None:
    """Check every target of a tree against its signature, and schedules; imports torch.

    Raises:
        ConfigError: an unknown class, a keyword or a value that it does not take.
    """
    detector = tree["detector"] or {}
    with allowing(tree["allow_targets"]):
        nodes = {
            **{group: tree[group] for group in ("model", "optimizer", "scheduler", "logger")},
            **{
                f"detector.{group}": detector.get(group)
                for group in ("model", "optimizer", "scheduler")
            },
            **{
                f"{data}.{menu}": (tree[data] or {}).get(menu)
                for data in ("data", "data_detector")
                for menu in SECTIONS
            },
        }
        run_checks(
            *(partial(check_targets, node, key) for key, node in nodes.items()),
            partial(check_callbacks, tree),
            # A split costs nothing to build, and knows its limits.
            partial(build, tree["split"], key="split"),
            partial(check_schedule, tree["scheduler"], "scheduler"),
            partial(check_schedule, detector.get("scheduler"), "detector.scheduler"),
        )


def _check_limits(schema: type, values: Mapping[str, Any], prefix: str) -> None:
    for field in dataclasses.fields(schema):
        value = values[field.name]
        path = f"{prefix}{field.name}"
        if value is None:
            continue
        nested = _dataclass_of(field.type)
        if nested is not None:
            _check_limits(nested, value, f"{path}.")
            continue
        limits = field.metadata
        choices, pattern, minimum = limits["choices"], limits["pattern"], limits["minimum"]
        if choices and value not in choices:
            hint = nearest(str(value), choices)
            raise ConfigError(path, f"{value!r} is not one of {', '.join(choices)}.{hint}")
        if pattern and not re.fullmatch(pattern, str(value)):
            raise ConfigError(path, f"{value!r} is not allowed. Allowed: {limits['allowed']}.")
        if minimum is not None and value < minimum:
            raise ConfigError(path, f"{value!r} is below {minimum}, the smallest value allowed.")


def _dataclass_of(annotation: Any) -> type | None:
    """The dataclass in an annotation such as `Resize` or `Resize | None`."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if dataclasses.is_dataclass(candidate) and isinstance(candidate, type):
            return candidate
    return None


def _unknown_key(full_key: str, tree: Mapping[str, Any]) -> ConfigError:
    parent, _, name = full_key.rpartition(".")
    schema: type = Tree
    for part in parent.split(".") if parent else ():
        types = {field.name: field.type for field in dataclasses.fields(schema)}
        schema = _dataclass_of(types[part]) or Tree
    names = [field.name for field in dataclasses.fields(schema)]
    value = OmegaConf.select(OmegaConf.create(dict(tree)), full_key)
    return ConfigError(
        full_key, f"there is no such key (its value was {value!r}).{nearest(name, names)}"
    )


def check_combinations(tree: Mapping[str, Any]) -> None:
    """Refuse keys that are each right and wrong together; imports nothing heavy.

    Args:
        tree: one that passed `check_keys`.

    Raises:
        ConfigError: names the keys and what goes together.
    """
    metadata, head = tree["metadata"], _head_name(tree)
    animals = metadata["num_individuals"]
    _check_stages(tree["train"]["stages"], tree["method"])
    if tree["method"] == "bu" and head == "HeatmapHead" and animals > 1:
        raise ConfigError(
            "model",
            f"the heatmap model finds one animal, and the project has {animals} individuals. "
            "Use model=dekr or model=paf, or method=td.",
        )
    if tree["method"] == "bu" and head in ("RTMCCHead", "TransformerHead"):
        name = "rtmpose" if head == "RTMCCHead" else "tokenpose"
        raise ConfigError("model", f"{name} needs crops of one animal each. Add method=td.")
    if head == "DLCRNetHead" and metadata["num_bodyparts"] < 2:
        raise ConfigError("model", "part-affinity fields need at least two bodyparts.")
    dlcrnet = head == "DLCRNetHead" and _backbone_name(tree) == "DLCRNet"
    if dlcrnet and not metadata["multianimal"]:
        raise ConfigError(
            "model",
            "DLCRNet is for multi-animal projects, and this one is a single-animal project, for "
            "which DeepLabCut refuses it. Use model=heatmap, or model=paf with another backbone.",
        )
    _check_heads(tree)
    needs_center = head == "DEKRHead"
    if needs_center and not tree["with_center_keypoints"]:
        raise ConfigError("with_center_keypoints", "False, but model=dekr needs the centres: True.")
    if not needs_center and tree["with_center_keypoints"]:
        raise ConfigError(
            "with_center_keypoints",
            f"True, but {head or 'this head'} has no centre: False.",
        )
    known = [*metadata["bodyparts"], *metadata["unique_bodyparts"]]
    for bodypart in _comparison_bodyparts(tree):
        if bodypart not in known:
            raise ConfigError(
                "evaluation.comparison_bodyparts",
                f"the project has no bodypart {bodypart!r}; it has "
                f"{', '.join(known)}.{nearest(bodypart, known)}",
            )


def _check_heads(tree: Mapping[str, Any]) -> None:
    """Heads beside the bodyparts, which predict what the project must have."""
    metadata, heads = tree["metadata"], tree["model"].get("heads", {})
    if "bodypart" not in heads:
        raise ConfigError("model.heads", f"has {listed(heads)}, and no 'bodypart'.")
    if "unique_bodypart" in heads and not metadata["unique_bodyparts"]:
        raise ConfigError(
            "model.heads.unique_bodypart",
            "the project has no unique bodyparts (uniquebodyparts in its config.yaml). "
            "Leave it out of model/heads=, or say '~model.heads.unique_bodypart'.",
        )
    if "identity" in heads and not metadata["with_identity"]:
        raise ConfigError(
            "model.heads.identity",
            "the individuals of the project have no identity (identity: true in its config.yaml). "
            "Leave it out of model/heads=, or say '~model.heads.identity'.",
        )


def _check_stages(stages: list[str], method: str) -> None:
    allowed = STAGES if method == "td" else ("pose",)
    for stage in stages:
        if stage not in allowed:
            hint = nearest(stage, allowed)
            if stage in STAGES:
                raise needs_top_down("train.stages", stages, method)
            raise ConfigError(
                "train.stages", f"{stage!r} is not one of {', '.join(allowed)}.{hint}"
            )
    if stages != [stage for stage in allowed if stage in stages] or not stages:
        raise ConfigError(
            "train.stages",
            f"{stages!r} must name at least one stage, each once, in this order: "
            f"{', '.join(allowed)}.",
        )


def _check_top_down(tree: Mapping[str, Any]) -> None:
    """What a pose model and a project must be like for one crop an animal."""
    metadata, head, method = tree["metadata"], _head_name(tree), tree["method"]
    if head in ("DEKRHead", "DLCRNetHead"):
        name = "dekr" if head == "DEKRHead" else "a model of part-affinity fields"
        raise ConfigError(
            "model",
            f"{name} finds all animals in a frame, and method={method} shows it crops of one. "
            "Use model=heatmap, model=rtmpose or model=tokenpose, or method=bu.",
        )
    if metadata["unique_bodyparts"]:
        raise ConfigError(
            "method",
            f"{method!r} has no place for the project's unique bodyparts "
            f"({', '.join(metadata['unique_bodyparts'])}). Use method=bu.",
        )
    if metadata["with_identity"]:
        raise ConfigError(
            "method", f"{method!r} does not learn identity, as this project asks. Use method=bu."
        )
    for section in SECTIONS:
        crop = effective_menu(tree["data"], section)["top_down_crop"]
        if head == "RTMCCHead":
            _check_simcc_sizes(tree, crop["width"], crop["height"])
        if head == "TransformerHead":
            _check_token_sizes(tree, crop["width"], crop["height"])


def _check_conditional(tree: Mapping[str, Any]) -> None:
    """A model takes conditions where the method gives it some, drawn as large as its crops."""
    backbone, method = tree["model"].get("backbone") or {}, tree["method"]
    if "_target_" not in backbone:
        raise ConfigError("model.backbone", "has no '_target_'. Choose one with model/backbone=.")
    name = _backbone_name(tree)
    conditional = getattr(find_class(backbone["_target_"], "model.backbone"), "conditional", False)
    if method != "ctd":
        if conditional:
            raise ConfigError(
                "model.backbone",
                f"{name} corrects poses that it is given, and method={method} gives none. "
                "Add method=ctd.",
            )
        return
    if not conditional:
        raise ConfigError(
            "model.backbone",
            f"{name} cannot read the poses that method=ctd gives it. Use model/backbone=coam_w32, "
            "model/backbone=prenet_hrnet_w32 or another of coam_* and prenet_*.",
        )
    if name == "HRNetCoAM" and _head_name(tree) == "RTMCCHead":
        raise ConfigError(
            "model.backbone",
            "CoAM is for heatmaps, and model=rtmpose classifies. Use model/backbone="
            "prenet_cspnext_m or another of prenet_cspnext_*, or net_type=ctd_prenet_rtmpose_m.",
        )
    for section in SECTIONS:
        crop = effective_menu(tree["data"], section)["top_down_crop"]
        expected = [crop["height"], crop["width"]]
        _check_size("model.backbone.img_size", backbone.get("img_size", expected), expected)
        _check_kernel(backbone.get("kpt_encoder", {}).get("kernel_size"), expected)
    bodyparts = tree["metadata"]["num_bodyparts"]
    joints = backbone.get("kpt_encoder", {}).get("num_joints", bodyparts)
    if joints != bodyparts:
        raise ConfigError(
            "model.backbone.kpt_encoder.num_joints",
            f"{joints!r}, but the project has {bodyparts} bodyparts.",
        )


def _check_kernel(kernel: Any, crop: list[int]) -> None:
    """The blob drawn for a keypoint has a middle, and is mirrored where it leaves the crop."""
    if kernel is None:
        return
    odd = [isinstance(side, int) and side > 0 and side % 2 == 1 for side in kernel]
    if len(kernel) != 2 or not all(odd) or max(kernel) // 2 >= min(crop):
        raise ConfigError(
            "model.backbone.kpt_encoder.kernel_size",
            f"{kernel!r} is not allowed. Allowed: a width and a height, each an odd number of "
            f"pixels below twice the sides of the crops, {crop[1]} x {crop[0]}.",
        )


def _check_simcc_sizes(tree: Mapping[str, Any], width: int, height: int) -> None:
    """The SimCC head has a fixed number of classes, one set a side of the crop."""
    stride = _backbone_recipe(tree).get("stride", 1)
    _check_multiple("width", width, stride)
    _check_multiple("height", height, stride)
    head = tree["model"]["heads"]["bodypart"]
    for key, node in (("", head), (".target_generator", head["target_generator"])):
        path = f"model.heads.bodypart{key}.input_size"
        _check_size(path, node["input_size"], [width, height])
    path = "model.heads.bodypart.in_featuremap_size"
    _check_size(path, head["in_featuremap_size"], [width // stride, height // stride])


def _check_token_sizes(tree: Mapping[str, Any], width: int, height: int) -> None:
    """TokenPose cuts the feature map into patches, and its head draws a map of a fixed size."""
    stride = _backbone_recipe(tree).get("stride", 1)
    neck, head = tree["model"]["neck"], tree["model"]["heads"]["bodypart"]
    patch_height, patch_width = neck["patch_size"]
    _check_multiple("width", width, stride * patch_width)
    _check_multiple("height", height, stride * patch_height)
    expected = [height // stride, width // stride]
    _check_size("model.neck.feature_size", neck["feature_size"], expected)
    area = math.prod(head["heatmap_size"])
    if head["heatmap_dim"] != area:
        raise ConfigError(
            "model.heads.bodypart.heatmap_dim",
            f"{head['heatmap_dim']!r} is not the number of pixels of heatmap_size, {area}.",
        )


def _check_multiple(side: str, size: int, divisor: int) -> None:
    if size % divisor:
        raise ConfigError(
            f"data.top_down_crop.{side}",
            f"{size} is not a multiple of {divisor}, as this model needs.",
        )


def _check_size(key: str, size: list[int], expected: list[int]) -> None:
    if size != expected:
        raise ConfigError(
            key, f"{size!r} does not fit data.top_down_crop, which makes it {expected!r}."
        )


def _wrong_type(key: str, error: BaseException, tree: Mapping[str, Any]) -> ConfigError:
    value = OmegaConf.select(OmegaConf.create(dict(tree)), key)
    if "is not a ListConfig" in str(error):
        return ConfigError(key, f"{value!r} is not a list; write '{key}=[{value}]'.")
    field = _field_at(key)
    if field is None:
        return ConfigError(key, first_line(error))
    words = type_in_words(field.type)
    return ConfigError(
        key, f"{value!r} is not allowed. Allowed: {words} ({field.metadata['doc']})."
    )


def _field_at(key: str) -> dataclasses.Field[Any] | None:
    """The field of the schema at a dotted key, or the nearest one above it."""
    schema: type | None = Tree
    found = None
    for part in re.split(r"[.\[]", key):
        fields = {field.name: field for field in dataclasses.fields(schema)} if schema else {}
        found = fields.get(part, found)
        schema = _dataclass_of(fields[part].type) if part in fields else None
    return found


def _check_variant(detector: Mapping[str, Any]) -> None:
    """A Faster R-CNN is one of torchvision's, by its name there; SSDLite has no variants."""
    if not str(detector["_target_"]).endswith(".FasterRCNN"):
        if detector.get("variant") is not None:
            raise ConfigError(
                "detector.model.variant",
                f"{detector['variant']!r}, but SSDLite has none. Choose detector=fasterrcnn_... "
                "by its name.",
            )
        return
    from torchvision.models import detection, list_models

    known = list_models(module=detection, include="fasterrcnn_*")
    variant = detector.get("variant")
    if variant not in known:
        raise ConfigError(
            "detector.model.variant",
            f"{variant!r} is not one of {', '.join(known)}.{nearest(str(variant), known)}",
        )


def _head_name(tree: Mapping[str, Any]) -> str:
    heads = tree["model"].get("heads", {})
    return str(heads.get("bodypart", {}).get("_target_", "")).rpartition(".")[2]


def _backbone_name(tree: Mapping[str, Any]) -> str:
    return str(tree["model"].get("backbone", {}).get("_target_", "")).rpartition(".")[2]


def _backbone_recipe(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    recipe: Mapping[str, Any] = tree["model"].get("backbone", {}).get("recipe", {})
    return recipe


def _comparison_bodyparts(tree: Mapping[str, Any]) -> list[str]:
    wanted = tree["evaluation"]["comparison_bodyparts"]
    if wanted == "all":
        return []
    return [wanted] if isinstance(wanted, str) else [str(name) for name in wanted]
