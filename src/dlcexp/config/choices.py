"""The groups of `conf/` and their options, and the overrides that choose one."""

from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from dlcexp.errors import ConfigError, nearest

CONFIG_MODULE = "dlcexp.conf"
CONFIG_NAME = "config"

# The group of heads beside that of the bodyparts.
HEADS = "model/heads"

# Groups whose options choose those of other groups.
OVERLAYS = ("method", "net_type", "experiment")


def options(group: str) -> list[str]:
    """The options of a config group, such as `optimizer`, that come with dlcexp.

    A file whose name begins with an underscore is what the others share, not an option.
    """
    folder = Path(conf_folder(), *group.split("/"))
    return sorted(path.stem for path in folder.glob("[!_]*.yaml"))


@cache
def groups() -> tuple[str, ...]:
    """Every config group that comes with dlcexp, in the order of its path."""
    root = conf_folder()
    folders = (path.parent.relative_to(root).as_posix() for path in root.rglob("*.yaml"))
    own = (folder for folder in folders if folder.partition("/")[0] != "hydra")
    return tuple(sorted(set(own) - {".", "net_type/multi_animal"}))


def conf_folder() -> Path:
    """Where the options that come with dlcexp are."""
    return Path(str(resources.files(CONFIG_MODULE)))


def group_of(word: str) -> str:
    """The group of an override such as `optimizer@detector.optimizer=sgd`."""
    return key_of(word).partition("@")[0]


def key_of(word: str) -> str:
    """What an override is about, whether it sets (`key=`), adds (`+`, `++`) or deletes (`~`)."""
    return word.partition("=")[0].lstrip("+~")


def place_of(word: str) -> str:
    """The node that a group choice fills: the package after `@`, or that of the outermost group."""
    group, _, package = key_of(word).partition("@")
    return package or group.partition("/")[0]


def quoted(value: Any) -> str:
    """A value as Hydra's overrides take it, whatever characters it has."""
    escaped = str(value).replace("\\", "/").replace("'", "\\'")
    return str(value) if isinstance(value, int) else f"'{escaped}'"


def check_choices(words: Iterable[str]) -> None:
    """Check the options of every group choice among overrides, those of a sweep too.

    Raises:
        ConfigError: a group has no such option among those that come with dlcexp.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if any(word.partition("=")[0] in ("--config-dir", "-cd") for word in words):
        return  # there may be options of the user's own
    known_groups = groups()
    for word in words:
        if group_of(word) not in known_groups:
            continue
        try:
            override = OverridesParser.create().parse_override(word)
            swept = override.is_sweep_override() and not override.is_discrete_sweep()
        except HydraException:
            continue  # Hydra says what it cannot read
        if swept:
            continue
        values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
        for value in values:
            name = value if isinstance(value, list) else str(value)
            if problem := wrong_option(group_of(word), name):
                raise problem


def wrong_option(group: str, value: Any, config_dir: Path | None = None) -> ConfigError | None:
    """An error if a group has no such option, neither of dlcexp nor in a folder of the user's."""
    own = Path(config_dir, group).glob("*.yaml") if config_dir else ()
    known = [*options(group), *sorted(file.stem for file in own)]
    chosen = value if isinstance(value, list) else [value]
    for name in chosen:
        name = "null" if name is None else name
        if str(name) not in known and not str(name).startswith("multi_animal/"):
            hint = nearest(str(name), known)
            return ConfigError(group, f"{name!r} is not one of {', '.join(known)}.{hint}")
    return None


def unreadable(word: str) -> ConfigError:
    key, _, value = word.partition("=")
    plain = key and value and not set(value) & set("'\"[]{}()")
    quotes = f" A value that is to be taken as it is stands in quotes: \"{key}='{value}'\"."
    return ConfigError(
        "", f"cannot read the override {word!r}; the form is key=value.{quotes if plain else ''}"
    )
