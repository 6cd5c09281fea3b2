"""Every key with its type, unit, default and meaning: of the schema, the options and the classes.

The editor's JSON schema and `dlcexp explain` are made of it; the reference page is written here.
"""

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcexp.config.augmentation_keys import AUGMENTATIONS
from dlcexp.config.build import Argument, arguments, find_class, json_type, type_text
from dlcexp.config.options import Option
from dlcexp.config.schema import TREE, declaration
from dlcexp.config.value_types import PLAIN, Fields, Key
from dlcexp.trees import join, select

NO_DEFAULT = inspect.Parameter.empty

# Arguments of schedules that the training loop gives.
_GIVEN = ("optimizer", "last_epoch")


@dataclass(frozen=True)
class Description:
    """One key.

    Attributes:
        key: dotted path; `[]` is each member of a list.
        text: its type, for a reader.
        json: its type, as a JSON schema.
        default: the value in `conf/`, else that of the class; `NO_DEFAULT` without one.
        meaning: what the value does.
        unit: of a number of the tree; classes give theirs in the meaning.
    """

    key: str
    text: str
    json: Mapping[str, Any]
    default: Any
    meaning: str
    unit: str = ""


def _declared(fields: Fields, defaults: Any, path: str) -> Iterator[Description]:
    """Yield declared keys, depth first; `defaults` is the mapping of an unresolved tree."""
    for name, key in fields.keys.items():
        full = join(path, name)
        value = defaults.get(name, NO_DEFAULT) if isinstance(defaults, Mapping) else NO_DEFAULT
        yield _of_key(full, key, NO_DEFAULT if isinstance(value, Mapping) and value else value)
        if key.fields is not None:
            yield from _declared(key.fields, value, full)


def _of_key(path: str, key: Key, default: Any) -> Description:
    kinds = ["keys below" if isinstance(each, Fields) else each.text for each in key.types]
    text = "; or ".join([*kinds, *(["null"] if key.optional else [])])
    unit = "" if key.unit == PLAIN else key.unit
    return Description(path, text, key.schema, default, key.meaning, unit)


def describe(path: str, tree: Any) -> Description | None:
    """Return the description of a key, or None; `tree`, unresolved, names the class of its node."""
    if declared := declaration(path):
        return _of_key(path, declared, NO_DEFAULT)
    parent, _, name = path.rpartition(".")
    cls = class_around(parent, tree)
    argument = arguments(cls)[0].get(name) if cls else None
    if cls is None or argument is None:
        return None
    words, json = _type_of(name, NO_DEFAULT, argument)
    return Description(path, words, json, argument.default, argument_meanings(cls).get(name, ""))


def class_around(path: str, tree: Any) -> type | None:
    """Return the class whose arguments are the keys of a node; None if there is none."""
    node = select(tree, path) if path else tree
    if not isinstance(node, Mapping) or "_target_" in node:
        return _class_in(node or {})
    outer, _, name = path.rpartition(".")
    around = select(tree, outer) if outer else tree
    cls = _class_in(around) if isinstance(around, Mapping) else None
    argument = arguments(cls)[0].get(name) if cls else None
    return argument.keywords_of if argument else None


def option_keys(option: Option) -> Iterator[Description]:
    """Yield the keys that an option sets, in full, and those that its classes take in addition."""
    comments = {join(option.place, key): text for key, text in option.comments.items()}
    yield from _of_node(option.values, option.place, comments, _class_in(option.values))


def _of_node(
    node: Mapping[str, Any], path: str, comments: Mapping[str, str], cls: type | None
) -> Iterator[Description]:
    """Yield the keys of a node whose keys, if it has a class, are arguments of that."""
    taken = arguments(cls)[0] if cls else {}
    meanings = argument_meanings(cls) if cls else {}
    # Required arguments that the node lacks are given by whoever builds it.
    further = [name for name, each in taken.items() if not each.required and name not in _GIVEN]
    for name in dict.fromkeys([*map(str, node), *further]):
        key, argument = join(path, name), taken.get(name)
        value = node.get(name, argument.default if argument else NO_DEFAULT)
        if isinstance(value, Mapping) and value:
            inner = _class_in(value) or (argument.keywords_of if argument else None)
            yield from _of_node(value, key, comments, inner)
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            for item in value:
                yield from _of_node(item, f"{key}[]", comments, _class_in(item))
        elif declared := declaration(key):
            yield _of_key(key, declared, value)
        else:
            meaning = meanings.get(name) or comments.get(key.replace("[]", ""), "")
            yield Description(key, *_type_of(name, value, argument), value, meaning)


