"""The public entry to composition: overrides in, a validated experiment out.

`pytorch_config=FILE` is rewritten here, once, into the overrides that the file amounts to; nothing
below knows that key.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from dlcexp.config import compose as config_compose
from dlcexp.config.checks import DETECTOR_KEYS
from dlcexp.config.compose import compose_tree
from dlcexp.config.mistakes import all_mistakes
from dlcexp.config.options import OVERLAYS, groups
from dlcexp.config.overrides import group_of, key_of, one_at_a_time, place_of, values_of
from dlcexp.errors import ConfigError, UserError
from dlcexp.files import expanded

logger = logging.getLogger(__name__)


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
    overrides: Sequence[str], config_dir: Path | None = None
) -> tuple[DictConfig, Path]:
    """Return the validated tree, and the run folder that Hydra's settings give it."""
    tree, folder = all_mistakes(
        rewritten(overrides), lambda left: config_compose.compose_run(left, config_dir)
    )
    config_compose.log_warnings(cast(Mapping[str, Any], tree))
    return tree, folder


def rewritten(overrides: Iterable[str]) -> list[str]:
    """Return the overrides with `pytorch_config=FILE` replaced by those that the file amounts to.

    They come before the user's overrides. Where the user chooses an option of a group, those that
    the option has no key for are left out.

    Raises:
        ConfigError: several files, or a sweep over files.
    """
    words = list(overrides)
    files = [word for word in words if word.startswith("pytorch_config=")]
    own = [word for word in words if word not in files]
    name = files[-1].partition("=")[2].strip("'\"") if files else ""
    if files and not name:
        raise ConfigError("pytorch_config", "names no file; leave the word out, or give a path.")
    if name in ("", "null"):
        return own
    path = expanded(name)
    if "," in name and not path.is_file():
        raise ConfigError(
            "pytorch_config", f"{name!r} names several files; a sweep starts from one of them."
        )
    from dlcexp.deeplabcut.to_overrides import import_config

    imported = import_config(path, own)
    for note in imported.notes:
        logger.warning("%s: not carried as it is: %s", path, note)
    return [*_still_fitting(imported.words, own), *own]


def _still_fitting(imported: Sequence[str], own: Sequence[str]) -> list[str]:
    """The words of an imported file that keep a meaning beside those of the user."""
    known_groups = groups()
    chosen = [word for word in own if group_of(word) in known_groups and "=" in word]
    places = {word.partition("=")[0] for word in chosen}
    if "net_type" in places:
        places |= {"method", "model", "model/backbone"}
    stage = [word for word in chosen if word.startswith("method=") and word != "method=td"]
    kept = [
        word
        for word in imported
        if word.partition("=")[0] not in places and not (stage and place_of(word) in DETECTOR_KEYS)
    ]
    values = [word for word in kept if group_of(word) not in known_groups]
    affected = [word for word in values if _is_below(key_of(word), map(place_of, chosen), own)]
    if not affected:
        return kept
    trees = _alternatives([word for word in kept if word not in values], chosen, own)
    lost = [word for word in affected if not all(_has_place(tree, word) for tree in trees)]
    return [word for word in kept if word not in lost]


def _is_below(key: str, places: Iterable[str], own: Sequence[str]) -> bool:
    """Whether a key lies in a node that a choice fills, or is named by the user as well."""
    if key.partition(".")[0] == "export":
        return False
    if any(choice.startswith(tuple(f"{overlay}=" for overlay in OVERLAYS)) for choice in own):
        return True
    return any(key.startswith((f"{place}.", f"{place.replace('/', '.')}.")) for place in places)


def _alternatives(
    imported: Sequence[str], chosen: Sequence[str], own: Sequence[str]
) -> list[DictConfig]:
    """The trees of the group choices alone, one for each option that a sweep of the user has."""
    project = [word for word in own if word.startswith("project=") and "," not in word]
    trees = []
    for line in one_at_a_time(map(values_of, chosen)):
        try:
            trees.append(compose_tree([*project, *imported, *line]))
        except UserError:
            continue  # said when the whole is composed
    return trees


def _has_place(tree: DictConfig, word: str) -> bool:
    """Whether an override of a key can be applied to a tree without changing what it is."""
    key = key_of(word)
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(tree, parent, throw_on_resolution_failure=False) if parent else tree
    if word.startswith("+") or name == "_target_":
        return False
    if OmegaConf.is_list(node):
        return name.isdecimal() and int(name) < len(node)
    return OmegaConf.is_dict(node) and name in node
