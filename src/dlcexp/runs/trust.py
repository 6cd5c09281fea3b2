"""Classes that the `config.yaml` of a run may name: only this user's own runs allow themselves any.

A run folder can come from anyone, and building a class can do anything. So `allow_targets` in its
`config.yaml` counts only where this user made the run on this machine, which is recorded outside
of the folder: `allowed_runs` in the state folder of dlcexp (Linux: `~/.local/state/dlcexp`, or
below `XDG_STATE_HOME`) has the SHA-256 of each such `config.yaml`.
"""

import hashlib
import logging
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig
from platformdirs import user_state_path

from dlcexp.config.build import plain
from dlcexp.config.schema import TREE

logger = logging.getLogger(__name__)


def record_own(config: Path) -> None:
    """Record the `config.yaml` of a run that this user makes; do nothing without a home."""
    with suppress(OSError):
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(f"{_digest(config)}\n")


def allow_own_only(tree: DictConfig, config: Path) -> None:
    """Empty `allow_targets` of a tree that was read from a run of someone else.

    Args:
        tree: content of `config`, changed in place.
        config: the `config.yaml` of the run.
    """
    prefixes = TREE["allow_targets"].read(plain(tree.get("allow_targets") or []), "allow_targets")
    if prefixes and not _is_recorded(config):
        logger.warning(
            "%s: its allow_targets is ignored, because you did not make this run on this machine. "
            "If you trust it, type allow_targets=[%s]",
            config,
            ",".join(map(str, prefixes)),
        )
        tree.allow_targets = []


def _is_recorded(config: Path) -> bool:
    try:
        return _digest(config) in _file().read_text(encoding="utf-8").split()
    except OSError:
        return False


def _digest(config: Path) -> str:
    return hashlib.sha256(config.read_bytes()).hexdigest()


def _file() -> Path:
    return user_state_path("dlcexp", appauthor=False) / "allowed_runs"
