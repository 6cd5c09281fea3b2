"""The overrides that turn a composed tree into the one that a file of DeepLabCut's amounts to.

Values that others are computed from come first, so that what follows from them needs no override.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcexp.config.build import plain
from dlcexp.config.hydra_errors import readable
from dlcexp.config.overrides import Override, can_name
from dlcexp.deeplabcut.class_names import LOGGER, LR_LIST, kind_at
from dlcexp.deeplabcut.defaults import MENU, is_nothing
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
        tree = plain(raw)
    except OmegaConfBaseException as error:
        raise readable(error, raw) from error
    for _ in range(_MAX_ROUNDS):
        found = [
            change
            for change in _Comparison(request, raw, tree).changes()
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
        return changed, plain(changed), batch
    except OmegaConfBaseException as error:
        if len(batch) == 1:
            request.refused.append(batch[0])
            request.notes.append(
                f"{batch[0].key}: {batch[0].text} is not possible: {first_line(error)}"
            )
            return raw, plain(raw), []
    done = []
    for change in batch:
        raw, _, applied = _applied(raw, [change], request)
        done += applied
    return raw, plain(raw), done


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
    node, key = _parent(raw, path)
    return OmegaConf.to_container(node, resolve=False)[key]  # type: ignore[index]


# Keywords of DeepLabCut's W&B logger that its own code fills in.
_LOGGER_OWN = ("image_log_interval", "model", "train_folder", "log_filename")

# The variant of a detector that DeepLabCut 3.0 takes where the file names none.
_DETECTOR_VARIANTS = {"FasterRCNN": "fasterrcnn_mobilenet_v3_large_fpn"}


@dataclass(frozen=True)
class _Comparison:
    """A composed tree, unresolved and in plain containers, and the file that it shall export."""

    request: Request
    raw: DictConfig
    tree: dict[str, Any]

    def changes(self) -> Iterator[Override]:
        """Yield the changes by which the export of the tree comes closer to the file."""
        exported = export_sections(self.tree)
        seen: set[str] = set()
        for path, leaf in entries(LAYOUT):
            if path.startswith("detector.") and not self.tree.get("detector"):
                continue
            wanted = select(self.request.sections, path, ABSENT)
            if wanted is ABSENT or path.startswith("metadata"):
                continue
            yield from self._leaf(path, leaf, wanted, select(exported, path), seen)
        known = {path: select(self.request.sections, path) for path in KNOWN}
        for path, value in (known | self.request.without_effect).items():
            if value is not None and select(exported, path) is None:
                yield _extra(path, value)
        yield from _metadata_changes(self.request, exported)

    def _leaf(
        self, path: str, leaf: Any, wanted: Any, shown: Any, seen: set[str]
    ) -> Iterator[Override]:
        kind = leaf.kind if isinstance(leaf, Part) else ""
        if isinstance(leaf, Key) and leaf.path not in seen:
            seen.add(leaf.path)
            yield from self._at(leaf.path, wanted, shown)
        elif kind.endswith("_menu"):
            yield from self._menu(leaf.path, kind.removesuffix("_menu"), wanted, shown)
        elif kind in ("model", "node"):
            yield from self._model(path, leaf.path, wanted, shown)
        elif kind == "logger":
            yield from self._logger(wanted, shown)
        elif kind.endswith(("optimizer", "scheduler")):  # their types are chosen as groups
            if wanted and shown:
                yield from self._at(leaf.path, _inlined(wanted), _inlined(shown))
        elif same(wanted, shown) or (kind == "net_type" and wanted is None):
            return
        else:
            yield _conditions(path, wanted) if kind == "conditions" else _extra(path, wanted)

    def _model(self, path: str, place: str, wanted: Any, shown: Any) -> Iterator[Override]:
        if not isinstance(wanted, Mapping) or not isinstance(shown, Mapping):
            return
        wanted = copy.deepcopy(dict(wanted))
        if path == "detector.model":
            wanted = {"variant": _DETECTOR_VARIANTS.get(str(wanted.get("type")))} | wanted
        else:
            wanted = {"neck": None} | wanted
            stride = wanted.pop("pose_model", None)
            if not same(stride, shown.get("pose_model")):
                yield _extra("model.pose_model", stride)
        shown = {name: value for name, value in shown.items() if name != "pose_model"}
        backbone, ours = wanted.get("backbone"), shown.get("backbone")
        if isinstance(backbone, dict) and isinstance(ours, Mapping):
            name = "pretrained"
            if name in backbone and name not in select(self.tree, "model.backbone"):
                value = backbone.pop(name)
                if value is False:
                    yield Override("model.backbone.weights", None)
                if not same(value, ours.get(name, ABSENT)):
                    yield _extra(f"model.backbone.{name}", value)
            shown["backbone"] = {n: v for n, v in ours.items() if n != name or n in backbone}
        yield from self._at(place, wanted, shown)

    def _menu(self, path: str, section: str, wanted: Any, shown: Any) -> Iterator[Override]:
        """Changes of one of the two menus; what both share stands directly under `data`."""
        data = select(self.tree, path)
        for name in MENU if isinstance(wanted, Mapping) else ():
            if name not in wanted or same(wanted[name], shown[name]):
                continue
            if is_nothing(wanted[name]) and is_nothing(shown[name]):
                continue
            own = name in (data[section] or {})
            shared = name in data and not own and section != "train"
            place = f"{path}.{name}" if shared else f"{path}.{section}.{name}"
            if own or shared:
                yield from self._at(place, wanted[name], shown[name])
            else:
                yield Override(place, wanted[name], "+")

    def _logger(self, wanted: Any, shown: Any) -> Iterator[Override]:
        if not isinstance(wanted, Mapping):
            return
        if wanted.get("type") != "WandbLogger":
            if not same(wanted, shown):
                yield _extra("logger", dict(wanted))
            return
        loggers = self.tree["logger"].items()
        place, node = next((f"logger.{n}", v) for n, v in loggers if LOGGER.name_of(v["_target_"]))
        settings = {name: v for name, v in wanted.items() if name not in ("type", "wandb_kwargs")}
        further = wanted.get("wandb_kwargs")
        settings |= further if isinstance(further, Mapping) else {}
        for name in _LOGGER_OWN:
            if name in settings:
                value = settings.pop(name)
                if not same(value, (shown or {}).get(name)):
                    yield _extra(f"logger.{name}", value)
        for name, value in ({"project_name": "deeplabcut", "run_name": None} | settings).items():
            _check_name(f"logger.{name}", name)
            if name not in node:
                yield Override(f"{place}.{name}", value, "+")
            elif not same(value, node[name]):
                yield Override(f"{place}.{name}", value)

    def _at(self, path: str, wanted: Any, shown: Any) -> Iterator[Override]:
        """Yield the changes at and below one place of the tree.

        Args:
            path: the place.
            wanted: what the file has, with `type` for `_target_`.
            shown: what the export has.
        """
        if same(wanted, shown):
            return
        node = select(self.tree, path, ABSENT)
        both = isinstance(wanted, Mapping) and isinstance(node, Mapping) and bool(node)
        if both and not OmegaConf.is_interpolation(*_parent(self.raw, path)):
            yield from self._below(path, wanted, shown if isinstance(shown, Mapping) else {}, node)
            return
        if _alike_lists(wanted, shown) and isinstance(node, list):
            inner = [
                change
                for index, (one, other) in enumerate(zip(wanted, shown, strict=True))
                for change in self._at(f"{path}.{index}", one, other)
            ]
            if all(not change.prefix for change in inner):
                yield from inner
                return
        yield Override(path, _targeted(wanted, path), "+" if node is ABSENT else "")

    def _below(
        self, path: str, wanted: Mapping[str, Any], shown: Mapping[str, Any], node: Any
    ) -> Iterator[Override]:
        for name, value in wanted.items():
            is_type = name == "type" and ("_target_" in node or "type" not in node)
            full = f"{path}.{'_target_' if is_type else name}"
            _check_name(full, name)
            if is_type:
                if shown.get("type") != value:
                    target = _target(str(value), path)
                    yield Override(full, target, "" if "_target_" in node else "+")
            elif name not in shown and name in node and same(value, node[name]):
                continue
            else:
                yield from self._at(full, value, shown.get(name, node.get(name)))
                if name not in shown and name not in node and value is None:
                    yield Override(full, None, "+")
        for name in shown:
            # Hydra cannot delete a null, which goes without saying.
            if name not in wanted and name != "type" and node.get(name) is not None:
                yield Override(f"{path}.{name}", prefix="~")


def _extra(path: str, value: Any) -> Override:
    return Override(f"export.extra.{path}", value, "+")


def _check_name(path: str, name: str) -> None:
    if not can_name(path):
        raise ConfigError(path, f"{name!r} cannot be the name of a key.")


def _inlined(node: Any) -> Any:
    """Return an optimizer or scheduler with its parameters next to its type, as in the tree."""
    if not isinstance(node, Mapping):
        return node
    inner = {
        name: [_inlined(item) for item in value] if name == "schedulers" else value
        for name, value in (node.get("params") or {}).items()
    }
    return {"type": node.get("type"), **inner}


def _conditions(path: str, wanted: Any) -> Override:
    """The conditions of a conditional model: a shuffle, a predictions file or a folder."""
    wanted = wanted if isinstance(wanted, Mapping) else {}
    model = wanted.get("config_path")
    value = wanted.get("shuffle") or wanted.get("filepath") or (model and str(Path(model).parent))
    try:
        if value and same(write_conditions(value), wanted):
            return Override("conditions", value)
    except (UserError, TypeError):
        pass  # it lies on another machine
    return _extra(path, dict(wanted))


def _metadata_changes(request: Request, exported: Mapping[str, Any]) -> Iterator[Override]:
    """Yield the path of the file, and the name that older versions gave a single animal."""
    theirs, ours = request.sections.get("metadata") or {}, exported["metadata"]
    named = _relative(theirs.get("pose_config_path"), theirs.get("project_path"))
    if named and named != _relative(ours["pose_config_path"], ours["project_path"]):
        yield Override("export.pose_config_path", named)
    individuals = theirs.get("individuals")
    alone = isinstance(individuals, list) and len(individuals) == len(ours["individuals"]) == 1
    if alone and individuals != ours["individuals"]:
        yield _extra("metadata.individuals", individuals)
    identity = theirs.get("with_identity", ours["with_identity"])
    if not identity and not ours["with_identity"] and identity is not ours["with_identity"]:
        yield _extra("metadata.with_identity", identity)


def _relative(path: Any, root: Any) -> str | None:
    """The path of a file below its project, with forward slashes, on whatever machine it was."""
    if not isinstance(path, str) or not isinstance(root, str):
        return None
    windows = "\\" in path or path[1:2] == ":"
    kind = PureWindowsPath if windows else PurePosixPath
    try:
        return kind(path).relative_to(kind(root)).as_posix()
    except ValueError:
        return None


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
