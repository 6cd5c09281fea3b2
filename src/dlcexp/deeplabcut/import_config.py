"""Any `pytorch_config.yaml` as the shortest list of overrides that composes to it.

The net type that the file's model is, or else its groups, is composed; what the export of that
tree would have otherwise than the file becomes overrides, at the places that
`dlcexp.deeplabcut.layout` names. Values that others are computed from come first, so that what
follows from them needs no words.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcexp.config.menu import SECTIONS, is_off, sides_divisible
from dlcexp.deeplabcut.carrying import with_menus
from dlcexp.deeplabcut.flat_schema import PLACES, unflatten
from dlcexp.deeplabcut.form import CROP, FOLLOWERS, MENU, assume, same, schema_of
from dlcexp.deeplabcut.layout import LAYOUT, Key, Part, Stage, select
from dlcexp.deeplabcut.matching import choose
from dlcexp.deeplabcut.overrides import Change, literal, sayable
from dlcexp.deeplabcut.project import Project, open_project
from dlcexp.deeplabcut.pytorch_config import export_sections, write_conditions
from dlcexp.deeplabcut.safe_yaml import read_mapping
from dlcexp.errors import ConfigError, ProjectError, UserError, nearest

# What each form of a file is, in words.
FORMS = {
    "dlc3": "DeepLabCut 3.0.1 or later",
    "sectioned": "DeepLabCut 3.0 up to 3.0.0, in sections",
    "flat": "DeepLabCut before 3.0, flat",
}

# Keys of the flat form that say nothing.
_FLAT_IGNORED = ("cfg_path",)

# Arguments of DeepLabCut's nodes without a meaning here.
_WITHOUT_EFFECT = ("pretrained",)

# Settings of DeepLabCut that are documented or were written once, beside those of the layout.
_KNOWN = ("runner.load_scheduler_state_dict", "detector.runner.load_scheduler_state_dict")

# Keywords of DeepLabCut's W&B logger that its own code fills in.
_LOGGER_OWN = ("image_log_interval", "model", "train_folder", "log_filename")

# The variant of a detector that DeepLabCut 3.0 takes where the file names none.
DETECTOR_VARIANTS = {"FasterRCNN": "fasterrcnn_mobilenet_v3_large_fpn"}

# The package of the class that `type` names, by the nearest key above it.
_PACKAGES = {
    "backbone": "dlcexp.models.backbones",
    "kpt_encoder": "dlcexp.models.backbones",
    "neck": "dlcexp.models.necks",
    "heads": "dlcexp.models.heads",
    "target_generator": "dlcexp.models.targets",
    "criterion": "dlcexp.models.criterions",
    "predictor": "dlcexp.models.predictors",
    "detector": "dlcexp.models.detectors",
    "optimizer": "torch.optim",
    "scheduler": "torch.optim.lr_scheduler",
}
_LR_LIST = "dlcexp.training.schedulers.LRListScheduler"

# What schedules are computed from.
_SCHEDULE = ("epochs", "optimizer", "eta_min")

# Paths of a file that follow the project.
_FOLLOW_PROJECT = (
    "project_path:",
    "pose_config_path:",
    "metadata.project_path:",
    "metadata.pose_config_path:",
)

# More rounds than the longest chain of keys that follow from each other.
_MAX_ROUNDS = 40


@dataclass(frozen=True)
class Imported:
    """What a file amounts to.

    Attributes:
        source: the file.
        schema: `dlc3`, `sectioned` or `flat`.
        net_type: the net type that its model equals, or None.
        words: the command line: group choices, then overrides of keys.
        notes: what the line cannot carry, or carries otherwise than the file has it.
        kept: values that DeepLabCut reads and that have no effect here.
    """

    source: Path
    schema: str
    net_type: str | None
    words: tuple[str, ...]
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass
class _Request:
    """What the tree must come to: the sections of the file, completed, and notes on the way."""

    source: Path
    schema: str
    sections: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    refused: list[Change] = field(default_factory=list)


def import_config(source: Path, overrides: Sequence[str] = ()) -> Imported:
    """Translate a file.

    Args:
        source: a `pytorch_config.yaml` of any version.
        overrides: of the user, for a `project=` among them.

    Raises:
        ProjectError: the file cannot be read, is no such file, or its project cannot be found.
        ConfigError: a key or a type in it that does not exist, or bodyparts of another project.
    """
    document = read_mapping(source)
    try:
        return _translated(source, document, overrides)
    except (AttributeError, KeyError, IndexError, TypeError, OmegaConfBaseException) as error:
        # The exporter, with which the file is compared, takes trees of the right shape for granted.
        reason = str(error).splitlines()[0]
        raise ConfigError(
            "", f"{source}: holds a value of a kind that DeepLabCut never writes ({reason})."
        ) from error


def _translated(source: Path, document: dict[str, Any], overrides: Sequence[str]) -> Imported:
    from dlcexp.config.composition import compose_raw, without_hydra

    request = _request(source, document)
    project_word, project = _find_project(request, overrides)
    _check_metadata(request, project)
    choice = choose(request.sections, source, project)
    given = [word for word in overrides if word.startswith("project=")][-1:]
    groups = [*project_word, *choice.words]
    raw = without_hydra(compose_raw([*(project_word or given), *choice.words]))
    OmegaConf.set_struct(raw, False)
    _adjust_crops(request)
    _adjust_padding(request, raw)
    tree, changes = _changes(raw, request)
    form, differences = _form(tree, request, document)
    changes += form
    kept = [c.word() for c in changes if c.path.startswith("export.extra.")]
    return Imported(
        source=source,
        schema=request.schema,
        net_type=choice.net_type,
        words=(*groups, *(change.word() for change in changes)),
        notes=(*request.notes, *differences),
        kept=tuple(word.removeprefix("+export.extra.") for word in kept),
    )


# Reading


def _request(source: Path, document: dict[str, Any]) -> _Request:
    schema, project = schema_of(document), document.keys() & {"Task", "multianimalproject"}
    if schema is None or project:
        hint = ""
        if project:
            hint = f" It is the config.yaml of a project: project={source}."
        known = ", ".join(name for name in LAYOUT if name != "config_version")
        raise ProjectError(f"{source}: is no pytorch_config.yaml; it has none of {known}.{hint}")
    if schema == "flat":
        _check_names(document, _flat_names(), source, "")
        sections = with_menus(unflatten(document))
        notes = [
            f"{name} = {document[name]!r}: dropped, it says nothing"
            for name in _FLAT_IGNORED
            if document.get(name) is not None
        ]
    else:
        sections, notes = assume(document), []
        _check_names(sections, LAYOUT, source, "")
    sections["method"] = str(sections.get("method") or "bu").lower()
    if not isinstance(sections.get("model"), Mapping):
        raise ConfigError("model", f"{source}: has no model, and nothing can stand for it.")
    return _Request(source, schema, sections, notes)


def _flat_names() -> dict[str, Any]:
    names: dict[str, Any] = {name: None for name in (*PLACES, *_FLAT_IGNORED) if "." not in name}
    inside = [name.partition(".")[2] for name in PLACES if "." in name]
    return names | {"detector": dict.fromkeys(inside)}


def _check_names(document: Any, layout: Any, source: Path, path: str) -> None:
    """Raise for a key that no version of DeepLabCut has."""
    if isinstance(layout, Stage):
        layout = layout.layout
    if isinstance(layout, Part) and layout.kind.endswith("_menu"):
        layout = MENU
    if not isinstance(layout, Mapping) or document is None:
        return
    if not isinstance(document, Mapping):
        raise ConfigError(path, f"{source}: {document!r} is not a mapping of keys.")
    for name, value in document.items():
        full = f"{path}.{name}" if path else name
        if name not in layout and full not in _KNOWN:
            raise ConfigError(
                full,
                f"{source}: there is no such key (its value is {value!r}). Allowed: "
                f"{', '.join(layout)}.{nearest(name, layout)}",
            )
        _check_names(value, layout.get(name), source, full)


# The project


def _find_project(request: _Request, overrides: Sequence[str]) -> tuple[list[str], Project]:
    """The word that names the project, empty where the user names one, and the project.

    That of the user counts; then the one in whose folder the file lies; then the path in it.
    """
    named = str(select(request.sections, "metadata.project_path") or "")
    if any(word.startswith("project=") for word in overrides):
        return [], open_project(_given_project(overrides))
    around = _project_around(request.source)
    if around and named and _same_folder(Path(named).expanduser(), around):
        around = Path(named)
    for path in (around, named):
        try:
            if path:
                return [f"project={literal(str(path))}"], open_project(str(path))
        except ProjectError:
            continue
    raise ProjectError(
        f"{request.source}: its project cannot be found: the file names {named or 'none'!r}, "
        "which is not here, and lies in no project. Give one with project=PATH."
    )


def _given_project(overrides: Sequence[str]) -> str:
    """The project that the overrides name; the first of those of a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    word = [word for word in overrides if word.startswith("project=")][-1]
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        raise ConfigError("project", f"cannot read the override {word!r}.") from None
    swept = override.is_sweep_override() and override.is_discrete_sweep()
    return str(next(iter(override.sweep_iterator())) if swept else override.value())


