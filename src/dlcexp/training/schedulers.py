"""Optimizers and schedules from their nodes of the tree; a scheduler steps once an epoch."""

import functools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, SparseAdam
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dlcexp.config.build import build
from dlcexp.errors import ConfigError


class LRListScheduler(LRScheduler):
    """DeepLabCut's schedule: from each milestone on, the learning rates are the listed values.

    Args:
        optimizer: the optimizer whose learning rates are set.
        milestones: epochs, ascending.
        lr_list: for each milestone the learning rates: one, or one per parameter group.
        last_epoch: epochs already done; -1 before the first.

    Raises:
        ValueError: the lists do not match each other or the parameter groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        lr_list: Sequence[Sequence[float]],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(lr_list):
            raise ValueError(
                f"{len(milestones)} milestones need as many entries of lr_list, not {len(lr_list)}"
            )
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f"milestones must ascend: {list(milestones)}")
        groups = len(optimizer.param_groups)
        for lrs in lr_list:
            if len(lrs) not in (1, groups):
                raise ValueError(
                    f"lr_list entry {list(lrs)} needs one value, or "
                    f"one per parameter group ({groups})"
                )
        self.milestones = list(milestones)
        self.lr_list = [list(lrs) for lrs in lr_list]
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rates of the epoch `last_epoch`, one per parameter group."""
        if self.last_epoch in self.milestones:
            lrs = self.lr_list[self.milestones.index(self.last_epoch)]
            groups = len(self.optimizer.param_groups)
            return [*(lrs * groups if len(lrs) == 1 else lrs)]
        return [group["lr"] for group in self.optimizer.param_groups]


class ExponentialDecay:
    """For `LambdaLR`: gamma ** epoch.

    Args:
        gamma: factor of the learning rate per epoch.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, epoch: int) -> float:
        """The factor of the initial learning rate."""
        return self.gamma**epoch


class InverseSquareRoot:
    """For `LambdaLR`: linear over `warmup` epochs, then 1 / sqrt(epoch) (Vaswani et al., 2017)."""

    def __init__(self, warmup: int) -> None:
        if warmup < 1:
            raise ValueError(f"warmup must be at least 1 epoch, not {warmup}")
        self.warmup = warmup

    def __call__(self, epoch: int) -> float:
        """The factor of the initial learning rate."""
        step = epoch + 1
        return min(step / self.warmup, (self.warmup / step) ** 0.5)


class ConstantFactor:
    """For `MultiplicativeLR`: the same factor each epoch.

    Args:
        factor: factor of the learning rate per epoch.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, epoch: int) -> float:
        """The factor of the learning rate of the epoch before."""
        return self.factor


def build_optimizer(node: Any, params: Iterable[Any], key: str = "optimizer") -> Optimizer:
    """Build the optimizer of a `_partial_` node.

    Args:
        node: node of a class of `torch.optim`.
        params: parameters or parameter groups.
        key: path of the node in the tree, for messages.

    Raises:
        ConfigError: the optimizer refuses its arguments or these parameters.
    """
    try:
        return build(node, key=key)(params)
    except (TypeError, ValueError) as error:
        raise _refused(node, key, error) from error


def check_optimizer(optimizer: Optimizer, key: str = "optimizer") -> None:
    """Refuse what cannot train a network of dense weights.

    Raises:
        ConfigError: the gradients would have to be sparse.
    """
    if isinstance(optimizer, SparseAdam):
        raise ConfigError(
            key,
            "SparseAdam takes sparse gradients, and no layer of a pose model gives them; take adam",
        )


def build_scheduler(
    node: Any, optimizer: Optimizer, key: str = "scheduler"
) -> LRScheduler | ReduceLROnPlateau | None:
    """Build the schedule of a `_partial_` node, with those nested in it; None for null.

    Raises:
        ConfigError: the scheduler refuses its arguments or this optimizer.
    """
    if not node:
        return None
    try:
        # SequentialLR steps its parts while it is made, which torch itself warns about.
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", category=UserWarning, module="torch.optim.lr_scheduler"
            )
            return _complete(build(node, key=key), optimizer, nested=False)
    except (TypeError, ValueError) as error:
        raise _refused(node, key, error) from error


def _refused(node: Any, key: str, error: Exception) -> ConfigError:
    """An error of torch, which often ends in the value, with the key of the argument if so."""
    named = [name for name, value in node.items() if str(error).endswith(f": {value}")]
    full = f"{key}.{named[0]}" if len(named) == 1 else key
    return ConfigError(full, f"{node['_target_']} refuses: {error}")


def _complete(part: Any, optimizer: Optimizer, *, nested: bool = True) -> Any:
    """Call a partial with the optimizer, after the partials in the lists among its arguments."""
    if not isinstance(part, functools.partial):
        return part
    if nested and part.func is ReduceLROnPlateau:
        raise ValueError(
            "ReduceLROnPlateau needs a metric and cannot stand inside another schedule"
        )
    arguments = {
        name: [_complete(item, optimizer) for item in value] if isinstance(value, list) else value
        for name, value in part.keywords.items()
    }
    return part.func(*part.args, optimizer=optimizer, **arguments)
