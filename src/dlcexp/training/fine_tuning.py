"""Fine-tuning: modules that stay as they are, and separate learning rates for others.

A schedule goes by the learning rate of the tree, also where it sets absolute values; each
parameter group takes that times its factor. So every schedule of torch works with factors.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.optim import Optimizer

from dlcexp.errors import ConfigError, nearest
from dlcexp.models import PoseModel
from dlcexp.training.layer_decay import layer_factors

# Keys of the tree that make separate groups of parameters.
GROUPING = ("lr_scale", "layer_decay")
# Entries of a parameter group in addition to torch's.
NAME, FACTOR, UNSCALED = "name", "lr_scale", "unscaled_lr"
# The layers of most backbones are in a module of this name, which a path may leave out.
_TIMM = "model"


def freeze(model: PoseModel, paths: Iterable[str]) -> None:
    """Train the modules at these paths no further.

    Raises:
        ConfigError: there is no such module, or nothing is left to train.
    """
    names = [find_module(model, path, "weights.freeze") for path in paths]
    model.freeze(*names)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("weights.freeze", f"{', '.join(names)}: nothing is left to train.")


def find_module(model: nn.Module, path: str, key: str) -> str:
    """Return the full name of the module that a path means; `backbone.stage2` is enough.

    Raises:
        ConfigError: there is none with weights; names those around it.
    """
    known = [name for name, module in model.named_modules() if name and _has_weights(module)]
    short = {name.replace(f".{_TIMM}.", ".", 1): name for name in known}
    if path in known or path in short:
        return path if path in known else short[path]
    parent = path
    while parent and parent not in short:
        parent = parent.rpartition(".")[0]
    inside = f"{parent}." if parent else ""
    here = {name for name in short if name.startswith(inside)}
    children = sorted({inside + name.removeprefix(inside).partition(".")[0] for name in here})
    where = f"{parent} has" if parent else "allowed are"
    raise ConfigError(
        key,
        f"the network has no module {path!r} with weights; {where} {', '.join(children)}, and "
        f"what is inside of them.{nearest(path, short)}",
    )


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def parameter_groups(
    model: nn.Module, factors: Mapping[str, float], layer_decay: float | None = None
) -> list[dict[str, Any]]:
    """Return the trained parameters, in a group for each factor.

    Args:
        factors: of modules, by path; the innermost path counts.
        layer_decay: factor from one layer of the backbone to the one before it, multiplied by that
            of the module.

    Raises:
        ConfigError: a path that is not a module, or a backbone whose layers are not known.
    """
    key = "weights.lr_scale"
    scaled = {"": ("", 1.0)}
    scaled |= {find_module(model, path, key): (path, factor) for path, factor in factors.items()}
    order = list(scaled)
    layers = (
        {} if layer_decay is None else layer_factors(model.get_submodule("backbone"), layer_decay)
    )
    first = min(layers.values(), default=None)
    groups: dict[tuple[int, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            around = [each for each in scaled if name.startswith(f"{each}.")]
            module = max(around, key=len, default="")
            path, factor = scaled[module]
            layer = layers.get(name.removeprefix("backbone."), 1.0)
            if layer != 1.0:  # one of many layers is logged
                path = f"{path or 'backbone'}.first_layer" if layer == first else ""
            empty = {"params": [], NAME: path, FACTOR: factor * layer}
            groups.setdefault((order.index(module), -layer), empty)["params"].append(parameter)
    return [groups[place] for place in sorted(groups)]


def scale_rates(optimizer: Optimizer) -> None:
    """Multiply the learning rate of each group by its factor."""
    for group in optimizer.param_groups:
        if FACTOR in group:
            group[UNSCALED] = group["lr"]
            group["lr"] = group["lr"] * group[FACTOR]


@contextmanager
def unscaled(optimizer: Optimizer) -> Iterator[None]:
    """Set the learning rates as a schedule knows them, for as long as it steps."""
    for group in optimizer.param_groups:
        group["lr"] = group.get(UNSCALED, group["lr"])
    yield
    scale_rates(optimizer)


def learning_rates(optimizer: Optimizer) -> dict[str, float]:
    """Return `lr` of the schedule, and `lr.MODULE` of each group with a name."""
    groups = optimizer.param_groups
    rates = {"lr": float(groups[0].get(UNSCALED, groups[0]["lr"]))}
    return rates | {f"lr.{group[NAME]}": float(group["lr"]) for group in groups if group.get(NAME)}
