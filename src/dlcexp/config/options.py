"""The groups of `conf/` and their options: names, values, comments, and their place in a tree."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from importlib import resources
from operator import or_
from pathlib import Path
from typing import Any

from dlcexp.config.overrides import Override
from dlcexp.errors import ConfigError, nearest, together
from dlcexp.spelling import closest
from dlcexp.trees import merged
from dlcexp.yaml_files import comments_in, lines_of_keys, parse_yaml, read_text

CONFIG_MODULE = "dlcexp.conf"
CONFIG_NAME = "config"

# The group of heads in addition to that of the bodyparts.
HEADS = "model/heads"

# Groups whose options choose those of other groups.
OVERLAYS = ("method", "net_type", "experiment")

GLOBAL = "# @package _global_"
# How an entry of a defaults list begins that chooses an option of another group.
_CHOICE = ("/", "override /")


def options(group: str, folder: Path | None = None) -> list[str]:
    """Return the options of a config group, such as `optimizer`, in the order of their names.

    A file whose name begins with an underscore is what the others share, not an option. Without a
    folder, the options are those that come with dlcexp.
    """
    files = (folder or conf_folder()).joinpath(*group.split("/")).glob("[!_]*.yaml")
    return sorted(path.stem for path in files)


@cache
def groups() -> tuple[str, ...]:
    """Return every config group that comes with dlcexp, but those whose name begins with `_`."""
    root = conf_folder()
    folders = (path.parent.relative_to(root).as_posix() for path in root.rglob("*.yaml"))
    own = (
        folder
        for folder in folders
        if folder.partition("/")[0] != "hydra" and not folder.rpartition("/")[2].startswith("_")
    )
    return tuple(sorted(set(own) - {".", "net_type/multi_animal"}))


def conf_folder() -> Path:
    """Return the folder of the options that come with dlcexp."""
    return Path(str(resources.files(CONFIG_MODULE)))


def examples_folder() -> Path:
    """Return the folder of the example sweeps that come with dlcexp, next to the options."""
    return conf_folder().resolve().parent / "multirun_examples"


def check_choices(overrides: Iterable[Override]) -> None:
    """Check the options of every group choice among overrides, those of a sweep too."""
    alternatives = (each for override in overrides for each in override.alternatives())
    chosen = [each for each in alternatives if each.key in groups() and not each.is_sweep]
    problems = [problem for each in chosen if (problem := wrong_option(each))]
    if problems:
        raise together(problems)


def wrong_option(override: Override, config_dir: Path | None = None) -> ConfigError | None:
    """An error if a group has no such option, neither of dlcexp nor in a folder of the user's.

    Null chooses no option; whether a group can be without one is decided where it is rewritten.
    """
    group, value = override.key, override.value
    known = [*options(group), *(options(group, config_dir) if config_dir else ())]
    chosen = value if isinstance(value, list) else [] if value is None else [value]
    for name in chosen:
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
    """One file of `conf/`, or of a folder of the user.

    Attributes:
        group: such as `model/backbone`; empty for the table of contents.
        name: of the file.
        text: of the file.
        keys: what the file sets.
        choices: the options of other groups that its defaults list chooses, with the package there.
        shared: the files next to it whose keys it extends.
    """

    group: str
    name: str
    text: str
    keys: dict[str, Any]
    choices: tuple[Override, ...]
    shared: tuple["Option", ...]

    @property
    def meaning(self) -> str:
        """Its first comment."""
        lines = [line for line in self.text.splitlines() if line != GLOBAL]
        return lines[0].removeprefix("# ") if lines and lines[0].startswith("#") else ""

    @cached_property
    def comments(self) -> dict[str, str]:
        """The comment on the line of each key, by its dotted path."""
        return reduce(or_, [*(each.comments for each in self.shared), comments_in(self.text)])

    @cached_property
    def values(self) -> dict[str, Any]:
        """Its keys, and those of the shared files."""
        return reduce(merged, [*(each.values for each in self.shared), self.keys])

    @cached_property
    def whole(self) -> dict[str, Any]:
        """The values and, in its nodes, those of the options that it places there."""
        placed = (each for each in self.choices if each.package and "." not in each.package)
        nodes = ({str(each.package): option(each.key, str(each.value)).whole} for each in placed)
        return reduce(merged, [*(each.whole for each in self.shared), *nodes, self.keys])

    @property
    def place(self) -> str:
        """Return the dotted path of the values in the tree; empty for the top."""
        return "" if self.is_overlay else self.group.replace("/", ".")

    @property
    def is_overlay(self) -> bool:
        return self.group in ("", "method", "experiment") or self.group.startswith("net_type")


@cache
def option(group: str, name: str) -> Option:
    """Return an option that comes with dlcexp."""
    return read_option(conf_folder() / group / f"{name}.yaml", group)


def read_options(conf: Path) -> Iterator[Option]:
    """Yield every option of a folder, with what it takes from the shared files next to it."""
    for path in sorted(conf.rglob("[!_]*.yaml")):
        group = path.parent.relative_to(conf).as_posix()
        if not path.parent.name.startswith("_"):
            yield read_option(path, "" if group == "." else group)


def options_of(group: str, config_dir: Path | None = None) -> list[Option]:
    """Return the options of a group, one of Hydra's included, of dlcexp and of a further folder."""
    return [
        read_option(folder / group / f"{name}.yaml", group)
        for folder in (conf_folder(), *([config_dir] if config_dir else []))
        for name in options(group, folder)
    ]


