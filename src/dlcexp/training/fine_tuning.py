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


def parameter_groups(model: nn.Module, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the trained parameters, in a group for each factor; the innermost path counts.

    Raises:
        ConfigError: a path that is not a module.
    """
    key = "weights.lr_scale"
    scaled = {find_module(model, path, key): (path, factor) for path, factor in factors.items()}
    groups: dict[str, dict[str, Any]] = {"": {"params": [], NAME: "", FACTOR: 1.0}}
    for name, (path, factor) in scaled.items():
        groups[name] = {"params": [], NAME: path, FACTOR: factor}
    for name, parameter in model.named_parameters():
        around = [each for each in scaled if name.startswith(f"{each}.")]
        if parameter.requires_grad:
            groups[max(around, key=len, default="")]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


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
    """Return `lr` of the schedule, and `lr.MODULE` of each group with a factor."""
    groups = optimizer.param_groups
    rates = {"lr": float(groups[0].get(UNSCALED, groups[0]["lr"]))}
    return rates | {f"lr.{group[NAME]}": float(group["lr"]) for group in groups if group.get(NAME)}
