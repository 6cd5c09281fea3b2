"""The origin of the values of a composed tree: files, interpolations and overrides."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlcexp.config.build import plain
from dlcexp.config.compose import compose_raw, composed_files
from dlcexp.config.hydra_errors import readable
from dlcexp.config.options import ComposedFile, groups
from dlcexp.config.overrides import Override, shortened
from dlcexp.config.rewrite import weights_in_full
from dlcexp.trees import ABSENT, join, nodes, select

# `${model.recipe.lr}`, and `${..recipe.lr}`, which begins at the node around the key.
_REFERENCE = re.compile(r"\$\{(\.*)([\w.]+)\}")
# `${oc.select:KEY,DEFAULT}`.
_SELECTION = re.compile(r"\$\{oc\.select:([\w.]+)(?:,.*)?\}")


@dataclass(frozen=True)
class Origin:
    """The place where a key is set, and its value there.

    Attributes:
        key: the key, or the node around it that is set as a whole.
        place: file and line; empty for an override.
        text: the value as it is written there.
        typed: the override as typed.
    """

    key: str
    place: str
    text: str
    typed: str = ""


@dataclass(frozen=True)
class Composition:
    """A composed tree, and what it is made from.

    Attributes:
        tree: unresolved.
        files: in the order in which they are merged; later ones win.
        overrides: of keys, in full, each with its text as typed; later ones win, over all files.
    """

    tree: DictConfig
    files: Sequence[ComposedFile]
    overrides: Sequence[tuple[Override, str]]

    @cached_property
    def plain(self) -> Any:
        """The tree in plain containers, unresolved."""
        return OmegaConf.to_container(self.tree, resolve=False)

    def value(self, key: str) -> Any:
        """Return the value of a key in plain containers, resolved."""
        try:
            return plain(OmegaConf.select(self.tree, key))
        except OmegaConfBaseException as error:
            raise readable(error, self.tree) from error

    def comment(self, key: str) -> str:
        """Return the comment of the last file that sets a key."""
        setting = (file for file in reversed(self.files) if file.line_of(key))
        return next((file.comment_on(key) for file in setting), "")

    def chosen(self, group: str) -> list[str]:
        """Return the options of a group that are composed, each of them once."""
        return list(dict.fromkeys(file.path.stem for file in self.files if file.group == group))

    def origins(self, key: str) -> list[Origin]:
        """Return where a key is set, and where each key is that its value refers to, in turn."""
        found: list[Origin] = []
        while key not in (each.key for each in found):
            owner = _owner(self.plain, key)
            found.append(self._origin(owner, select(self.plain, owner)))
            target = self._target(found[-1])
            if target is None:
                break
            key = f"{target}{key.removeprefix(owner)}"
        return found

    def _origin(self, key: str, value: Any) -> Origin:
        text = value if isinstance(value, str) else shortened(value)
        for override, typed in reversed(self.overrides):
            if f"{key}.".startswith(f"{override.key}."):
                return Origin(key, "", text, typed)
        for file in reversed(self.files):
            line = file.line_of(key)
            if line is not None:
                return Origin(key, f"{file.place}:{line}", text)
        return Origin(key, "", text)

    def _target(self, origin: Origin) -> str | None:
        """Return the key that a value refers to; None if it is more than a reference."""
        if reference := _REFERENCE.fullmatch(origin.text):
            return _absolute(origin.key, *reference.groups())
        selection = _SELECTION.fullmatch(origin.text)
        return selection[1] if selection and self.value(selection[1]) is not None else None

    def references(self, origin: Origin) -> dict[str, Any]:
        """Return the keys, with their values, from which an interpolation is computed."""
        if self._target(origin):
            return {}
        keys = [
            _absolute(f"{origin.key}{path}", *found)
            for path, value in nodes(select(self.plain, origin.key))
            if isinstance(value, str)
            for found in _REFERENCE.findall(value)
        ]
        return {key: self.value(key) for key in keys}


def composition(
    overrides: Sequence[Override], typed: Sequence[str], config_dir: Path | None
) -> Composition:
    """Compose a tree, with Hydra's node, and keep what it is made from.

    Args:
        overrides: of one command, `pytorch_config=FILE` rewritten.
        typed: the same as typed.
        config_dir: a folder with further options.
    """
    tree = compose_raw(overrides, config_dir)
    files = composed_files(overrides, config_dir)
    file = next((text for text in typed if text.startswith("pytorch_config=")), "")
    own = [text for text in typed if not text.startswith("pytorch_config=")]
    imported = [f"{file}: {each.text}" for each in overrides[: len(overrides) - len(own)]]
    values = [
        (weights_in_full(override), text)
        for override, text in zip(overrides, [*imported, *own], strict=False)
        if override.key not in groups() and "/" not in override.key
    ]
    return Composition(tree, files, values)


def _owner(tree: Any, key: str) -> str:
    """Return the key, or the node around it that is an interpolation."""
    owner = ""
    for part in key.split("."):
        if select(tree, join(owner, part), ABSENT) is ABSENT:
            break
        owner = join(owner, part)
    return owner


def _absolute(key: str, dots: str, path: str) -> str:
    """Return the full path of a reference in the value of `key`; one dot is the node around it."""
    inside = re.split(r"\.|\[", key)
    parents = inside[: -len(dots)] if dots else []
    return ".".join([*parents, path])
