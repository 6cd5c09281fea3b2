"""Settings of a command, declared once: parsing, `--help` and completion read the declarations."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from dlcexp.config.overrides import Override
from dlcexp.errors import ConfigError, UserError, closest, nearest, together
from dlcexp.files import expanded, names_in

Row = tuple[str, str]


@dataclass(frozen=True)
class Kind:
    """A type of values.

    Attributes:
        read: converts the text of a value; raises `ValueError`, which describes the mistake.
        shown: how `--help` writes a value that has no default, such as `PATH`.
        choices: the values, where only these are allowed.
        paths: what completion offers for a value.
        bare: the value of a flag that is given without one; empty where it needs one.
        any_text: a bare argument may be a value although it looks like an override.
    """

    read: Callable[[str], Any]
    shown: str = ""
    choices: tuple[str, ...] = ()
    paths: Literal["", "files", "folders"] = ""
    bare: str = ""
    any_text: bool = False


@dataclass(frozen=True)
class Setting:
    """A value that a command takes: `name=value`, `--name value`, or a bare argument.

    Attributes:
        name: such as `snapshot`, `predict.batch_size` or `--config-dir`.
        kind: type of the value.
        meaning: for `--help`.
        default: the value where none is given.
        flags: further names, such as `-cd`.
        shown: how `--help` writes the value, where not by its default or its kind.
        keyword: the parameter of the command's `run`; by default the last part of the name.
        required: the command needs a value.
        positional: given as a bare argument, too.
        several: its values are a list, of every bare argument that no other setting takes.
    """

    name: str
    kind: Kind
    meaning: str
    default: Any = None
    flags: tuple[str, ...] = ()
    shown: str = ""
    keyword: str = ""
    required: bool = False
    positional: bool = False
    several: bool = False

    @property
    def parameter(self) -> str:
        """The keyword by which the value is passed to the command."""
        return self.keyword or self.name.rpartition(".")[2].lstrip("-").replace("-", "_")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.flags)

    @property
    def example(self) -> str:
        """The value as `--help` writes it: the default, or what kind of value it is."""
        if self.shown or self.default is None:
            return self.shown or self.kind.shown
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)

    @property
    def form(self) -> str:
        """The setting as one types it: `name=value`, `--name VALUE`, `DIR`."""
        if self.positional:
            return self.example
        if not self.name.startswith("-"):
            return f"{self.name}={self.example}"
        if self.kind is SWITCH:
            return self.name
        return f"{self.name} [{self.example}]" if self.kind.bare else f"{self.name} {self.example}"

    def value(self, text: str) -> Any:
        """Return the value that a text means.

        Raises:
            ConfigError: names the setting, the text and what is allowed.
        """
        try:
            return self.kind.read(text)
        except (ValueError, OSError) as error:
            raise ConfigError(self.name, str(error)) from None


@dataclass(frozen=True)
class Section:
    """Lines of `--help` in addition to the settings: an override or argument, and its meaning.

    Attributes:
        title: the line above.
        rows: the lines, or what returns them where they take time to collect.
    """

    title: str
    rows: tuple[Row, ...] | Callable[[], Iterable[Row]]


@dataclass(frozen=True)
class Command:
    """A command: what it does and what it takes.

    Attributes:
        name: the first argument of `dlcexp`.
        about: what it does, in paragraphs.
        settings: in the order of `--help`; each may be given once, the last one counts.
        exclusive: names of settings of which one may be given.
        takes_overrides: other arguments of the form `key=value` are overrides of the tree.
        namespace: keys below this one are settings, never overrides.
        sections: further lines for `--help`.
        examples: command lines.
    """

    name: str
    about: str
    settings: tuple[Setting, ...] = ()
    exclusive: tuple[str, ...] = ()
    takes_overrides: bool = False
    namespace: str = ""
    sections: tuple[Section, ...] = ()
    examples: tuple[str, ...] = ()

    @property
    def by_name(self) -> dict[str, Setting]:
        """The settings by every name that they have."""
        return {name: setting for setting in self.settings for name in setting.names}


def parse(command: Command, arguments: Iterable[str]) -> dict[str, Any]:
    """Return the values of a command's settings by parameter, and its `overrides` if it has any.

    Raises:
        UserError: all mistakes in the settings, one per line, in the order in which they were
            typed.
    """
    reading = Reading(command, arguments)
    mistakes = [*reading.mistakes, *reading.missing()]
    if mistakes:
        raise together(mistakes)
    values = {each.parameter: each.default for each in command.settings} | reading.values
    return values | {"overrides": reading.overrides} if command.takes_overrides else values


def refuse_blanks(arguments: Sequence[str]) -> None:
    """Refuse `key = value`, which a shell takes apart.

    Raises:
        UserError: shows it without the blanks.
    """
    for number, (before, after) in enumerate(pairwise(arguments)):
        is_value = "=" not in after and not after.startswith(("-", "~"))
        if after.startswith("=") or (before.endswith("=") and is_value):
            following = arguments[number + 2 :][: after == "="]
            whole = "".join([before, after, *following])
            raise UserError(f"blanks around '=' make several arguments; write {whole}")


class Reading:
    """The arguments of a command, sorted into settings, overrides and mistakes.

    Attributes:
        values: of the settings that were given, by parameter.
        overrides: those for the tree.
        mistakes: what cannot be read, in the order in which it was typed.
    """

    def __init__(self, command: Command, arguments: Iterable[str]) -> None:
        self.command = command
        self.values: dict[str, Any] = {}
        self.overrides: list[str] = []
        self.mistakes: list[UserError] = []
        self._given: dict[str, str] = {}
        self._left = deque(arguments)
        while self._left:
            try:
                self._read(self._left.popleft())
            except UserError as error:
                self.mistakes.append(error)

    def missing(self) -> list[UserError]:
        """Return an error for each setting that is needed and was not given."""
        absent = [each for each in self.command.settings if each.required and not self.has(each)]
        return [self._missing(setting) for setting in absent]

    def has(self, setting: Setting) -> bool:
        """True if the setting was given, with a value that can be read or not."""
        return setting.name in self._given

    @property
    def free_position(self) -> Setting | None:
        """The setting that the next bare argument gives."""
        positions = (each for each in self.command.settings if each.positional)
        return next((each for each in positions if each.several or not self.has(each)), None)

    def _read(self, argument: str) -> None:
        override = Override.with_text(argument)
        name, text = override.left_side, override.value
        setting = self.command.by_name.get(name)
        if setting and setting.name.startswith("-"):
            self._set(setting, self._following(setting) if text is None else text, name)
        elif setting and (text is not None or name.startswith("-")):
            self._set(setting, setting.kind.bare if text is None else text, name)
        elif name.startswith("-"):
            raise UserError(f"unknown flag {name!r}.{self._meant_by_flag(name, text)}")
        elif (position := self.free_position) and self._is_positional(position, argument):
            self._set(position, argument, position.name)
        else:
            self._read_override(argument, name)

    def _set(self, setting: Setting, text: str, name: str) -> None:
        exclusive = self.command.exclusive if setting.name in self.command.exclusive else ()
        others = [self._given[each] for each in exclusive if each in self._given]
        if others and setting.name not in self._given:
            raise UserError(f"{others[0]} and {name} exclude each other; give one of them.")
        self._given[setting.name] = name
        value = setting.value(text)
        before = self.values.get(setting.parameter, [])
        self.values[setting.parameter] = [*before, value] if setting.several else value

    def _following(self, setting: Setting) -> str:
        """Return the value of a flag that takes the next argument."""
        following = self._left[0] if self._left else ""
        if setting.kind.bare and following not in setting.kind.choices:
            return setting.kind.bare
        if not following:
            raise ConfigError(setting.name, f"needs a value: {setting.form}")
        return self._left.popleft()

    def _is_positional(self, position: Setting, argument: str) -> bool:
        """Return True if an argument that names no setting gives a value by its position.

        A path may hold `=`, as folders of sweeps do.
        """
        if position.kind.any_text or ("=" not in argument and not argument.startswith("~")):
            return True
        return bool(position.kind.paths) and os.path.exists(expanded(argument))  # noqa: PTH110 (that of pathlib may raise)

    def _read_override(self, argument: str, name: str) -> None:
        namespace = self.command.namespace
        if self.command.takes_overrides and ("=" in argument or argument.startswith("~")):
            if not namespace or name.partition(".")[0] != namespace:
                self.overrides.append(argument)
                return
        elif "=" not in argument:
            form = "; the form is key=value" if self.command.takes_overrides else ""
            raise UserError(
                f"cannot read {argument!r}{form}. See dlcexp {self.command.name} --help."
            )
        names = [each.name for each in self.command.settings if not each.positional]
        raise ConfigError(
            name, f"is not a setting of dlcexp {self.command.name}.{nearest(name, names)}"
        )

    def _meant_by_flag(self, name: str, text: str | None) -> str:
        """Return a hint: the nearest flag, or the key that it is, with its value."""
        hint = nearest(name, [each for each in self.command.by_name if each.startswith("-")])
        if hint or not name.startswith("--"):
            return hint
        following = self._left[0] if self._left and self.command.takes_overrides else "-"
        if text is None and following and "=" not in following and following[0] not in "-~":
            text = self._left.popleft()
        key = name.removeprefix("--").replace("-", "_")
        return f" Write it without dashes: {key}={'VALUE' if text is None else text}"

    def _missing(self, setting: Setting) -> UserError:
        keys = (Override.with_text(argument).left_side for argument in self.overrides)
        typed = closest(setting.name, keys)
        hint = (
            f"Did you mean it by {typed!r}?" if typed else f"See dlcexp {self.command.name} --help."
        )
        return UserError(f"{setting.form} is needed: {setting.meaning}. {hint}")


def _path(text: str) -> Path:
    if not text:
        raise ValueError("needs a path.")
    return expanded(text)


def _existing(text: str) -> Path:
    path = _path(text)
    if not path.exists():
        raise ValueError(f"there is no {text!r}.{nearest(path.name, names_in(path.parent))}")
    return path


def _folder(text: str) -> Path:
    path = _existing(text)
    if not path.is_dir():
        raise ValueError(f"{text!r} is not a folder.")
    return path


def _true_or_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is not true or false.")
    return text.lower() == "true"


def _several(text: str) -> list[str]:
    """Return the items of a list such as `[a.mp4,b.mp4]`, or the text alone."""
    return text[1:-1].split(",") if text[:1] + text[-1:] == "[]" else [text]


TEXT = Kind(str)
PATH = Kind(_path, "PATH", paths="files")
FOLDER = Kind(_path, "DIR", paths="folders")
PATHS = Kind(_several, "PATH", paths="files")
PROJECT = Kind(str, "PATH", paths="files")
SWITCH = Kind(_true_or_false, choices=("true", "false"), bare="true")


def switch(name: str, meaning: str, *flags: str) -> Setting:
    """Return a flag that is off unless given."""
    return Setting(name, SWITCH, meaning, default=False, flags=flags)


def whole(least: int) -> Kind:
    """Return the kind of whole numbers from `least`."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"{text!r} is not a whole number from {least}.")
        return int(text)

    return Kind(read, "N")


def one_of(*choices: str, bare: str = "") -> Kind:
    """Return the kind of a choice, which is `bare` for a flag without a value."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(
                f"{text!r} is not one of {', '.join(choices)}.{nearest(text, choices)}"
            )
        return text

    return Kind(read, choices=choices, bare=bare)


RUN = Setting(
    "run",
    Kind(_existing, "DIR", paths="files"),
    "a run folder",
    shown="[run=]DIR",
    keyword="run_folder",
    required=True,
    positional=True,
)
SNAPSHOT = Setting(
    "snapshot",
    TEXT,
    "weights of the pose model: best, an epoch (of a periodic snapshot), or a file",
    shown="best",
)
CONFIG_DIR = Setting(
    "--config-dir",
    Kind(_folder, "DIR", paths="folders"),
    "a folder with your own options, in subfolders named as the groups",
    flags=("-cd",),
)