def _same_folder(one: Path, other: Path) -> bool:
    try:
        return one.is_dir() and one.resolve() == other.resolve()
    except (OSError, ValueError):
        return False


def _project_around(source: Path) -> Path | None:
    for folder in dict.fromkeys([*source.parents, *source.resolve().parents]):
        if (folder / "config.yaml").is_file():
            try:
                open_project(str(folder))
            except ProjectError:
                continue
            return folder
    return None


def _check_metadata(request: _Request, project: Project) -> None:
    """Raise unless the file is about the bodyparts of the project."""
    metadata = request.sections.get("metadata") or {}
    for name, ours in (
        ("bodyparts", project.bodyparts),
        ("unique_bodyparts", project.unique_bodyparts),
    ):
        theirs = metadata.get(name)
        if not isinstance(theirs, list) or (name == "unique_bodyparts" and not theirs):
            continue
        theirs = [str(part) for part in theirs]
        if theirs == list(ours):
            continue
        missing = [part for part in theirs if part not in ours]
        extra = [part for part in ours if part not in theirs]
        told = [f"the project lacks {', '.join(missing)}"] if missing else []
        told += [f"the file lacks {', '.join(extra)}"] if extra else []
        told = told or [f"their order differs, {', '.join(theirs)} and {', '.join(ours)}"]
        raise ConfigError(
            f"metadata.{name}",
            f"{request.source} is about other bodyparts than {project.source}: "
            f"{'; '.join(told)}. Give its project with project=PATH.",
        )