def read_option(path: Path, group: str) -> Option:
    """Return the option in a file, or raise a `ProjectError`."""
    text = read_text(path)
    keys = parse_yaml(text, path)
    keys = keys if isinstance(keys, dict) else {}
    entries = keys.pop("defaults", None) or []
    names = [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    chosen = [_choice(str(key), value) for key, value in pairs if str(key).startswith(_CHOICE)]
    shared = [read_option(path.with_name(f"{name}.yaml"), group) for name in names]
    return Option(group, path.stem, text, keys, tuple(chosen), tuple(shared))


def _choice(key: str, value: Any) -> Override:
    """Return what an entry of a defaults list chooses: `override /scheduler@detector.scheduler`."""
    group, at, package = key.removeprefix("override ").lstrip("/").partition("@")
    return Override(group, value, package=package if at else None)


@dataclass(frozen=True)
class ComposedFile:
    """A file of options in a composed tree.

    Attributes:
        path: of the file.
        group: that it is an option of; empty for the table of contents.
        package: dotted path of the node that it fills; empty for the whole tree.
    """

    path: Path
    group: str
    package: str

    @property
    def place(self) -> str:
        """The path as a reader finds it: `conf/...` for the options of dlcexp."""
        if self.path.is_relative_to(conf_folder()):
            return f"conf/{self.path.relative_to(conf_folder()).as_posix()}"
        working = Path.cwd()
        near = self.path.is_relative_to(working)
        return (self.path.relative_to(working) if near else self.path).as_posix()

    def line_of(self, key: str) -> int | None:
        """Return the line, from 1, on which the file sets a key; None if it does not.

        An option sets the node that it fills on its first line.
        """
        return 1 if key == self.package else self._lines.get(self._inside(key))

    def comment_on(self, key: str) -> str:
        """Return the comment on the line on which the file sets a key of the tree."""
        return comments_in(read_text(self.path)).get(self._inside(key), "")

    @cached_property
    def _lines(self) -> dict[str, int]:
        return lines_of_keys(read_text(self.path))

    def _inside(self, key: str) -> str:
        """Return the key as the file has it; empty for one that is elsewhere in the tree."""
        before = f"{self.package}." if self.package else ""
        return key.removeprefix(before) if key.startswith(before) else ""
