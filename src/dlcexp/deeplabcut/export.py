"""The tree written as DeepLabCut's `pytorch_config.yaml`.

`dlc3` is the form of DeepLabCut 3.0.2, equal key by key to what it writes itself for the same net
type; `flat` is the one-level form of its first PyTorch releases (the specification).
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig

from dlcexp.config.augmentation_keys import is_off
from dlcexp.config.build import backbones, iterate_targets, plain
from dlcexp.config.options import option, options
from dlcexp.config.resolvers import pose_metric, tree_hash
from dlcexp.deeplabcut.class_names import KINDS, LOGGER, POSE_MODEL, class_name, kind_at
from dlcexp.deeplabcut.defaults import CHOICES, MENU, schema_of, without_what_is_off, write_like
from dlcexp.deeplabcut.flat import flatten
from dlcexp.deeplabcut.layout import LAYOUT, fill
from dlcexp.deeplabcut.snapshots import best_snapshot
from dlcexp.errors import ConfigError
from dlcexp.files import expanded
from dlcexp.text import without_passwords
from dlcexp.trees import merged, select
from dlcexp.vocabulary import (
    AUTO,
    BACKBONE_STARTS,
    BODYPART,
    IDENTITY,
    POSE_CONFIG,
    SNAPSHOTS,
    UNIQUE_BODYPART,
)
from dlcexp.yaml_files import dump_yaml, read_mapping

# How metrics of validation frames begin.
_VAL = "val."
# Keys of ours that DeepLabCut's classes do not have.
_OURS = {"_partial_", "_convert_", "recipe", "weights"}

# Backbones whose batch norm DeepLabCut freezes without saying so.
_FROZEN_BACKBONES = ("DLCRNet", "CondPreNet")
_FROZEN = {"freeze_bn_stats": True, "freeze_bn_weights": True}

# What DeepLabCut leaves out of a configuration of DLCRNet.
_DLCRNET_DEFAULTS = {"apply_sigmoid": True, "clip_scores": False, "gradient_masking": False}
# What it notes there, and does not read.
_DLCRNET_NOTE = {"stride": 8}

# DeepLabCut's conditional models: backbone, head, and the family and sizes of their backbone.
_CONDITIONAL = {
    ("HRNetCoAM", "HeatmapHead", "hrnet"): "ctd_coam",
    ("CondPreNet", "HeatmapHead", "hrnet"): "ctd_prenet_hrnet",
    ("CondPreNet", "RTMCCHead", "cspnext"): "ctd_prenet_rtmpose",
}
_CONDITIONAL_SIZES = {"hrnet": ("w32", "w48"), "cspnext": ("s", "m", "x")}
# What DeepLabCut leaves out of their configurations.
_CONDITIONAL_DEFAULTS = {"gradient_masking": False, "apply_softmax": True}
_CONDITIONAL_DEFAULTS |= {"normalize_outputs": False}
# Those that it also has for the tall crops of people (height, width, px).
_OF_PEOPLE = ("ctd_coam_w48", "ctd_prenet_rtmpose_x")
_TALL = [384, 288]


def export_config(
    tree: Mapping[str, Any] | DictConfig,
    *,
    schema: str = "dlc3",
    path: Path | None = None,
    command: Sequence[str] = (),
) -> str:
    """Write a resolved tree as the text of a `pytorch_config.yaml`.

    Args:
        tree: the validated tree.
        schema: `dlc3`, `sectioned` or `flat`.
        path: where the file will stand, for `pose_config_path`; by default inside the project.
        command: the arguments of `dlcexp` that make the file, which begins with them as comments.
    """
    tree = plain(tree)
    text = dump_yaml(export_sections(tree, schema=schema, path=path))
    if not command:
        return text
    line = without_passwords(shlex.join(["dlcexp", *command]))
    made = [f"# {part}" for part in line.splitlines()]
    made.append(f"# dlcexp {version('dlcexp')}, {schema}, tree {tree_hash(dict(tree))}")
    made.append(f"# {_deeplabcuts_start(tree)}")
    return "\n".join([*made, text])


def _deeplabcuts_start(tree: Mapping[str, Any]) -> str:
    """Return what DeepLabCut starts from when it trains with an exported file."""
    node = [*backbones(tree["model"])][-1]
    if KINDS["backbone"].name_of(node["_target_"]) is None:
        return "DeepLabCut does not have this backbone."
    name = node.get("model_name") or node.get("base_model_name")
    data = "human poses" if class_name(node) == "CSPNeXt" else "ImageNet"
    return f"DeepLabCut starts {name} from weights of {data}, whatever is given here."


def export_sections(
    tree: Mapping[str, Any], *, schema: str = "dlc3", path: Path | None = None
) -> dict[str, Any]:
    """Return what `export_config` writes, as plain containers."""
    export = tree["export"]
    like = export.get("like")
    template = read_mapping(expanded(like)) if like else None
    sections = _dlc3(tree, path)
    flat = schema == "flat"
    if template is None or schema_of(template) != schema:
        if schema == "sectioned":
            return without_what_is_off(sections)
        return flatten(sections) if flat else sections
    explicit = _dlc3(tree, path, every_parameter=True)
    if flat:
        sections, explicit = flatten(sections), flatten(explicit)
    return write_like(template, sections, explicit, schema)


def cannot_build(tree: Mapping[str, Any] | DictConfig) -> str | None:
    """Return why DeepLabCut cannot use the export of this tree; None if it can."""
    tree = plain(tree)
    if unknown := list(_unknown_classes(tree)):
        return f"DeepLabCut cannot build this model. {'; '.join(unknown)}."
    if str(tree.get("conditions") or "").endswith(".csv"):
        return "DeepLabCut reads conditions from .h5 and .json files only, not from .csv."
    for key in ("data", "data_detector"):
        data = tree.get(key) or {}
        for menu in (data, *(data.get(section) or {} for section in ("train", "inference"))):
            resize = menu.get("resize") or {}
            if bool(resize.get("width")) != bool(resize.get("height")):
                return (
                    f"DeepLabCut refuses {key}.resize with only one of width and height: give "
                    f"both, or {key}.longest_max_size, the longer side, instead."
                )
    return None


def _unknown_classes(tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of the network and its training is of a class that DeepLabCut does not have."""
    for stage, prefix in ((tree, ""), (tree.get("detector") or {}, "detector.")):
        for part in ("model", "optimizer", "scheduler"):
            for path, node in iterate_targets(stage.get(part), f"{prefix}{part}"):
                kind = POSE_MODEL if path == "model" else kind_at(path)
                if kind and kind.name_of(node["_target_"]) is None:
                    yield f"{path}: no {kind.noun} {node['_target_']} (it has {kind.known})"