def _class_in(node: Mapping[str, Any]) -> type | None:
    return find_class(node["_target_"], "_target_") if "_target_" in node else None


def argument_meanings(cls: type) -> dict[str, str]:
    """Return the meanings of a class's arguments, from its docstring and those of its bases."""
    meanings: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if each.__module__.startswith("torch.optim."):
            meanings = dict(MEANINGS)
        if each.__module__.startswith("dlcexp."):
            own = _documented(inspect.cleandoc(each.__doc__ or ""))
            meanings |= {name: text for name, text in own.items() if not text.startswith("see ")}
    return meanings


def _documented(docstring: str) -> dict[str, str]:
    """Return the `Args:` of a docstring, each on one line, in YAML's terms."""
    _, _, section = docstring.partition("Args:\n")
    section = re.split(r"\n(?=\S)", section, maxsplit=1)[0]
    found = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {5,}.*)*)", section, flags=re.MULTILINE)
    return {
        name.strip(): re.sub(r"\bNone\b", "null", re.sub(r"\s+", " ", text))
        for names, text in found
        for name in names.split(",")
    }


def _type_of(name: str, value: Any, argument: Argument | None) -> tuple[str, dict[str, Any]]:
    """Return the type of an argument or a value, as text and as a JSON schema."""
    if name == "_target_":
        return "a class", {"type": "string"}
    if argument is not None and argument.annotation is not NO_DEFAULT:
        json = json_type(argument.annotation)
        if json and value is None:
            json = {"anyOf": [json, {"type": "null"}]}
        return type_text(argument.annotation), json
    if isinstance(value, bool):
        return "true or false", {"type": "boolean"}
    if isinstance(value, int | float):
        return "a number", {"type": "number"}
    return ("a list", {"type": "array"}) if isinstance(value, list) else ("", {})


_HEADER = """\
# Reference

A default in `${...}` follows another key. The arguments of optimizers and schedules are those of
torch {torch}.
"""

_AUGMENTATIONS = """\
## Augmentations

Keys of `data.train`, `data.inference`, `data_detector.train` and `data_detector.inference`. null
and false switch an augmentation off. Any other name is a transform given by its class,
`{_target_: albumentations.<Class>, ...}`.
"""

# Groups whose options set keys of the tree: their options are listed without keys.
_TREE_GROUPS = ("method", "net_type", "experiment", "data", "data_detector", "trainer", "hydra")
_STEERING = ("_target_", "_partial_")


def reference_page(defaults: DictConfig, options: Iterable[Option]) -> str:
    """Return the page.

    Args:
        defaults: a composed tree, unresolved, with a detector.
        options: of every group, and the table of contents.
    """
    header = _HEADER.replace("{torch}", version("torch"))
    values = OmegaConf.to_container(defaults, resolve=False)
    parts = [header, "## The tree\n", _table(_declared(TREE, values, ""))]
    parts += [_AUGMENTATIONS, _table(_declared(AUGMENTATIONS, {}, ""))]
    groups: dict[str, list[Option]] = {}
    for option in options:
        if option.group:
            groups.setdefault(option.group, []).append(option)
    for group, its in groups.items():
        parts += _group(group, its)
    return "\n".join(parts)


def _group(group: str, options: Iterable[Option]) -> Iterator[str]:
    yield f"## {group}=\n"
    if group.startswith(_TREE_GROUPS):
        yield "\n".join(f"- `{option.name}`: {option.meaning}" for option in options) + "\n"
        return
    for option in options:
        target = str(option.values.get("_target_", "")).rpartition(".")[2]
        title = f"### {group}={option.name}" + (f" ({target})" if target else "")
        yield f"{title}\n\n{option.meaning}\n"
        keys = [each for each in option_keys(option) if not each.key.endswith(_STEERING)]
        if keys:
            yield _table(keys)


def _table(keys: Iterable[Description]) -> str:
    """Return a table of keys; units have a column where a key has one."""
    keys = list(keys)
    units = any(key.unit for key in keys)
    rows = [_row("key", "type", *(["unit"] if units else []), "default", "meaning")]
    rows.append("| --- " * (rows[0].count("|") - 1) + "|")
    for key in keys:
        unit = [key.unit] if units else []
        name, meaning = f"`{key.key}`", key.meaning.removesuffix(".")
        rows.append(_row(name, key.text, *unit, _shown(key.default), meaning))
    return "\n".join(rows) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(default: Any) -> str:
    if default is NO_DEFAULT:
        return ""
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