# From differences to changes


def _adjust_padding(request: _Request, raw: DictConfig) -> None:
    """Frames get the padding that the model needs where nothing in the file makes them fit."""
    divisor = OmegaConf.select(raw, "model.backbone.recipe.padding") or 1
    for menu in SECTIONS:
        entries = select(request.sections, f"data.{menu}")
        if not isinstance(entries, dict) or not is_off(entries.get("auto_padding")):
            continue
        if not sides_divisible({n: v for n, v in entries.items() if not is_off(v)}, divisor):
            padding = {"pad_width_divisor": divisor, "pad_height_divisor": divisor}
            entries["auto_padding"] = padding
            request.notes.append(
                f"data.{menu}.auto_padding: none in the file; added, as the model needs sides "
                f"that {divisor} divides"
            )


def _adjust_crops(request: _Request) -> None:
    """Top-down: crops get a size where the file has none, and that of the head where it differs."""
    if request.sections["method"] == "bu":
        return
    head = select(request.sections, "model.heads.bodypart.input_size")
    head = head if isinstance(head, list) and len(head) == 2 else []
    size = dict(zip(("width", "height"), head, strict=False))
    for menu in SECTIONS:
        entries = select(request.sections, f"data.{menu}")
        if not isinstance(entries, dict):
            continue
        crop = entries.get("top_down_crop")
        if crop is None:
            entries["top_down_crop"] = dict(size or CROP)
        elif size and isinstance(crop, Mapping) and {**crop, **size} != crop:
            shown = f"{crop.get('width')}x{crop.get('height')}"
            entries["top_down_crop"] = {**crop, **size}
            request.notes.append(
                f"data.{menu}.top_down_crop: {shown} in the file does not fit its head, which "
                f"takes {head[0]}x{head[1]} (DeepLabCut stops at the first batch); the head's here"
            )


