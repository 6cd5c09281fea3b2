"""The options of `conf/` that come closest to a file of DeepLabCut: net type, optimizer ..."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcexp.config.options import option, options
from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.class_names import class_name
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
    name, model, choices = _model(sections, source, project)
    choices += _stage(sections, source, "", "runner", _default_scheduler(name, model))
    if sections["method"] == "td" and isinstance(sections.get("detector"), Mapping):
        choices += _detector(sections["detector"], source)
        choices += _stage(sections, source, "detector", "detector.runner", "lr_list")
    logger = sections.get("logger")
    kind = logger.get("type") if isinstance(logger, Mapping) else "CSVLogger"
    if kind == "WandbLogger":
        choices.append(Override("logger", ["csv", "wandb"]))
    elif kind != "CSVLogger":
        raise _no_such_type("logger", kind, ("WandbLogger", "CSVLogger"), source)
    return Choice(name, tuple(choices))


def _model(
    sections: Mapping[str, Any], source: Path, project: Project
) -> tuple[str | None, str, list[Override]]:
    """The net type of a model, or None; its option of the group; and the choices."""
    method, model = str(sections["method"]), sections["model"]
    head = select(model, "heads.bodypart.type")
    nets = list(_nets())
    methods = sorted({net.method for net in nets})
    if method not in methods:
        raise not_one_of("method", method, methods, f"{source}: ")
    best_backbone = _best_backbone(model, source)
    fitting = [net for net in nets if net.method == method and _head_of(net.model) == head]
    plural = project.multianimal and method == "bu"
    hint = str(sections.get("net_type"))
    named = [net for net in fitting if net.backbone == best_backbone]
    named = [net for net in named if _means_the_same(net, nets, plural)]
    if named:
        net = max(named, key=lambda net: (_likeness(net.node(), model), hint in net.name))
        name = net.name.removeprefix(_MULTI)
        return name, net.model, [Override("net_type", name)]
    models = [name for name in options("model") if _head_of(name) == head]
    if not models:
        known = sorted({_head_of(name) for name in options("model")})
        raise _no_such_type("model.heads.bodypart", head, known, source)
    used = {net.model for net in fitting}
    best = max(models, key=lambda name: (name in used, _likeness(_whole_model(name), model)))
    choices = [Override("model", best), Override("model/backbone", best_backbone)]
    return None, best, choices if method == "bu" else [Override("method", method), *choices]


def _means_the_same(net: _Net, nets: Iterable[_Net], plural: bool) -> bool:
    """Return True if the plain name of a net type means this model in the project."""
    plain = net.name.removeprefix(_MULTI)
    has_plural = any(other.name == _MULTI + plain for other in nets)
    return not has_plural or net.name.startswith(_MULTI) == plural


def _best_backbone(model: Mapping[str, Any], source: Path) -> str:
    group = "model/backbone"
    nodes = {name: option(group, name).whole for name in options(group)}
    return _likest(nodes, model.get("backbone"), "model.backbone", source)


def _detector(node: Mapping[str, Any], source: Path) -> list[Override]:
    nodes = {
        name: option("detector", name).values.get("model") or {} for name in options("detector")
    }
    best = _likest(nodes, node.get("model"), "detector.model", source)
    return [] if best == "ssdlite" else [Override("detector", best)]


def _likest(nodes: Mapping[str, Any], node: Any, key: str, source: Path) -> str:
    """Return the option whose node is of the class of a file's node, and likest it."""
    kinds = {name: class_name(values) for name, values in nodes.items()}
    fitting = [name for name, kind in kinds.items() if kind == select(node, "type")]
    if not fitting:
        raise _no_such_type(key, select(node, "type"), sorted({*kinds.values()} - {""}), source)
    return max(fitting, key=lambda name: _likeness(nodes[name], node))


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


def _option_of(group: str, node: Mapping[str, Any], key: str, source: Path, default: str) -> str:
    if class_name(option(group, default).values) == node.get("type"):
        return default
    nodes = {name: option(group, name).values for name in options(group)}
    return _likest(nodes, {**(node.get("params") or {}), "type": node.get("type")}, key, source)


def _default_scheduler(name: str | None, model: str) -> str:
    """The option that comes with a net type or else with a model."""
    chosen = [option("net_type", name)] if name in options("net_type") else []
    choices = (each for source in (*chosen, option("model", model)) for each in source.choices)
    return next((str(each.value) for each in choices if each.key == "scheduler"), "lr_list")


def _nets() -> Iterator[_Net]:
    several = (_MULTI + name for name in options("net_type/multi_animal"))
    for name in sorted([*options("net_type"), *several]):
        picks = {choice.key: str(choice.value) for choice in option("net_type", name).choices}
        if "model" in picks and "model/backbone" in picks:
            yield _Net(name, picks.get("method", "bu"), picks["model"], picks["model/backbone"])


def _likeness(values: Any, node: Any) -> int:
    """Literal values that an option and a node of a file share, less those that differ."""
    if not isinstance(values, Mapping) or not isinstance(node, Mapping):
        return 0
    score = 0
    for name, value in values.items():
        if name == "_target_":
            score += 1 if class_name(values) == node.get("type") else -3
        elif isinstance(value, Mapping):
            score += _likeness(value, node.get(name))
        elif name in node and not (isinstance(value, str) and "${" in value):
            score += 1 if same(value, node[name]) else -1
    return score


def _whole_model(name: str) -> dict[str, Any]:
    return option("model", name).whole


def _head_of(model: str) -> str:
    return class_name(select(_whole_model(model), "heads.bodypart", {}))


def _no_such_type(key: str, kind: Any, known: Iterable[str], source: Path) -> ConfigError:
    return not_one_of(f"{key}.type", kind, known, f"{source}: ")
