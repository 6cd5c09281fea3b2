"""The groups of `conf/` and their options: names, values, and what their comments say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from dlcexp.config.overrides import Override
from dlcexp.errors import ConfigError, nearest, together
from dlcexp.spelling import closest
from dlcexp.trees import merged
from dlcexp.yaml_files import comments_in, parse_yaml

CONFIG_MODULE = "dlcexp.conf"
CONFIG_NAME = "config"

# The group of heads beside that of the bodyparts.
HEADS = "model/heads"

# Groups whose options choose those of other groups.
OVERLAYS = ("method", "net_type", "experiment")

_GLOBAL = "# @package _global_"


def options(group: str) -> list[str]:
    """The options of a config group, such as `optimizer`, that come with dlcexp.

    A file whose name begins with an underscore is what the others share, not an option.
    """
    folder = Path(conf_folder(), *group.split("/"))
    return sorted(path.stem for path in folder.glob("[!_]*.yaml"))


@cache
def groups() -> tuple[str, ...]:
    """Return every config group that comes with dlcexp, in the order of its path.

    A folder whose name begins with an underscore is loaded by options, and is not a group.
    """
    root = conf_folder()
    folders = (path.parent.relative_to(root).as_posix() for path in root.rglob("*.yaml"))
    own = (
        folder
        for folder in folders
        if folder.partition("/")[0] != "hydra" and not folder.rpartition("/")[2].startswith("_")
    )
    return tuple(sorted(set(own) - {".", "net_type/multi_animal"}))


def conf_folder() -> Path:
    """Where the options that come with dlcexp are."""
    return Path(str(resources.files(CONFIG_MODULE)))


def check_choices(overrides: Iterable[Override]) -> None:
    """Check the options of every group choice among overrides, those of a sweep too.

    Raises:
        ConfigError: a group has no such option among those that come with dlcexp; `Mistakes` for
            several.
    """
    alternatives = (each for override in overrides for each in override.alternatives())
    chosen = [each for each in alternatives if each.key in groups() and not each.is_sweep]
    problems = [problem for each in chosen if (problem := wrong_option(each))]
    if problems:
        raise together(problems)


def wrong_option(override: Override, config_dir: Path | None = None) -> ConfigError | None:
    """An error if a group has no such option, neither of dlcexp nor in a folder of the user's."""
    group, value = override.key, override.value
    own = Path(config_dir, group).glob("*.yaml") if config_dir else ()
    known = [*options(group), *sorted(file.stem for file in own)]
    chosen = value if isinstance(value, list) else [value]
    for name in chosen:
        name = "null" if name is None else name
        if str(name) not in known and not str(name).startswith("multi_animal/"):
            hint, meant = nearest(str(name), known), closest(str(name), known)
            return ConfigError(
                group,
                f"{name!r} is not one of {', '.join(known)}.{hint}",
                suggestion=override.with_value(meant).text if meant and len(chosen) == 1 else "",
            )
    return None


@dataclass(frozen=True)
class Option:
    """One file of `conf/`.

    Attributes:
        group: such as `model/backbone`; empty for the table of contents.
        name: of the file.
        meaning: its first comment.
        values: what it says, without its defaults list.
        comments: what stands beside a key, by its dotted path.
    """

    group: str
    name: str
    meaning: str
    values: dict[str, Any]
    comments: dict[str, str]

    @property
    def place(self) -> str:
        """Where the values stand in the tree; empty for the top."""
        return "" if self.is_overlay else self.group.replace("/", ".")

    @property
    def is_overlay(self) -> bool:
        return self.group in ("", "method", "experiment") or self.group.startswith("net_type")


def read_options(conf: Path) -> Iterator[Option]:
    """Return every option of a folder, with what it takes from the shared files next to it."""
    for path in sorted(conf.rglob("[!_]*.yaml")):
        group = path.parent.relative_to(conf).as_posix()
        if not path.parent.name.startswith("_"):
            yield _read(path, "" if group == "." else group)


def _read(path: Path, group: str) -> Option:
    text = path.read_text(encoding="utf-8")
    values = parse_yaml(text, path) or {}
    lines = [line for line in text.splitlines() if line != _GLOBAL]
    first = lines[0].removeprefix("# ") if lines and lines[0].startswith("#") else ""
    comments = comments_in(text)
    for entry in values.pop("defaults", None) or []:
        if isinstance(entry, str) and entry != "_self_":
            shared = _read(path.with_name(f"{entry}.yaml"), group)
            values = merged(shared.values, values)
            comments = shared.comments | comments
    return Option(group, path.stem, first, values, comments)