def cannot_say(tree: Mapping[str, Any] | DictConfig) -> str | None:
    """Return what changes training and has no key in DeepLabCut's file; None without any."""
    weights = {**(tree.get("weights") or {})}
    if weights.get("path") in BACKBONE_STARTS:
        del weights["path"]
    given = [
        f"weights.{name}"
        for name in ("path", "freeze", "lr_scale", "layer_decay")
        if weights.get(name)
    ]
    callbacks = [f"callbacks.{name}" for name in tree.get("callbacks") or {}]
    sentences = []
    if given or callbacks:
        all_of_it = (
            "trains all of the model, at one learning rate, from the weights of model.backbone"
        )
        consequences = [all_of_it] * bool(given) + ["runs no callbacks"] * bool(callbacks)
        sentences.append(
            f"DeepLabCut has no key for {', '.join([*given, *callbacks])}: with this file it "
            f"{', and '.join(consequences)}."
        )
    split = tree.get("split") or {}
    if split.get("val_fraction") not in (None, AUTO) or split.get("val"):
        sentences.append(
            "DeepLabCut has no validation frames: with this file they train, and test frames "
            "choose the best snapshot."
        )
    return " ".join(sentences) or None


def net_type(model: Mapping[str, Any]) -> str:
    """Return DeepLabCut's name of the whole model, derived from its backbone and head.

    A heatmap model bears the name of its backbone, bottom-up and top-down; so does a head on a
    backbone that DeepLabCut does not pair it with, as it refuses names that it does not know, and
    a model whose classes it does not have. A backbone without a name bears that of its class.
    """
    head = KINDS["heads"].name_of(model["heads"][BODYPART]["_target_"])
    node = model["backbone"]
    if head == "DLCRNetHead" and _backbone(model) == "DLCRNet":
        return f"dlcrnet_stride{node.get('output_stride', 32)}_ms5"
    inner = node.get("backbone") or node
    name = inner.get("model_name") or inner.get("base_model_name")
    backbone = re.sub(r"^(resnet)(\d+)(_gn)?$", r"\1_\2", str(name or class_name(node)))
    family, _, size = backbone.partition("_")
    own_class = _backbone(model)
    if own_class is None or head is None:
        return backbone
    conditional = _CONDITIONAL.get((own_class, head, family))
    if conditional and size in _CONDITIONAL_SIZES[family]:
        conditional = f"{conditional}_{size}"
        of_people = conditional in _OF_PEOPLE and node.get("img_size") == _TALL
        return f"{conditional}_human" if of_people else conditional
    if (head, family) == ("DEKRHead", "hrnet"):
        return f"dekr_{size}"
    if (head, family) == ("RTMCCHead", "cspnext"):
        return f"rtmpose_{size}"
    return "animaltokenpose_base" if head == "TransformerHead" else backbone


