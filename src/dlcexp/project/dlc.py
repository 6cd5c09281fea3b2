"""The `config.yaml` of a DeepLabCut project."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from dlcexp.errors import ProjectError, nearest
from dlcexp.project.frames import images_per_folder
from dlcexp.project.model import SINGLE_ANIMAL, Project
from dlcexp.project.pytorch_config import described_project, is_pytorch_config
from dlcexp.yaml_files import read_as_text

_NULL = ("", "~", "null", "Null", "NULL")


def dlc_project(source: Path) -> Project:
    """Read the `config.yaml` of a DeepLabCut project, or what a `pytorch_config.yaml` has of it.

    Raises:
        ProjectError: it cannot be read, or contradicts itself.
    """
    config = _ConfigYaml(source)
    if is_pytorch_config(config.fields):
        return described_project(source, config.fields)
    multianimal = bool(config.flag("multianimalproject"))
    if multianimal:
        bodyparts = config.names("multianimalbodyparts", required=True)
        unique = config.names("uniquebodyparts")
        individuals = config.names("individuals", required=True)
        _reject_twice(bodyparts + unique, f"{config.source}: uniquebodyparts")
    else:
        bodyparts = _single_animal_bodyparts(config)
        unique, individuals = (), SINGLE_ANIMAL
    known = {*bodyparts, *unique}
    return Project(
        source=config.source,
        root=config.source.parent,
        kind="dlc",
        name=config.required("Task"),
        scorer=config.text("scorer"),
        date=config.text("date"),
        multianimal=multianimal,
        bodyparts=bodyparts,
        unique_bodyparts=unique,
        individuals=individuals,
        with_identity=config.flag("identity"),
        skeleton=tuple(edge for edge in config.pairs("skeleton") if known.issuperset(edge)),
        iteration=config.whole("iteration"),
        pcutoff=config.number("pcutoff"),
        labeled_data=images_per_folder(config.source.parent),
        superanimal_tables=config.tables("SuperAnimalConversionTables"),
        videos=config.videos(),
    )


class _ConfigYaml:
    """Fields of a config.yaml, all read as text; each is asked for by the type it must have."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.fields = _fields_of(source)

    def error(self, key: str, problem: str) -> ProjectError:
        return ProjectError(f"{self.source}: {key}: {problem}")

    def raw(self, key: str) -> Any:
        return self.fields.get(key, "")

    def text(self, key: str) -> str:
        """Return the text of a field; empty where it is missing or null."""
        value = self.raw(key)
        if not isinstance(value, str):
            raise self.error(key, f"must be a single value, not {value!r}.")
        return "" if value in _NULL else value

    def required(self, key: str) -> str:
        value = self.text(key)
        if not value:
            raise self.error(key, f"is missing.{self._hint(key)}")
        return value

    def flag(self, key: str) -> bool | None:
        value = self.text(key)
        values = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if value and value.lower() not in values:
            raise self.error(key, f"must be true, false or empty, not {value!r}.")
        return values.get(value.lower())

    def number(self, key: str) -> float | None:
        value = self.text(key)
        try:
            return float(value) if value else None
        except ValueError:
            raise self.error(key, f"must be a number, not {value!r}.") from None

    def whole(self, key: str) -> int:
        value = self.text(key) or "0"
        if not value.isdecimal():
            raise self.error(key, f"must be a whole number from 0, not {value!r}.")
        return int(value)

    def names(self, key: str, *, required: bool = False) -> tuple[str, ...]:
        """Return a list of names; empty where it is missing or null and optional."""
        value = self.raw(key)
        names = [] if isinstance(value, str) and value in _NULL else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self.error(key, f"must be a list of names, not {value!r}.")
        if required and not names:
            raise self.error(key, f"needs at least one name.{self._hint(key)}")
        _reject_twice(names, f"{self.source}: {key}")
        return tuple(names)

    def pairs(self, key: str) -> list[tuple[str, str]]:
        value = self.raw(key)
        pairs = [] if isinstance(value, str) and value in _NULL else value
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
            raise self.error(key, f"must be a list of pairs of bodyparts, not {value!r}.")
        return [(pair[0], pair[1]) for pair in pairs]

    def tables(self, key: str) -> dict[str, dict[str, str]]:
        """Return names by name, by the name of a table; empty where it is missing or null."""
        value = self.raw(key)
        tables = {} if isinstance(value, str) and value in _NULL else value
        if not isinstance(tables, dict) or not all(_is_table(each) for each in tables.values()):
            raise self.error(key, f"must hold a table of names for each data set, not {value!r}.")
        return {name: dict(table) for name, table in tables.items() if isinstance(table, dict)}

    def videos(self) -> frozenset[str]:
        sets = self.raw("video_sets")
        return frozenset(
            PureWindowsPath(name).stem for name in sets or () if isinstance(sets, dict)
        )

    def _hint(self, key: str) -> str:
        return "" if key in self.fields else nearest(key, map(str, self.fields))


def _fields_of(source: Path) -> Mapping[str, Any]:
    fields = read_as_text(source)
    if not isinstance(fields, dict):
        raise ProjectError(f"{source}: is not the config.yaml of a DeepLabCut project: no keys.")
    if not is_pytorch_config(fields) and not fields.keys() & {"Task", "bodyparts"}:
        raise ProjectError(
            f"{source}: is not the config.yaml of a DeepLabCut project: it has neither Task nor "
            "bodyparts."
        )
    return fields


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(isinstance(name, str) for name in value)
    )


def _is_table(value: object) -> bool:
    if isinstance(value, str):
        return value in _NULL
    return isinstance(value, dict) and all(isinstance(name, str) for name in value.values())


def _reject_twice(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ProjectError(f"{where}: {name!r} is named twice.")
        seen.add(name)


def _single_animal_bodyparts(config: _ConfigYaml) -> tuple[str, ...]:
    if config.raw("bodyparts") == "MULTI!":
        raise config.error(
            "bodyparts", "is MULTI!, and multianimalproject is not true; set that to true."
        )
    return config.names("bodyparts", required=True)