def _changes(raw: DictConfig, request: _Request) -> tuple[dict[str, Any], list[Change]]:
    """Overrides until the export of `raw` has what the file has, and the tree with them."""
    made: dict[str, Change] = {}
    tree = _plain(raw)
    for _ in range(_MAX_ROUNDS):
        found = [
            change
            for change in _differences(request, raw, tree)
            if made.get(change.path) != change and change not in request.refused
        ]
        batch = next((list(stage) for stage in _stages(found, raw) if stage), [])
        if not batch:
            break
        raw, tree, batch = _applied(raw, batch, request)
        for change in batch:
            before = made.pop(change.path, None)
            merged = replace(change, kind="add") if before and before.kind == "add" else change
            made[change.path] = merged
    return tree, sorted(made.values(), key=lambda change: change.path.startswith("export."))


def _applied(
    raw: DictConfig, batch: list[Change], request: _Request
) -> tuple[DictConfig, dict[str, Any], list[Change]]:
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
                f"{batch[0].path}: {batch[0].word()} is not possible: {str(error).splitlines()[0]}"
            )
            return raw, _plain(raw), []
    done = []
    for change in batch:
        raw, _, applied = _applied(raw, [change], request)
        done += applied
    return raw, _plain(raw), done


def _stages(found: list[Change], raw: DictConfig) -> Iterator[list[Change]]:
    """The changes in groups: what others may be computed from comes first."""
    model = [c for c in found if c.path.startswith(("model.", "detector.model."))]
    derived = [c for c in model if _follows(raw, c)]
    schedules = [c for c in found if "scheduler." in c.path and _follows(raw, c, *_SCHEDULE)]
    later = [*derived, *schedules, *_following_menus(found)]
    yield [change for change in found if change not in later]
    yield derived[:1]
    yield schedules


def _following_menus(found: list[Change]) -> list[Change]:
    """Additions to the training menu that may follow from what changes for both menus."""
    shared = [change.path.split(".")[:2] for change in found if change.kind == "set"]
    return [
        change
        for change in found
        if change.kind == "add"
        and change.path.split(".")[1:2] == ["train"]
        and [change.path.split(".")[0], change.path.split(".")[2]] in shared
    ]


def _follows(raw: DictConfig, change: Change, *sources: str) -> bool:
    """Whether the value that changes is computed from others (from one of `sources`, if given)."""
    return change.kind == "set" and _interpolated(raw, change.path, sources or ("",))


def _interpolated(raw: DictConfig, path: str, sources: Sequence[str]) -> bool:
    """Whether the node at `path`, or one below it, is an interpolation that names a source."""
    text = OmegaConf.to_yaml(OmegaConf.create([_raw_node(raw, path)]))
    return "${" in text and any(source in text for source in sources)


def _raw_node(raw: DictConfig, path: str) -> Any:
    """The node as it is written, interpolations unresolved."""
    node, key = _parent(raw, path)
    return OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[index]


def _plain(raw: DictConfig) -> dict[str, Any]:
    container = OmegaConf.to_container(raw, resolve=True)
    if not isinstance(container, dict):
        raise TypeError("a tree is a mapping")
    return {str(name): value for name, value in container.items()}


def _differences(request: _Request, raw: DictConfig, tree: dict[str, Any]) -> Iterator[Change]:
    """The changes by which the export of the tree comes closer to the file."""
    exported = export_sections(tree)
    seen: set[str] = set()
    for path, leaf in _leaves(LAYOUT, ""):
        if path.startswith("detector.") and not tree.get("detector"):
            continue
        wanted = select(request.sections, path, _ABSENT)
        if wanted is _ABSENT or path.startswith("metadata"):
            continue
        shown = select(exported, path)
        yield from _leaf_changes(path, leaf, wanted, shown, raw, tree, seen)
    for path in _KNOWN:
        if select(request.sections, path) is not None and select(exported, path) is None:
            yield _extra(path, select(request.sections, path))
    yield from _metadata_changes(request, exported)


_ABSENT = object()


