"""Differences between the export of a tree and a file of DeepLabCut's, as changes of the tree."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from omegaconf import DictConfig

from dlcexp.config.overrides import Override, can_name
from dlcexp.deeplabcut.class_names import LOGGER
from dlcexp.deeplabcut.defaults import MENU
from dlcexp.deeplabcut.export import export_sections, write_conditions
from dlcexp.deeplabcut.layout import LAYOUT, Key, Part, entries
from dlcexp.deeplabcut.node_changes import node_changes
from dlcexp.deeplabcut.read import KNOWN, Request
from dlcexp.errors import ConfigError, UserError
from dlcexp.trees import ABSENT, same, select

# Arguments of DeepLabCut's nodes without a meaning here.
_WITHOUT_EFFECT = ("pretrained",)

# Keywords of DeepLabCut's W&B logger that its own code fills in.
_LOGGER_OWN = ("image_log_interval", "model", "train_folder", "log_filename")

# The variant of a detector that DeepLabCut 3.0 takes where the file names none.
DETECTOR_VARIANTS = {"FasterRCNN": "fasterrcnn_mobilenet_v3_large_fpn"}


def differences(request: Request, raw: DictConfig, tree: dict[str, Any]) -> Iterator[Override]:
    """The changes by which the export of the tree comes closer to the file."""
    exported = export_sections(tree)
    seen: set[str] = set()
    for path, leaf in entries(LAYOUT):
        if path.startswith("detector.") and not tree.get("detector"):
            continue
        wanted = select(request.sections, path, ABSENT)
        if wanted is ABSENT or path.startswith("metadata"):
            continue
        shown = select(exported, path)
        yield from _leaf_changes(path, leaf, wanted, shown, raw, tree, seen)
    for path in KNOWN:
        if select(request.sections, path) is not None and select(exported, path) is None:
            yield _extra(path, select(request.sections, path))
    yield from _metadata_changes(request, exported)


def _leaf_changes(
    path: str,
    leaf: Any,
    wanted: Any,
    shown: Any,
    raw: DictConfig,
    tree: dict[str, Any],
    seen: set[str],
) -> Iterator[Override]:
    if isinstance(leaf, Key):
        first = leaf.path not in seen
        seen.add(leaf.path)
        if first:
            yield from node_changes(leaf.path, wanted, shown, raw, tree)
        elif not same(wanted, shown):
            yield _extra(path, wanted)
    elif not isinstance(leaf, Part):
        if not same(wanted, shown):
            yield _extra(path, wanted)
    elif leaf.kind.endswith("_menu"):
        yield from _menu_changes(leaf, wanted, shown, raw, tree)
    elif leaf.kind in ("model", "node"):
        yield from _model_changes(path, leaf.path, wanted, shown, raw, tree)
    elif leaf.kind == "net_type":
        if wanted is not None and wanted != shown:
            yield _extra(path, wanted)
    elif leaf.kind == "conditions":
        if not same(wanted, shown):
            yield _conditions_change(path, wanted, seen)
    elif leaf.kind == "logger":
        yield from _logger_changes(wanted, shown, raw, tree)
    elif wanted and shown:  # optimizer and scheduler; their types are chosen as groups
        yield from node_changes(leaf.path, _inlined(wanted), _inlined(shown), raw, tree)


def _extra(path: str, value: Any) -> Override:
    return Override(f"export.extra.{path}", value, "+")


def _inlined(node: Any) -> Any:
    """Return an optimizer or scheduler with its parameters next to its type, as in the tree."""
    if not isinstance(node, Mapping):
        return node
    params = node.get("params") or {}
    inner = {
        name: [_inlined(item) for item in value] if name == "schedulers" else value
        for name, value in params.items()
    }
    return {"type": node.get("type"), **inner}


def _model_changes(
    path: str, place: str, wanted: Any, shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Override]:
    if not isinstance(wanted, Mapping) or not isinstance(shown, Mapping):
        return
    wanted = copy.deepcopy(dict(wanted))
    if path == "detector.model":
        variant = DETECTOR_VARIANTS.get(str(wanted.get("type")))
        wanted = {"variant": variant} | wanted
    if path == "model":
        wanted = {"neck": None} | wanted
        stride = wanted.pop("pose_model", None)
        if not same(stride, shown.get("pose_model")):
            yield _extra("model.pose_model", stride)
    shown = {name: value for name, value in shown.items() if name != "pose_model"}
    backbone, ours = wanted.get("backbone"), shown.get("backbone")
    if isinstance(backbone, dict) and isinstance(ours, Mapping):
        for name in _WITHOUT_EFFECT:
            if name in backbone and name not in select(tree, "model.backbone"):
                value = backbone.pop(name)
                if not same(value, ours.get(name, ABSENT)):
                    yield _extra(f"model.backbone.{name}", value)
        shown["backbone"] = {
            n: v for n, v in ours.items() if n not in _WITHOUT_EFFECT or n in backbone
        }
    yield from node_changes(place, wanted, shown, raw, tree)


def _menu_changes(
    leaf: Part, wanted: Any, shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Override]:
    """Changes of one of the two menus; what both share stands directly under `data`."""
    if not isinstance(wanted, Mapping):
        return
    section = leaf.kind.removesuffix("_menu")
    data = select(tree, leaf.path)
    for name in MENU:
        if name not in wanted or _alike(wanted[name], shown[name]):
            continue
        own = name in (data[section] or {})
        shared = name in data and not own
        if section == "train" and shared:
            place, shared = f"{leaf.path}.train.{name}", False
            yield Override(place, wanted[name], "+")
        elif shared or own:
            place = f"{leaf.path}.{name}" if shared else f"{leaf.path}.{section}.{name}"
            yield from node_changes(place, wanted[name], shown[name], raw, tree)
        else:
            yield Override(f"{leaf.path}.{section}.{name}", wanted[name], "+")


def _alike(one: Any, other: Any) -> bool:
    """Menu entries: null and false both mean off."""
    off = (None, False)
    return same(one, other) or (any(one is v for v in off) and any(other is v for v in off))


def _conditions_change(path: str, wanted: Any, seen: set[str]) -> Override:
    """The conditions of a conditional model: a shuffle, a predictions file or a folder."""
    wanted = wanted if isinstance(wanted, Mapping) else {}
    model = wanted.get("config_path")
    value = wanted.get("shuffle") or wanted.get("filepath") or (model and str(Path(model).parent))
    try:
        if "conditions" not in seen and value and same(write_conditions(value), wanted):
            return Override("conditions", value)
    except (UserError, TypeError):
        pass  # it lies on another machine
    return _extra(path, dict(wanted))


def _logger_changes(
    wanted: Any, shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Override]:
    if not isinstance(wanted, Mapping):
        return
    if wanted.get("type") != "WandbLogger":
        if not same(wanted, shown):
            yield _extra("logger", dict(wanted))
        return
    loggers = tree["logger"].items()
    place = next(f"logger.{n}" for n, v in loggers if LOGGER.name_of(v["_target_"]))
    settings = {name: v for name, v in wanted.items() if name not in ("type", "wandb_kwargs")}
    further = wanted.get("wandb_kwargs")
    settings |= further if isinstance(further, Mapping) else {}
    for name in _LOGGER_OWN:
        if name in settings:
            value = settings.pop(name)
            if not same(value, (shown or {}).get(name)):
                yield _extra(f"logger.{name}", value)
    node = select(tree, place)
    for name, value in ({"project_name": "deeplabcut", "run_name": None} | settings).items():
        if not can_name(name):
            raise ConfigError(f"logger.{name}", f"{name!r} cannot be the name of a key.")
        if name not in node:
            yield Override(f"{place}.{name}", value, "+")
        elif not same(value, node[name]):
            yield Override(f"{place}.{name}", value)


def _metadata_changes(request: Request, exported: Mapping[str, Any]) -> Iterator[Override]:
    """Yield the path of the file, and the name that older versions gave a single animal."""
    theirs, ours = request.sections.get("metadata") or {}, exported["metadata"]
    named = _below(theirs.get("pose_config_path"), theirs.get("project_path"))
    if named and named != _below(ours["pose_config_path"], ours["project_path"]):
        yield Override("export.pose_config_path", named)
    individuals = theirs.get("individuals")
    alone = isinstance(individuals, list) and len(individuals) == len(ours["individuals"]) == 1
    if alone and individuals != ours["individuals"]:
        yield _extra("metadata.individuals", individuals)
    identity = theirs.get("with_identity", ours["with_identity"])
    if not identity and not ours["with_identity"] and identity is not ours["with_identity"]:
        yield _extra("metadata.with_identity", identity)


def _below(path: Any, root: Any) -> str | None:
    """The path of a file below its project, with forward slashes, on whatever machine it was."""
    if not isinstance(path, str) or not isinstance(root, str):
        return None
    windows = "\\" in path or path[1:2] == ":"
    kind = PureWindowsPath if windows else PurePosixPath
    try:
        return kind(path).relative_to(kind(root)).as_posix()
    except ValueError:
        return None