MEANINGS = {
    # Optimizers
    "lr": "learning rate; the first one, where a schedule changes it",
    "betas": "decay of the running means of the gradient and of its square",
    "eps": "added to the denominator, for numerical stability",
    "weight_decay": "share of each weight that is taken off, times the learning rate",
    "decoupled_weight_decay": "weight decay apart from the gradient, as AdamW",
    "momentum": "share of the step before that is kept",
    "momentum_decay": "how fast the momentum gets its full weight",
    "dampening": "share of the gradient that momentum leaves out",
    "nesterov": "Nesterov's momentum",
    "amsgrad": "the largest second moment so far counts, not the last",
    "maximize": "go up the gradient; not for training",
    "foreach": "all weights at once; null: where it is quicker",
    "fused": "one kernel for the whole step; null: where it is quicker",
    "capturable": "can be recorded in a CUDA graph",
    "differentiable": "gradients pass through the step",
    "alpha": "decay of the mean: of the squared gradient (RMSprop), of the weights (ASGD)",
    "centered": "divide by the estimated variance of the gradient",
    "rho": "decay of the running mean of the squared gradient",
    "lambd": "decay of the step size",
    "t0": "step from which weights are averaged",
    "lr_decay": "decay of the learning rate by step",
    "initial_accumulator_value": "first value of the sum of squared gradients",
    "etas": "factors of the step size: where the sign changes, where it stays",
    "step_sizes": "smallest and largest step size",
    "beta2_decay": "exponent by which the second moment forgets",
    "d": "largest root mean square of an update",
    "ns_coefficients": "coefficients of the Newton-Schulz iteration",
    "ns_steps": "steps of the Newton-Schulz iteration",
    "adjust_lr_fn": "how the learning rate is fitted to the shape of a weight",
    "max_iter": "iterations per step",
    "max_eval": "evaluations of the loss a step; null: 1.25 times max_iter",
    "tolerance_grad": "gradient at which a step ends",
    "tolerance_change": "change of loss or weights at which a step ends",
    "history_size": "updates that are remembered",
    "line_search_fn": "strong_wolfe, or null: none",
    # Schedules, in epochs
    "milestones": "epochs, ascending",
    "lr_list": "for each milestone the learning rates: one, or one per parameter group",
    "gamma": "factor of the learning rate: at each milestone or step, or each epoch",
    "step_size": "epochs between two steps",
    "factor": "factor of the learning rate",
    "total_iters": "epochs until the schedule is over",
    "start_factor": "factor in the first epoch",
    "end_factor": "factor from total_iters on",
    "power": "exponent of the polynomial",
    "T_max": "epochs from the highest to the lowest learning rate",
    "T_0": "epochs until the first restart",
    "T_mult": "factor of the epochs between restarts",
    "eta_min": "lowest learning rate",
    "max_lr": "highest learning rate",
    "base_lr": "lowest learning rate of a cycle",
    "total_steps": "epochs of the cycle; null: epochs times steps_per_epoch",
    "epochs": "epochs of the cycle, where total_steps is null",
    "steps_per_epoch": "steps in each of `epochs`",
    "pct_start": "share of the cycle in which the learning rate rises",
    "anneal_strategy": "how it falls: cos or linear",
    "cycle_momentum": "momentum goes the other way; the optimizer must have one",
    "base_momentum": "lowest momentum",
    "max_momentum": "highest momentum",
    "div_factor": "highest learning rate by first",
    "final_div_factor": "first learning rate by last",
    "three_phase": "a separate phase for the last fall",
    "step_size_up": "epochs in which the learning rate rises",
    "step_size_down": "epochs in which it falls; null: as many",
    "mode": "ReduceLROnPlateau: min or max is better; CyclicLR: shape of the cycles",
    "scale_fn": "shape of the cycles, a function; null: by mode",
    "scale_mode": "what scale_fn counts: cycle or iterations",
    "patience": "epochs without progress that are waited for",
    "cooldown": "epochs after a reduction in which none follows",
    "threshold": "smallest change that counts as progress",
    "threshold_mode": "whether threshold is relative (rel) or absolute (abs)",
    "min_lr": "learning rate below which none is reduced",
}
