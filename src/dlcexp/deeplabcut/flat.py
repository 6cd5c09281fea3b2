"""The flat form of `pytorch_config.yaml` (December 2023 to March 2024, the specification).

It has one level where DeepLabCut 3.0 has sections, and fewer settings. `PLACES` holds the settings
that both have, for both directions.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dlcexp.config.overrides import shortened
from dlcexp.deeplabcut.defaults import FOLLOWERS, MENU, assume
from dlcexp.trees import leaves, put, same, select

_Conversion = Callable[[Any], Any]

# The flat key and its place in the sections of DeepLabCut 3.0, in the order of the flat form.
PLACES = {
    "batch_size": "train_settings.batch_size",
    "colormode": "data.colormode",
    "data": "data",
    "data_detector": "detector.data",
    "detector.model": "detector.model",
    "detector.optimizer": "detector.runner.optimizer",
    "detector.scheduler": "detector.runner.scheduler",
    "detector.runner": "",
    "detector.batch_size": "detector.train_settings.batch_size",
    "detector.epochs": "detector.train_settings.epochs",
    "detector.save_epochs": "detector.runner.snapshots.save_epochs",
    "detector.display_iters": "detector.train_settings.display_iters",
    "device": "device",
    "display_iters": "train_settings.display_iters",
    "epochs": "train_settings.epochs",
    "method": "method",
    "model": "model",
    "optimizer": "runner.optimizer",
    "pose_config_path": "metadata.pose_config_path",
    "project_path": "metadata.project_path",
    "runner": "",
    "save_epochs": "runner.snapshots.save_epochs",
    "scheduler": "runner.scheduler",
    "seed": "train_settings.seed",
    "with_center_keypoints": "with_center_keypoints",
    "logger": "logger",
}

# The keys of a model that both forms have.
_MODEL = ("backbone", "backbone_output_channels", "neck", "heads", "pose_model")

# What inference takes from the one menu of the flat form; the rest is for training.
_INFERENCE = ("auto_padding", "resize", "normalize_images", "longest_max_size", "top_down_crop")

# Arguments that came later, at the value that the flat form implies.
_UNFROZEN = {"freeze_bn_stats": False, "freeze_bn_weights": False}
_LATER: dict[str, dict[str, Any]] = {
    "HRNet": {**_UNFROZEN, "increased_channel_count": False},
    "ResNet": {**_UNFROZEN, "output_stride": 32},
    "DLCRNet": {},
    "TransformerHead": {"head_stride": 1},
    "FasterRCNN": {**_UNFROZEN, "variant": "fasterrcnn_resnet50_fpn_v2", "box_score_thresh": 0.01},
    "SSDLite": {**_UNFROZEN, "variant": None, "box_score_thresh": 0.01},
}
# What a `PlateauGenerator` always did, and its arguments that have other names now.
_PLATEAU = {"heatmap_mode": "KEYPOINT", "generate_locref": True}
_PLATEAU_NAMES = {"num_joints": "num_heatmaps", "locref_stdev": "locref_std"}
_AFFINE = {"p": 0.5, "translation": 0}


def flatten(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flat form of the sections of DeepLabCut 3.0, with the settings that it has."""
    flat: dict[str, Any] = {}
    for name, place in PLACES.items():
        value = _flat_value(name, sections, place)
        if value is not None:
            put(flat, name, value)
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of DeepLabCut 3.0 of a flat form, with only the settings in it."""
    sections: dict[str, Any] = {}
    for name, place in PLACES.items():
        value = select(flat, name)
        if value is None or not place:
            continue
        if name in ("data", "data_detector"):
            for menu, entries in _menus(value).items():
                put(sections, f"{place}.{menu}", entries)
        elif name == "model":
            put(sections, place, _model(value, _sectioned_backbone, _sectioned_head))
        elif name == "detector.model":
            put(sections, place, _with_later(value))
        else:
            put(sections, place, value)
    return sections


def _flat_value(name: str, sections: Mapping[str, Any], place: str) -> Any:
    if name.startswith("detector.") and not sections.get("detector"):
        return None
    if name == "runner":
        return {"type": "PoseRunner"}
    if name == "detector.runner":
        animals = sections["metadata"]["individuals"]
        return {"type": "DetectorRunner", "max_individuals": len(animals)}
    value = select(sections, place)
    if value is None:
        return None
    if name in ("data", "data_detector"):
        return _flat_data(value)
    if name == "model":
        return _model(value, _flat_backbone, _without_later)
    if name == "detector.model":
        return _without_later(value)
    return value


def _flat_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The training menu with the flat names of the affine augmentation, and only what is on."""
    menu, padding = dict(data["train"]), data["inference"].get("auto_padding")
    affine = menu.pop("affine", None) or {}
    renamed = {"rotation": affine.get("rotation"), "scale_jitter": affine.get("scaling")}
    menu = {**menu, "auto_padding": padding, **renamed}
    return {name: menu[name] for name in sorted(menu) if menu[name] not in (None, False)}