def _leaves(layout: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(layout, Stage):
        layout = layout.layout
    if isinstance(layout, Mapping):
        for name, child in layout.items():
            yield from _leaves(child, f"{path}.{name}" if path else name)
    else:
        yield path, layout


def _leaf_changes(
    path: str,
    leaf: Any,
    wanted: Any,
    shown: Any,
    raw: DictConfig,
    tree: dict[str, Any],
    seen: set[str],
) -> Iterator[Change]:
    if isinstance(leaf, Key):
        first = leaf.path not in seen
        seen.add(leaf.path)
        if first:
            yield from _node_changes(leaf.path, wanted, shown, raw, tree)
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
        yield from _node_changes(leaf.path, _inlined(wanted), _inlined(shown), raw, tree)


def _extra(path: str, value: Any) -> Change:
    return Change(f"export.extra.{path}", value, "add")


def _node_changes(
    path: str, wanted: Any, shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Change]:
    """Changes at and below one place of the tree.

    Args:
        path: the place.
        wanted: what the file has, with `type` for `_target_`.
        shown: what the export has.
    """
    if same(wanted, shown):
        return
    node = select(tree, path)
    exists = select(tree, path, _ABSENT) is not _ABSENT
    both = isinstance(wanted, Mapping) and isinstance(node, Mapping) and bool(node)
    if both and not OmegaConf.is_interpolation(*_parent(raw, path)):
        yield from _mapping_changes(path, wanted, shown, raw, tree)
        return
    if _alike_lists(wanted, shown) and isinstance(node, list):
        inner = [
            change
            for index, (one, other) in enumerate(zip(wanted, shown, strict=True))
            for change in _node_changes(f"{path}.{index}", one, other, raw, tree)
        ]
        if all(change.kind == "set" for change in inner):
            yield from inner
            return
    yield Change(path, _targeted(wanted, path), "set" if exists else "add")


def _mapping_changes(
    path: str, wanted: Mapping[str, Any], shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Change]:
    node = select(tree, path)
    shown = shown if isinstance(shown, Mapping) else {}
    for name, value in wanted.items():
        key = "_target_" if name == "type" and ("_target_" in node or "type" not in node) else name
        full = f"{path}.{key}"
        if not sayable(full):
            raise ConfigError(full, f"{name!r} cannot be the name of a key.")
        if key == "_target_":
            if shown.get("type") != value:
                target = _target(str(value), path, node.get("_target_"))
                yield Change(full, target, "set" if "_target_" in node else "add")
        elif name not in shown and name in node and same(value, node[name]):
            continue
        else:
            yield from _node_changes(full, value, shown.get(name, node.get(name)), raw, tree)
            if name not in shown and name not in node and value is None:
                yield Change(full, None, "add")
    for name in shown:
        # Hydra cannot delete a null, which goes without saying.
        if name not in wanted and name != "type" and node.get(name) is not None:
            yield Change(f"{path}.{name}", kind="delete")


def _parent(raw: DictConfig, path: str) -> tuple[Any, Any]:
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
        if "type" in node and (package := _package(path)):
            kind = str(node.pop("type"))
            partial = {"_partial_": True} if package.startswith("torch.optim") else {}
            return {"_target_": _target(kind, path, None), **partial, **node}
        return node
    if isinstance(value, list):
        return [_targeted(item, f"{path}.{index}") for index, item in enumerate(value)]
    return value


def _target(kind: str, path: str, current: Any) -> str:
    if kind == "LRListScheduler":
        return _LR_LIST
    package = str(current).rpartition(".")[0] if current else _package(path)
    if package and current == _LR_LIST:
        package = _PACKAGES["scheduler"]
    return f"{package}.{kind}"


def _package(path: str) -> str | None:
    return next((_PACKAGES[part] for part in reversed(path.split(".")) if part in _PACKAGES), None)


def _inlined(node: Any) -> Any:
    """An optimizer or scheduler with its parameters beside its type, as the tree has them."""
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
) -> Iterator[Change]:
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
                if not same(value, ours.get(name, _ABSENT)):
                    yield _extra(f"model.backbone.{name}", value)
        shown["backbone"] = {
            n: v for n, v in ours.items() if n not in _WITHOUT_EFFECT or n in backbone
        }
    yield from _node_changes(place, wanted, shown, raw, tree)


