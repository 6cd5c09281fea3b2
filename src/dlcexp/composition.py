"""The public entry to composition: overrides in, a validated experiment out.

`pytorch_config=FILE` is rewritten here, once, into the overrides that the file amounts to; nothing
below knows that key.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf

from dlcexp.config import compose as config_compose
from dlcexp.config.compose import compose_tree
from dlcexp.config.mistakes import all_mistakes
from dlcexp.config.model_checks import DETECTOR_KEYS
from dlcexp.config.options import OVERLAYS, groups
from dlcexp.config.overrides import Override, one_at_a_time
from dlcexp.config.typed import read_typed
from dlcexp.errors import ConfigError, UserError
from dlcexp.files import expanded
from dlcexp.project import opened_once

logger = logging.getLogger(__name__)

_FILE = "pytorch_config"

Result = TypeVar("Result")


def compose(*overrides: str, config_dir: Path | None = None) -> DictConfig:
    """Compose an experiment from overrides as on the command line, validate and resolve it.

    Args:
        overrides: such as `"net_type=dekr_w32"`, `"batch_size=4"`.
        config_dir: a folder with further options, in addition to those that come with dlcexp.

    Returns:
        The resolved tree, for `dlcexp.build(cfg.model)` and `dlcexp.train(cfg)`.

    Raises:
        ConfigError: names the key, its value, what is allowed and the nearest match.
        ProjectError: the project cannot be read.
    """
    return compose_run(overrides, config_dir)[0]


def compose_run(
    overrides: Iterable[str], config_dir: Path | None = None
) -> tuple[DictConfig, Path]:
    """Return the validated tree, and the run folder that Hydra's settings give it."""
    tree, folder = composed(overrides, lambda left: config_compose.compose_run(left, config_dir))
    config_compose.log_warnings(cast(Mapping[str, Any], tree))
    return tree, folder


@opened_once()
def composed(typed: Iterable[str], compose: Callable[[list[Override]], Result]) -> Result:
    """Return `compose(overrides)` for overrides as typed, or raise all mistakes in them together.

    Args:
        typed: overrides of one command; `pytorch_config=FILE` is rewritten.
        compose: composes and checks overrides.

    Raises:
        UserError: the only mistake, or `Mistakes`.
    """
    return all_mistakes(rewritten(typed), compose)


@opened_once()
def rewritten(overrides: Iterable[str], *, sweep: bool = False) -> list[Override]:
    """Read overrides, and replace `pytorch_config=FILE` by those that the file amounts to.

    They come before the user's overrides. Where the user chooses an option of a group, those that
    the option has no key for are left out.

    Args:
        overrides: as typed.
        sweep: a comma separates the values of a sweep, also of a key that is text.

    Raises:
        ConfigError: an override that cannot be read, several files, or a sweep over files.
    """
    read = [Override.with_text(text) for text in overrides]
    own = read_typed((each.text for each in read if each.key != _FILE), sweep=sweep)
    path = _file([str(each.value or "") for each in read if each.key == _FILE])
    if path is None:
        return own
    from dlcexp.deeplabcut.to_overrides import import_config

    imported = import_config(path, own)
    for note in imported.notes:
        logger.warning("%s: not carried as it is: %s", path, note)
    if imported.kept:
        logger.info("%s: without effect here: %s", path, ", ".join(imported.kept))
    return [*_still_fitting(imported.overrides, own), *own]


def _file(names: Sequence[str]) -> Path | None:
    """Return the file that the last of some names means."""
    name = names[-1] if names else "null"
    if name == "null":
        return None
    if not name:
        raise ConfigError(_FILE, "names no file; leave it out, or give a path.")
    path = expanded(name)
    if "," in name and not path.is_file():
        raise ConfigError(_FILE, f"{name!r} names several files; a sweep starts from one of them.")
    return path


def _still_fitting(imported: Sequence[Override], own: Sequence[Override]) -> list[Override]:
    """Return the overrides of an imported file that keep a meaning next to those of the user."""
    chosen = [each for each in own if each.key in groups() and not each.is_deletion]
    names = {each.name for each in chosen}
    if "net_type" in names:
        names |= {"method", "model", "model/backbone"}
    no_detector = any(each.key == "method" and each.value != "td" for each in chosen)
    kept = [
        each
        for each in imported
        if each.name not in names and not (no_detector and each.place in DETECTOR_KEYS)
    ]
    values = [each for each in kept if each.key not in groups()]
    affected = [each for each in values if _is_below(each.key, chosen)]
    if not affected:
        return kept
    choices = [each for each in kept if each.key in groups()]
    trees = _alternatives(choices, chosen, own)
    lost = [each for each in affected if not all(_has_place(tree, each) for tree in trees)]
    return [each for each in kept if each not in lost]


def _is_below(key: str, choices: Sequence[Override]) -> bool:
    """Return True if a key is in a node that a choice fills, or may be set by an overlay."""
    if key.partition(".")[0] == "export":
        return False
    return any(
        choice.key in OVERLAYS
        or key.startswith((f"{choice.place}.", f"{choice.place.replace('/', '.')}."))
        for choice in choices
    )


def _alternatives(
    imported: Sequence[Override], chosen: Sequence[Override], own: Sequence[Override]
) -> list[DictConfig]:
    """The trees of the group choices alone, one for each option that a sweep of the user has."""
    project = [each for each in own if each.key == "project" and not each.is_sweep]
    trees = []
    for line in one_at_a_time(choice.alternatives() for choice in chosen):
        try:
            trees.append(compose_tree([*project, *imported, *line]))
        except UserError:
            continue  # raised when the whole is composed
    return trees


def _has_place(tree: DictConfig, override: Override) -> bool:
    """Return True if an override of a key can be applied to a tree without changing what it is."""
    parent, _, name = override.key.rpartition(".")
    node = OmegaConf.select(tree, parent, throw_on_resolution_failure=False) if parent else tree
    if override.prefix.startswith("+") or name == "_target_":
        return False
    if OmegaConf.is_list(node):
        return name.isdecimal() and int(name) < len(node)
    return OmegaConf.is_dict(node) and name in node