def _menus(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Both menus that a flat one amounts to."""
    train = {"normalize_images": False, **data}
    affine = {"rotation": train.pop("rotation", None), "scaling": train.pop("scale_jitter", None)}
    if any(value is not None for value in affine.values()):
        train["affine"] = {
            "p": _AFFINE["p"],
            "rotation": affine["rotation"] or 0,
            "scaling": affine["scaling"] or [1.0, 1.0],
            "translation": _AFFINE["translation"],
        }
    inference = {name: train[name] for name in _INFERENCE if name in train}
    return {"inference": inference, "train": train}


def _model(node: Any, backbone: _Conversion, head: _Conversion) -> Any:
    """Return the parts of a model that both forms have, converted to the other form."""
    if not isinstance(node, Mapping):
        return node
    model = {name: node[name] for name in _MODEL if node.get(name) is not None}
    if isinstance(model.get("backbone"), Mapping):
        model["backbone"] = backbone(dict(model["backbone"]))
    if isinstance(model.get("heads"), Mapping):
        model["heads"] = {name: head(value) for name, value in model["heads"].items()}
    return model


def _flat_backbone(node: dict[str, Any]) -> dict[str, Any]:
    """Convert to the flat form; `pretrained` is what DeepLabCut 3.0 does by default."""
    if node.get("type") not in _LATER:
        return node
    flat = {"type": node.pop("type"), "model_name": node.pop("model_name", None)}
    flat["pretrained"] = node.pop("pretrained", True)
    if "interpolate_branches" in node:
        flat["only_high_res"] = not node.pop("interpolate_branches")
    return dict(_without_later(flat | node))


def _without_later(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    later = _LATER.get(str(node.get("type")), {})
    return {n: v for n, v in node.items() if n not in later or later[n] != v}


def _sectioned_backbone(node: dict[str, Any]) -> dict[str, Any]:
    if "only_high_res" in node:
        node["interpolate_branches"] = not node.pop("only_high_res")
    if node.get("pretrained") is True and node.get("type") in _LATER:
        del node["pretrained"]
    return dict(_with_later(node))


def _sectioned_head(node: Any) -> Any:
    """Convert to DeepLabCut 3.0; the first flat files have a target generator of another name."""
    generator = node.get("target_generator") if isinstance(node, Mapping) else None
    if isinstance(generator, Mapping) and generator.get("type") == "PlateauGenerator":
        renamed = {_PLATEAU_NAMES.get(name, name): value for name, value in generator.items()}
        plateau = _PLATEAU | renamed | {"type": "HeatmapPlateauGenerator"}
        node = {**node, "target_generator": plateau}
    return _with_later(node)


def _with_later(node: Any) -> Any:
    if not isinstance(node, Mapping):
        return node
    return _LATER.get(str(node.get("type")), {}) | dict(node)


# What the file records of its project and of itself, which is found again where it lies.
_OF_THE_PROJECT = ("metadata", "net_type", "config_version", "model.pose_model")


def with_menus(sections: dict[str, Any]) -> dict[str, Any]:
    """The sections that a flat form amounts to, with what is not in its menus as off."""
    off = dict.fromkeys(MENU)
    for data in (sections.get("data"), select(sections, "detector.data")):
        for menu in ("train", "inference"):
            if isinstance(data, dict) and isinstance(data.get(menu), Mapping):
                data[menu] = off | data[menu]
    return sections


def lost_in_flat(sections: Mapping[str, Any]) -> list[str]:
    """A line for each value of DeepLabCut 3.0's sections that does not come back from a flat file.

    A value that the flat form implies, or that DeepLabCut takes by default, is not lost.
    """
    back = assume(with_menus(unflatten(flatten(sections))))
    lines = []
    for path, ours in leaves(sections).items():
        theirs = select(back, path)
        if path.startswith(_OF_THE_PROJECT) or _follows(path) or _is_alike(ours, theirs):
            continue
        read = "" if theirs is None else f", read there as {shortened(theirs)}"
        lines.append(f"{path}: {shortened(ours)}{read}")
    return lines


def _follows(path: str) -> bool:
    """Return True if a value is at or in a place of the file that repeats another one."""
    return any(path == place or path.startswith(f"{place}.") for place in FOLLOWERS)


def _is_alike(ours: Any, theirs: Any) -> bool:
    """Return True if values mean the same; nothing, off and empty do where the other is absent."""
    if theirs in (None, False):
        return ours in ((None, False, [], {}) if theirs is None else (None, False))
    return ours == {} or same(ours, theirs)