def _dlc3(
    tree: Mapping[str, Any], path: Path | None, *, every_parameter: bool = False
) -> dict[str, Any]:
    """The sections of DeepLabCut 3.0.2; without parameters of the optimizer at their defaults."""
    parts: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
        "model": lambda tree, path: _sorted_model(tree[path]),
        "net_type": lambda tree, path: net_type(tree[path]),
        "conditions": lambda tree, path: write_conditions(tree.get(path)),
        "metadata": lambda tree, _: _metadata(tree, path),
        "inference_menu": lambda tree, path: _menu(tree[path], "inference"),
        "train_menu": lambda tree, path: _menu(tree[path], "train"),
        "node": lambda tree, path: _typed(select(tree, path)),
        "optimizer": lambda tree, path: _optimizer(select(tree, path), every_parameter),
        "scheduler": lambda tree, path: _scheduler(select(tree, path)),
        "detector_scheduler": lambda tree, path: _detector_scheduler(select(tree, path)),
        "logger": lambda tree, path: _logger(tree[path]),
    }
    sections = cast(dict[str, Any], fill(LAYOUT, _loading(_chosen_by_test(tree)), parts))
    extra = dict(tree["export"].get("extra") or {})
    if not sections["detector"]:
        extra.pop("detector", None)
    return merged(sections, extra)