def _menu_changes(
    leaf: Part, wanted: Any, shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Change]:
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
            yield Change(place, wanted[name], "add")
        elif shared or own:
            place = f"{leaf.path}.{name}" if shared else f"{leaf.path}.{section}.{name}"
            yield from _node_changes(place, wanted[name], shown[name], raw, tree)
        else:
            yield Change(f"{leaf.path}.{section}.{name}", wanted[name], "add")


def _alike(one: Any, other: Any) -> bool:
    """Menu entries: null and false both mean off."""
    off = (None, False)
    return same(one, other) or (any(one is v for v in off) and any(other is v for v in off))


def _conditions_change(path: str, wanted: Any, seen: set[str]) -> Change:
    """The conditions of a conditional model: a shuffle, a predictions file or a folder."""
    wanted = wanted if isinstance(wanted, Mapping) else {}
    model = wanted.get("config_path")
    value = wanted.get("shuffle") or wanted.get("filepath") or (model and str(Path(model).parent))
    try:
        if "conditions" not in seen and value and same(write_conditions(value), wanted):
            return Change("conditions", value)
    except (UserError, TypeError):
        pass  # it lies on another machine
    return _extra(path, dict(wanted))


def _logger_changes(
    wanted: Any, shown: Any, raw: DictConfig, tree: dict[str, Any]
) -> Iterator[Change]:
    if not isinstance(wanted, Mapping):
        return
    if wanted.get("type") != "WandbLogger":
        if not same(wanted, shown):
            yield _extra("logger", dict(wanted))
        return
    place = next((f"logger.{n}" for n, v in tree["logger"].items() if "Wandb" in v["_target_"]), "")
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
        if not sayable(name):
            raise ConfigError(f"logger.{name}", f"{name!r} cannot be the name of a key.")
        if name not in node:
            yield Change(f"{place}.{name}", value, "add")
        elif not same(value, node[name]):
            yield Change(f"{place}.{name}", value)


def _metadata_changes(request: _Request, exported: Mapping[str, Any]) -> Iterator[Change]:
    """Where the file lies, and names of a single animal that older versions gave it."""
    theirs, ours = request.sections.get("metadata") or {}, exported["metadata"]
    named = _below(theirs.get("pose_config_path"), theirs.get("project_path"))
    if named and named != _below(ours["pose_config_path"], ours["project_path"]):
        yield Change("export.pose_config_path", named)
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


# The form


def _form(
    tree: dict[str, Any], request: _Request, document: dict[str, Any]
) -> tuple[list[Change], list[str]]:
    """Overrides of `export` that give the file back in its own form, and what is different then."""
    changes = []
    if request.schema != "dlc3":
        changes.append(Change("export.schema", request.schema))
    exported = export_sections(tree, schema=request.schema)
    if not _identical(exported, document):
        like = Change("export.like", str(request.source))
        export = tree["export"] | {"like": like.value}
        written = export_sections(tree | {"export": export}, schema=request.schema)
        if _distance(written, document) < _distance(exported, document):
            changes.append(like)
            exported = written
    noted = tuple(note.partition(":")[0] for note in request.notes) + _FOLLOW_PROJECT
    return changes, [line for line in _told(document, exported, "") if not line.startswith(noted)]


def _identical(one: Any, other: Any) -> bool:
    """Equal, the order of keys included."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(_identical(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_identical, one, other))
    return same(one, other)


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[int, bool]:
    return len([*_told(other, one, "")]), not _identical(one, other)


def _told(theirs: Any, ours: Any, path: str) -> Iterator[str]:
    """A line for each value of the file that comes out otherwise."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for name in dict.fromkeys([*theirs, *ours]):
            full = f"{path}.{name}" if path else str(name)
            one, other = theirs.get(name, _ABSENT), ours.get(name, _ABSENT)
            yield from _told(one, other, full)
    elif theirs is _ABSENT:
        if path not in FOLLOWERS:
            yield f"{path}: not in the file, written as {_short(ours)}"
    elif ours is _ABSENT:
        yield f"{path}: {_short(theirs)} in the file is not carried"
    elif not same(theirs, ours):
        yield f"{path}: {_short(theirs)} in the file, written as {_short(ours)}"


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, Mapping | list) else literal(value)
    return text if len(text) <= 60 else text[:57] + "..."
