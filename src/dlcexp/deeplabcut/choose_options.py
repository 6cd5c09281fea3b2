"""The options of `conf/` that come closest to a file of DeepLabCut: net type, optimizer ..."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcexp.config.options import option, options
from dlcexp.config.overrides import Override
from dlcexp.errors import ConfigError, not_one_of
from dlcexp.project import Project
from dlcexp.trees import merged, same, select

_MULTI = "multi_animal/"


@dataclass(frozen=True)
class Choice:
    """Group choices, and the net type that the model is, if it is one."""

    net_type: str | None
    overrides: tuple[Override, ...]


@dataclass(frozen=True)
class _Net:
    """A net type: the options that it picks."""

    name: str
    method: str
    model: str
    backbone: str

    def node(self) -> dict[str, Any]:
        """Return the model, as far as its files have it without composition."""
        overlay = option("net_type", self.name).values.get("model") or {}
        backbone = {"backbone": option("model/backbone", self.backbone).whole}
        return merged(merged(option("model", self.model).whole, backbone), overlay)


def choose(sections: Mapping[str, Any], source: Path, project: Project) -> Choice:
    """Return the group choices that come closest to a file, or raise a `ConfigError` for its types.

    Args:
        sections: the file, as DeepLabCut 3.0 has it.
        source: for messages.
        project: a plain net type means another model in a multi-animal project.
    """
    name, choices = _model(sections, source, project)
    model = _model_of(choices, name)
    choices += _stage(sections, source, "", "runner", _default_scheduler(name, model))
    if sections["method"] == "td" and isinstance(sections.get("detector"), Mapping):
        choices += _detector(sections["detector"], source)
        choices += _stage(sections, source, "detector", "detector.runner", "lr_list")
    logger = sections.get("logger")
    if isinstance(logger, Mapping):
        kind = logger.get("type")
        if kind == "WandbLogger":
            choices.append(Override("logger", ["csv", "wandb"]))
        elif kind != "CSVLogger":
            raise _no_such_type("logger", kind, ("WandbLogger", "CSVLogger"), source)
    return Choice(name, tuple(choices))


def _model(
    sections: Mapping[str, Any], source: Path, project: Project
) -> tuple[str | None, list[Override]]:
    """The net type of a model, or else its groups."""
    method, model = str(sections["method"]), sections["model"]
    head = _kind(model, "heads.bodypart")
    nets = list(_nets())
    methods = sorted({net.method for net in nets})
    if method not in methods:
        raise not_one_of("method", method, methods, f"{source}: ")
    best_backbone = _best_backbone(model, source)
    fitting = [net for net in nets if net.method == method and _head_of(net.model) == head]
    plural = project.multianimal and method == "bu"
    hint = str(sections.get("net_type"))
    named = [
        net
        for net in fitting
        if net.backbone == best_backbone and _means_the_same(net, nets, plural)
    ]
    if named:
        net = max(named, key=lambda net: (_likeness(net.node(), model), hint in net.name))
        name = net.name.removeprefix(_MULTI)
        return name, [Override("net_type", name)]
    models = [name for name in options("model") if _head_of(name) == head]
    if not models:
        known = sorted({_head_of(name) for name in options("model")})
        raise _no_such_type("model.heads.bodypart", head, known, source)
    used = {net.model for net in fitting}
    best = max(
        models, key=lambda name: (name in used, _likeness(option("model", name).whole, model))
    )
    choices = [Override("model", best), Override("model/backbone", best_backbone)]
    return None, choices if method == "bu" else [Override("method", method), *choices]


def _means_the_same(net: _Net, nets: Iterable[_Net], plural: bool) -> bool:
    """Return True if the plain name of a net type means this model in the project."""
    plain = net.name.removeprefix(_MULTI)
    has_plural = any(other.name == _MULTI + plain for other in nets)
    return not has_plural or net.name.startswith(_MULTI) == plural


def _best_backbone(model: Mapping[str, Any], source: Path) -> str:
    node = model.get("backbone")
    group = "model/backbone"
    kinds = {name: _class(option(group, name).whole) for name in options(group)}
    kind = _kind(model, "backbone")
    fitting = [name for name, other in kinds.items() if other == kind]
    if not fitting:
        raise _no_such_type("model.backbone", kind, sorted(set(kinds.values())), source)
    return max(fitting, key=lambda name: _likeness(option(group, name).whole, node))


def _detector(node: Mapping[str, Any], source: Path) -> list[Override]:
    model = node.get("model")
    kinds = {
        name: option("detector", name).values.get("model") or {} for name in options("detector")
    }
    kind = _kind(node, "model")
    fitting = [name for name, other in kinds.items() if _class(other) == kind]
    if not fitting:
        known = sorted({_class(other) for other in kinds.values()})
        raise _no_such_type("detector.model", kind, known, source)
    best = max(fitting, key=lambda name: _likeness(kinds[name], model))
    return [] if best == "ssdlite" else [Override("detector", best)]


def _stage(
    sections: Mapping[str, Any], source: Path, stage: str, runner: str, scheduler: str
) -> list[Override]:
    """The optimizer and the scheduler of the pose model, or of the detector."""
    choices = []
    section = select(sections, runner)
    for group, default in (("optimizer", "adamw"), ("scheduler", scheduler)):
        node = section.get(group) if isinstance(section, Mapping) else None
        package = f"{stage}.{group}" if stage else None
        if node:
            chosen = _option_of(group, node, f"{runner}.{group}", source, default)
            if chosen != default:
                choices.append(Override(group, chosen, package=package))
        elif group == "scheduler" and isinstance(section, Mapping):
            choices.append(Override(group, "none", package=package))
    return choices


def _option_of(group: str, node: Any, key: str, source: Path, default: str) -> str:
    kind = node.get("type") if isinstance(node, Mapping) else node
    kinds = {name: _class(option(group, name).values) for name in options(group)}
    fitting = [name for name, other in kinds.items() if other == kind and other]
    if not fitting:
        raise _no_such_type(key, kind, sorted({k for k in kinds.values() if k}), source)
    params = node.get("params") or {}
    if not isinstance(params, Mapping):
        raise ConfigError(f"{key}.params", f"{source}: {params!r} is not a mapping of keys.")
    if default in fitting:
        return default
    return max(fitting, key=lambda name: _likeness(option(group, name).values, params))


def _default_scheduler(name: str | None, model: str) -> str:
    """The option that comes with a net type or else with a model."""
    chosen = [("net_type", name), ("model", model)]
    choices = (
        choice
        for group, option_name in chosen
        if option_name in options(group)
        for choice in option(group, option_name).choices
    )
    return next((str(each.value) for each in choices if each.key == "scheduler"), "lr_list")


def _model_of(choices: Iterable[Override], name: str | None) -> str:
    if name is None:
        return next(str(choice.value) for choice in choices if choice.key == "model")
    return next(net.model for net in _nets() if net.name.removeprefix(_MULTI) == name)


# Options, read without composition


def _nets() -> Iterator[_Net]:
    several = (_MULTI + name for name in options("net_type/multi_animal"))
    for name in sorted([*options("net_type"), *several]):
        picks = {choice.key: str(choice.value) for choice in option("net_type", name).choices}
        if "model" in picks and "model/backbone" in picks:
            yield _Net(name, picks.get("method", "bu"), picks["model"], picks["model/backbone"])


# Comparison


def _likeness(values: Any, node: Any) -> int:
    """Literal values that an option and a node of a file share, less those that differ."""
    if not isinstance(values, Mapping) or not isinstance(node, Mapping):
        return 0
    score = 0
    for name, value in values.items():
        if name == "_target_":
            score += 1 if _class(values) == node.get("type") else -3
        elif isinstance(value, Mapping):
            score += _likeness(value, node.get(name))
        elif name in node and not (isinstance(value, str) and "${" in value):
            score += 1 if same(value, node[name]) else -1
    return score


def _class(values: Mapping[str, Any]) -> str:
    return str(values.get("_target_", "")).rpartition(".")[2]


def _head_of(model: str) -> str:
    return _class(select(option("model", model).whole, "heads.bodypart", {}))


def _kind(node: Any, path: str) -> Any:
    return select(node, f"{path}.type")


def _no_such_type(key: str, kind: Any, known: Iterable[str], source: Path) -> ConfigError:
    return not_one_of(f"{key}.type", kind, known, f"{source}: ")