def _chosen_by_test(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tree with the key metrics that DeepLabCut has: it has no validation frames."""
    changed = dict(tree)
    for stage in ("trainer", "detector"):
        metric = select(tree, f"{stage}.key_metric")
        if tree.get(stage) and (metric is None or metric == _default_metric(tree, stage)):
            changed[stage] = {**tree[stage], **CHOICES[stage]}
        elif isinstance(metric, str) and metric.startswith(_VAL):
            changed[stage] = {**tree[stage], "key_metric": f"test.{metric.removeprefix(_VAL)}"}
    return changed


def _default_metric(tree: Mapping[str, Any], stage: str) -> str:
    """Return what chooses snapshots by default."""
    metadata = tree["metadata"]
    if stage == "detector":
        return f"{_VAL}mAP@50:95"
    return f"{_VAL}{pose_metric(metadata['num_bodyparts'], metadata['num_individuals'])}"


def _loading(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tree with DeepLabCut's way to load batches where it is left to the device."""
    recipe = (tree.get("recipe") or {}).get("num_workers") or 0
    changed = dict(tree)
    for stage, open_values in (
        ("trainer", {"num_workers": recipe, "pin_memory": False}),
        ("detector", {"num_workers": 0}),
    ):
        node = tree.get(stage) or {}
        settled = {name: value for name, value in open_values.items() if node.get(name) == AUTO}
        if settled:
            changed[stage] = {**node, **settled}
    return changed


def _sorted_model(node: Mapping[str, Any]) -> dict[str, Any]:
    model = _model(node)
    names = ("backbone", "heads", "backbone_output_channels", "neck")
    note = _DLCRNET_NOTE if _backbone(node) == "DLCRNet" else None
    return {name: model[name] for name in names} | {"pose_model": note}


def _detector_scheduler(node: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """As `_scheduler`, with the milestones first, where DeepLabCut has them for its detectors."""
    scheduler = _scheduler(node)
    if scheduler and "milestones" in scheduler["params"]:
        params = scheduler["params"]
        scheduler["params"] = {"milestones": params["milestones"]} | params
    return scheduler


def _metadata(tree: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    metadata, heads = tree["metadata"], tree["model"]["heads"]
    named = tree["export"].get("pose_config_path")
    # What DeepLabCut finds here, it looks for among the heads.
    unique = metadata["unique_bodyparts"] if UNIQUE_BODYPART in heads else []
    identity = metadata["with_identity"] and IDENTITY in heads
    root = expanded(tree["project"])
    if root.suffix:
        root = root.parent
    return {
        "project_path": str(root),
        "pose_config_path": str(path or root / (named or POSE_CONFIG)),
        "bodyparts": metadata["bodyparts"],
        "unique_bodyparts": unique,
        "individuals": metadata["individuals"],
        "with_identity": identity,
    }


def write_conditions(conditions: Any) -> dict[str, Any] | None:
    """Return the conditions section: where the poses to correct are."""
    if conditions is None:
        return None
    if isinstance(conditions, int):
        return shuffle_conditions(conditions)
    path = expanded(conditions).resolve()
    if not path.is_dir():
        return {"source": "file", "filepath": str(path)}
    snapshot = best_snapshot(path / SNAPSHOTS)
    if snapshot is None:
        problem = f"{conditions!r} has no snapshot; its training must finish."
        raise ConfigError("conditions", problem)
    return {
        "source": "model",
        "config_path": str(path / POSE_CONFIG),
        "snapshot_path": str(snapshot),
        "scorer": None,
    }


def shuffle_conditions(
    shuffle: int, fraction_index: int = 0, snapshot: str | None = None
) -> dict[str, Any]:
    """Return the conditions that a shuffle finds, by its number and the place of its fraction.

    `snapshot` is the name of the file of its weights; None: DeepLabCut's choice.
    """
    return {
        "source": "shuffle",
        "shuffle": shuffle,
        "config": None,
        "trainset_index": fraction_index,
        "modelprefix": "",
        "snapshot": snapshot,
        "snapshot_index": None,
    }


def _menu(data: Mapping[str, Any], section: str) -> dict[str, Any]:
    """One menu with every name that DeepLabCut knows; its own transforms last, by their type."""
    chosen = {name: data[name] for name in MENU if name in data} | data[section]
    for name in ("resize", "auto_padding"):
        if is_off(chosen.get(name)):
            chosen[name] = None
    if (chosen.get("random_bbox_transform") or {}).get("p") == 0:
        chosen["random_bbox_transform"] = None
    affine = _merged_affine(chosen)
    menu = {name: chosen.get(name, off) for name, off in MENU.items()}
    return menu | {"affine": affine}


def _merged_affine(menu: Mapping[str, Any]) -> Any:
    """The affine augmentation with the flat names `rotation` and `scale_jitter` put into it."""
    affine = menu.get("affine")
    flat = {"rotation": menu.get("rotation"), "scaling": menu.get("scale_jitter")}
    given = {name: value for name, value in flat.items() if value is not None}
    return {**(affine or {"p": 0.5}), **given} if given else affine


def _model(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model node, without the settings of heatmaps that are off.

    With DLCRNet and with conditions the defaults of some parts go too, as in DeepLabCut's own.
    """
    model: dict[str, Any] = _typed(node)
    head = model["heads"][BODYPART]
    if _backbone(node) in _FROZEN_BACKBONES:
        _omit(_FROZEN, model["backbone"])
    if _backbone(node) == "DLCRNet" and "paf_config" in head:
        _omit(_DLCRNET_DEFAULTS, head["predictor"], head["target_generator"]["generators"][0])
    if "kpt_encoder" in node["backbone"]:
        _omit(_CONDITIONAL_DEFAULTS, head["predictor"], head["target_generator"])
    for name in ("heatmap_config", "locref_config"):
        if (head.get(name) or {}).get("final_conv", head) is None:
            del head[name]["final_conv"]
    if not head["target_generator"].get("gradient_masking"):
        head["target_generator"].pop("background_weight", None)
    return model


def _omit(defaults: Mapping[str, Any], *nodes: dict[str, Any]) -> None:
    """Remove the values that are the defaults from the nodes."""
    for node in nodes:
        for name, default in defaults.items():
            if node.get(name) == default:
                del node[name]


def _backbone(model: Mapping[str, Any]) -> str | None:
    """DeepLabCut's name of the class of the backbone; None if it does not have it."""
    return KINDS["backbone"].name_of(model["backbone"]["_target_"])


def _typed(node: Any) -> Any:
    """A model node with `type: Name` where the tree has `_target_: package.Name`."""
    if isinstance(node, Mapping):
        typed = {"type": class_name(node)} if "_target_" in node else {}
        rest = {k: _typed(v) for k, v in node.items() if k != "_target_" and k not in _OURS}
        if rest.get("freeze_bn_stats") == AUTO:  # DeepLabCut starts from pretrained weights
            rest["freeze_bn_stats"] = True
        return typed | rest
    if isinstance(node, list):
        return [_typed(item) for item in node]
    return node


def _optimizer(node: Mapping[str, Any], every_parameter: bool = False) -> dict[str, Any]:
    """Type and the parameters that differ from the option's own, which are torch's defaults."""
    typed = _typed(node)
    name = typed.pop("type")
    defaults = {} if every_parameter else _option_values("optimizer", node["_target_"])
    params = {key: value for key, value in typed.items() if defaults.get(key, key) != value}
    return {"type": name, "params": params}


def _scheduler(node: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not node:
        return None
    typed = _typed({key: value for key, value in node.items() if key != "schedulers"})
    name = typed.pop("type")
    params = {key: value for key, value in typed.items() if value is not None}
    if "schedulers" in node:
        params = {"schedulers": [_scheduler(inner) for inner in node["schedulers"]], **params}
    return {"type": name, "params": params}


def _option_values(group: str, target: str) -> dict[str, Any]:
    """The literal values of the option of `group` that has this target."""
    values = (option(group, name).values for name in options(group))
    return next((each for each in values if each.get("_target_") == target), {})


def _logger(loggers: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the logger section; without one DeepLabCut logs to its CSV file."""
    for node in loggers.values():
        if name := LOGGER.name_of(node["_target_"]):
            settings = {name: value for name, value in node.items() if name[0] != "_"}
            own = {name: settings.pop(name, None) for name in ("project_name", "run_name")}
            more = {name: value for name, value in settings.items() if value not in (None, [])}
            return {"type": name, **own} | ({"wandb_kwargs": more} if more else {})
    return None
