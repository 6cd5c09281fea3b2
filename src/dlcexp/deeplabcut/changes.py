"""The overrides that turn a composed tree into the one that a file of DeepLabCut's amounts to.

Values that others are computed from come first, so that what follows from them needs no override.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcexp.config.hydra_errors import readable
from dlcexp.config.overrides import Override, can_name
from dlcexp.deeplabcut.class_names import LOGGER, LR_LIST, kind_at
from dlcexp.deeplabcut.defaults import MENU
from dlcexp.deeplabcut.export import export_sections, write_conditions
from dlcexp.deeplabcut.layout import LAYOUT, Key, Part, entries
from dlcexp.deeplabcut.read import KNOWN, Request
from dlcexp.errors import ConfigError, UserError
from dlcexp.text import first_line
from dlcexp.trees import ABSENT, same, select

# What schedules are computed from.
_SCHEDULE = ("epochs", "optimizer", "eta_min")

# More rounds than the longest chain of keys that follow from each other.
_MAX_ROUNDS = 40


def changes_of(raw: DictConfig, request: Request) -> tuple[dict[str, Any], list[Override]]:
    """Overrides until the export of `raw` has what the file has, and the tree with them."""
    made: dict[str, Override] = {}
    try:
        tree = _plain(raw)
    except OmegaConfBaseException as error:
        raise readable(error, raw) from error
    for _ in range(_MAX_ROUNDS):
        found = [
            change
            for change in differences(request, raw, tree)
            if made.get(change.key) != change and change not in request.refused
        ]
        batch = next((list(stage) for stage in _stages(found, raw) if stage), [])
        if not batch:
            break
        raw, tree, batch = _applied(raw, batch, request)
        for change in batch:
            before = made.pop(change.key, None)
            if before and before.prefix == "+":
                change = replace(change, prefix="+", text="")
            made[change.key] = change
    return tree, sorted(made.values(), key=lambda change: change.key.startswith("export."))


def _applied(
    raw: DictConfig, batch: list[Override], request: Request
) -> tuple[DictConfig, dict[str, Any], list[Override]]:
    """The tree with the changes; one that others depend on and that is deleted stays."""
    changed = copy.deepcopy(raw)
    try:
        for change in batch:
            change.apply(changed)
        return changed, _plain(changed), batch
    except OmegaConfBaseException as error:
        if len(batch) == 1:
            request.refused.append(batch[0])
            request.notes.append(
                f"{batch[0].key}: {batch[0].text} is not possible: {first_line(error)}"
            )
            return raw, _plain(raw), []
    done = []
    for change in batch:
        raw, _, applied = _applied(raw, [change], request)
        done += applied
    return raw, _plain(raw), done


def _stages(found: list[Override], raw: DictConfig) -> Iterator[list[Override]]:
    """The changes in groups: what others may be computed from comes first."""
    model = [c for c in found if c.key.startswith(("model.", "detector.model."))]
    derived = [c for c in model if _follows(raw, c)]
    schedules = [c for c in found if "scheduler." in c.key and _follows(raw, c, *_SCHEDULE)]
    later = [*derived, *schedules, *_following_menus(found)]
    yield [change for change in found if change not in later]
    yield derived[:1]
    yield schedules


def _following_menus(found: list[Override]) -> list[Override]:
    """Additions to the training menu that may follow from what changes for both menus."""
    shared = [change.key.split(".")[:2] for change in found if not change.prefix]
    return [
        change
        for change in found
        if change.prefix == "+"
        and change.key.split(".")[1:2] == ["train"]
        and [change.key.split(".")[0], change.key.split(".")[2]] in shared
    ]


def _follows(raw: DictConfig, change: Override, *sources: str) -> bool:
    """Return True if the value that changes is computed from others, or from one of `sources`."""
    return not change.prefix and _interpolated(raw, change.key, sources or ("",))


def _interpolated(raw: DictConfig, path: str, sources: Sequence[str]) -> bool:
    """Return True if the node at `path`, or one below it, is an interpolation of a source."""
    text = OmegaConf.to_yaml(OmegaConf.create([_raw_node(raw, path)]))
    return "${" in text and any(source in text for source in sources)


def _raw_node(raw: DictConfig, path: str) -> Any:
    """The node as it is written, interpolations unresolved."""
    node, key = parent(raw, path)
    return OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[index]


def _plain(raw: DictConfig) -> dict[str, Any]:
    container = OmegaConf.to_container(raw, resolve=True)
    if not isinstance(container, dict):
        raise TypeError("a tree is a mapping")
    return {str(name): value for name, value in container.items()}


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
    further = {path: select(request.sections, path) for path in KNOWN} | request.without_effect
    for path, value in further.items():
        if value is not None and select(exported, path) is None:
            yield _extra(path, value)
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


def node_changes(
    path: str, wanted: Any, shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Override]:
    """Changes at and below one place of the tree.

    Args:
        path: the place.
        wanted: what the file has, with `type` for `_target_`.
        shown: what the export has.
    """
    if same(wanted, shown):
        return
    node = select(tree, path)
    exists = select(tree, path, ABSENT) is not ABSENT
    both = isinstance(wanted, Mapping) and isinstance(node, Mapping) and bool(node)
    if both and not OmegaConf.is_interpolation(*parent(raw, path)):
        yield from _mapping_changes(path, wanted, shown, raw, tree)
        return
    if _alike_lists(wanted, shown) and isinstance(node, list):
        inner = [
            change
            for index, (one, other) in enumerate(zip(wanted, shown, strict=True))
            for change in node_changes(f"{path}.{index}", one, other, raw, tree)
        ]
        if all(not change.prefix for change in inner):
            yield from inner
            return
    yield Override(path, _targeted(wanted, path), "" if exists else "+")


def _mapping_changes(
    path: str, wanted: Mapping[str, Any], shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Override]:
    node = select(tree, path)
    shown = shown if isinstance(shown, Mapping) else {}
    for name, value in wanted.items():
        key = "_target_" if name == "type" and ("_target_" in node or "type" not in node) else name
        full = f"{path}.{key}"
        if not can_name(full):
            raise ConfigError(full, f"{name!r} cannot be the name of a key.")
        if key == "_target_":
            if shown.get("type") != value:
                target = _target(str(value), path)
                yield Override(full, target, "" if "_target_" in node else "+")
        elif name not in shown and name in node and same(value, node[name]):
            continue
        else:
            yield from node_changes(full, value, shown.get(name, node.get(name)), raw, tree)
            if name not in shown and name not in node and value is None:
                yield Override(full, None, "+")
    for name in shown:
        # Hydra cannot delete a null, which goes without saying.
        if name not in wanted and name != "type" and node.get(name) is not None:
            yield Override(f"{path}.{name}", prefix="~")


def parent(raw: DictConfig, path: str) -> tuple[Any, Any]:
    """Node and key for `OmegaConf.is_interpolation`."""
    parent, _, name = path.rpartition(".")
    node = OmegaConf.select(raw, parent) if parent else raw
    return node, (int(name) if OmegaConf.is_list(node) else name)


def _alike_lists(wanted: Any, shown: Any) -> bool:
    return (
        isinstance(wanted, list)
        and isinstance(shown, list)
        and len(wanted) == len(shown)
        and all(
            isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys()
            for one, other in zip(wanted, shown, strict=True)
        )
    )


def _targeted(value: Any, path: str) -> Any:
    """The value with `_target_` where a node of the file has `type`."""
    if isinstance(value, Mapping):
        node = {name: _targeted(item, f"{path}.{name}") for name, item in value.items()}
        if "type" in node and (kind := kind_at(path)):
            name = str(node.pop("type"))
            partial = {"_partial_": True} if kind.package.startswith("torch.optim") else {}
            return {"_target_": _target(name, path), **partial, **node}
        return node
    if isinstance(value, list):
        return [_targeted(item, f"{path}.{index}") for index, item in enumerate(value)]
    return value


def _target(name: str, path: str) -> str:
    """Return the full path of the class that a file names at a path of the tree."""
    if name == LR_LIST.rpartition(".")[2]:
        return LR_LIST
    kind = kind_at(path)
    return f"{kind.package}.{name}" if kind else name
