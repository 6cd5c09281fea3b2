"""Callbacks of the tree, Lightning's and the user's: built for a stage, called, and stored."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from hydra.errors import InstantiationException
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from dlcexp.config.build import build, root_cause
from dlcexp.errors import ConfigError


def build_callbacks(nodes: Mapping[str, Any]) -> list[Callback]:
    """Build the callbacks of one stage, in the order of the tree.

    Raises:
        ConfigError: a class refuses its arguments, or two states would have one name.
    """
    built: dict[str, Callback] = {}
    owners: dict[str, str] = {}
    for name, node in nodes.items():
        key = f"callbacks.{name}"
        built[key] = _build(node, key)
        if type(built[key]).state_dict is Callback.state_dict:
            continue
        owner = owners.setdefault(built[key].state_key, key)
        if owner != key:
            raise ConfigError(
                key,
                f"its state and that of {owner} would both be {built[key].state_key!r} in "
                "last.ckpt. Give the class a property `state_key` that differs.",
            )
    return list(built.values())


def _build(node: Any, key: str) -> Callback:
    try:
        callback: Callback = build(node, key=key)
    except InstantiationException as error:
        cause = root_cause(error)
        if not isinstance(cause, MisconfigurationException):
            raise
        raise ConfigError(key, f"{node['_target_']} refuses its arguments: {cause}") from error
    return callback


@contextmanager
def misuse() -> Iterator[None]:
    """Raise what Lightning or a callback finds misconfigured as the user's mistake.

    Raises:
        ConfigError: with the message of Lightning.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise ConfigError("callbacks", str(error)) from error


@contextmanager
def validating(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Call the callbacks around an evaluation, as Lightning does around a validation."""
    _call("on_validation_start", trainer, module)
    _call("on_validation_epoch_start", trainer, module)
    yield
    _call("on_validation_epoch_end", trainer, module)
    _call("on_validation_end", trainer, module)


def weights_to_keep(trainer: Trainer, module: LightningModule) -> dict[str, Tensor]:
    """Return the weights as callbacks put them into a checkpoint, such as their average."""
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    _call("on_save_checkpoint", trainer, module, checkpoint)
    return checkpoint["state_dict"]


def _call(hook: str, trainer: Trainer, *arguments: Any) -> None:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        getattr(callback, hook)(trainer, *arguments)


def check_states(states: Mapping[str, Any]) -> None:
    """Refuse a state that a resumed run could not load.

    Args:
        states: what `state_dict()` of each callback returns, by its `state_key`.

    Raises:
        ConfigError: names the callback and the types.
    """
    for name, state in states.items():
        content = io.BytesIO()
        torch.save(state, content)
        content.seek(0)
        if types := get_unsafe_globals_in_checkpoint(content):
            raise ConfigError(
                "callbacks",
                f"state_dict() of {name} holds {', '.join(types)}, which no run could resume "
                "from. Allowed: tensors, numbers, texts, and lists and mappings of them.",
            )
