"""The experiments of a sweep: overrides of a job in, its checked tree out."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dlcexp.config.checks import check_keys
from dlcexp.config.compose import (
    checked,
    compose_tree,
    log_warnings,
    put_values,
    resolve,
)
from dlcexp.config.mistakes import all_mistakes
from dlcexp.config.options import groups
from dlcexp.config.overrides import Override
from dlcexp.config.rewrite import expand
from dlcexp.errors import ConfigError


class Experiments:
    """Composes jobs from config folders, which may be copies.

    Args:
        packaged: dlcexp's options.
        own: those of the user.
    """

    def __init__(self, packaged: Path, own: Path | None) -> None:
        self._packaged, self._own = packaged, own
        self._composed: dict[tuple[Override, ...], DictConfig] = {}  # by the chosen options
        self._logged: set[str] = set()  # warnings, which all jobs may have in common

    def tree(self, overrides: Sequence[Override]) -> dict[str, Any]:
        """Return the resolved tree of a job, checked, in plain containers.

        Raises:
            ConfigError: it is invalid.
        """
        tree = all_mistakes(overrides, lambda left: checked(self._raw(left)))
        log_warnings(tree, self._logged)
        return tree

    def draft(self, overrides: Sequence[Override]) -> DictConfig:
        """Return the same, its keys checked and not its targets; imports nothing heavy."""
        return all_mistakes(
            overrides, lambda left: DictConfig(check_keys(resolve(self._raw(left))))
        )

    def _raw(self, overrides: Sequence[Override]) -> DictConfig:
        """Return the unresolved tree; jobs that differ in values alone share the composing."""
        overrides = expand(overrides, self._own)
        choices = tuple(each for each in overrides if self._decides_options(each.key))
        values = [each for each in overrides if each not in choices]
        if choices not in self._composed:
            self._composed[choices] = self._whole(choices)
        tree = copy.deepcopy(self._composed[choices])
        try:
            put_values(tree, values)
        except ConfigError:
            return self._whole(overrides)  # raises Hydra's error in full
        return tree

    def _decides_options(self, key: str) -> bool:
        own = self._own is not None and (self._own / key).is_dir()
        return own or key in (*groups(), "project") or key.startswith("hydra")

    def _whole(self, overrides: Sequence[Override]) -> DictConfig:
        return compose_tree(overrides, self._own, self._packaged)
