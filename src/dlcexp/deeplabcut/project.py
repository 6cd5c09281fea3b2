"""What a project says of itself: a DeepLabCut `config.yaml`, or the head of a COCO keypoint file.

Read each time a tree is composed, so this module imports neither pandas nor torch.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from dlcexp.errors import ProjectError, nearest
from dlcexp.files import expanded

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
LABELED_DATA = "labeled-data"
DEMO = "demo"
SINGLE_ANIMAL = ("individual_1",)

# Every scalar is read as text: a bodypart called `no`, `1` or `1e5` keeps its name, as in the
# YAML 1.2 that DeepLabCut reads, and no tag can make an object.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NULL = ("", "~", "null", "Null", "NULL")
_SHOWN = 8


@dataclass(frozen=True)
class Project:
    """A labelled project.

    Attributes:
        source: its `config.yaml`, or the COCO file.
        root: the folder that holds `source`; the `project_path` in a config.yaml is often stale.
        name: `Task` of a config.yaml, or the COCO file's name without suffix.
        bodyparts: of every individual, in the order of the label arrays.
        unique_bodyparts: points of which a frame has one each, such as the corners of an arena.
        individuals: names of the slots; `("individual_1",)` for a single animal.
        with_identity: `identity` of config.yaml; None where it is null.
        skeleton: pairs of names; pairs that name an unknown bodypart are left out, because
            DeepLabCut's template for config.yaml holds such pairs.
        iteration: the current refinement round, part of the paths of shuffles.
        labeled_data: number of images in each video folder.
        superanimal_tables: `SuperAnimalConversionTables` of a config.yaml: by data set, what a
            bodypart of the project is called there.
    """

    source: Path
    root: Path
    kind: Literal["dlc", "coco"]
    name: str
    scorer: str
    date: str
    multianimal: bool
    bodyparts: tuple[str, ...]
    unique_bodyparts: tuple[str, ...]
    individuals: tuple[str, ...]
    with_identity: bool | None
    skeleton: tuple[tuple[str, str], ...]
    iteration: int
    pcutoff: float | None
    labeled_data: Mapping[str, int] = field(default_factory=dict)
    superanimal_tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """The `metadata` block of the tree, in plain containers."""
        return {
            "project_name": self.name,
            "bodyparts": list(self.bodyparts),
            "unique_bodyparts": list(self.unique_bodyparts),
            "individuals": list(self.individuals),
            "with_identity": self.with_identity,
            "skeleton": [list(edge) for edge in self.skeleton],
            "multianimal": self.multianimal,
            "num_bodyparts": len(self.bodyparts),
            "num_individuals": len(self.individuals),
            "num_unique_bodyparts": len(self.unique_bodyparts),
            "labeled_data": dict(self.labeled_data),
        }


def open_project(value: str | Path) -> Project:
    """Open a DeepLabCut project (its folder or `config.yaml`) or a COCO keypoint `.json`.

    The word `demo` opens the synthetic project, whose files may not have been drawn yet.

    Raises:
        ProjectError: there is no such project, or it contradicts itself.
    """
    if value == DEMO:
        from dlcexp.deeplabcut.demo import demo_head

        return demo_head()
    source = _locate(value)
    if source.suffix.lower() == ".json":
        return _coco_project(source)
    return _dlc_project(_ConfigYaml(source))


def video_folders(root: Path) -> list[Path]:
    """Folders of `labeled-data` that hold frames, one per video, in natural order.

    Hidden folders, and the `*_labeled` ones where DeepLabCut draws labels on frames, are no videos.
    """
    parent = root / LABELED_DATA
    if not parent.is_dir():
        return []
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    names = [name for name in names if not name.startswith(".") and not name.endswith("_labeled")]
    return [parent / name for name in sorted(names, key=natural_key)]


def image_names(folder: Path) -> set[str]:
    """File names of the images in `folder`."""
    with os.scandir(folder) as entries:
        return {
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 (speed)
        }


def _images_per_folder(root: Path) -> dict[str, int]:
    counts = {folder.name: len(image_names(folder)) for folder in video_folders(root)}
    return {name: count for name, count in counts.items() if count}


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorting key by which `video2` comes before `video10`."""
    pieces = re.split(r"([0-9]+)", name)
    return [(int(piece), "") if i % 2 else (-1, piece) for i, piece in enumerate(pieces)]


# Finding the file


def _locate(value: str | Path) -> Path:
    """The config.yaml or .json that `value` stands for, as an absolute path."""
    try:
        path = expanded(value).resolve()
    except RuntimeError:  # ~someone who does not exist
        raise ProjectError(f"project={value}: the home folder of that user is unknown.") from None
    if path.is_dir():
        config = path / "config.yaml"
        if not config.is_file():
            raise ProjectError(_no_config(path))
        return config
    if not path.is_file():
        raise ProjectError(_no_such_path(path))
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        raise ProjectError(
            f"{path}: is neither the config.yaml of a DeepLabCut project nor a COCO .json."
            f"{_project_around(path)}"
        )
    return path


def _no_config(folder: Path) -> str:
    inside = sorted(config.parent.name for config in folder.glob("*/config.yaml"))
    if inside:
        hint = f" There is one in its folder {', '.join(inside[:_SHOWN])}."
    else:
        hint = _project_around(folder) or nearest("config.yaml", _names_in(folder))
    return f"{folder}: has no config.yaml, so it is no DeepLabCut project; {_content(folder)}{hint}"


def _no_such_path(path: Path) -> str:
    existing = next(parent for parent in path.parents if parent.is_dir())
    missing = path.relative_to(existing).parts[0]
    hint = nearest(missing, _names_in(existing))
    return f"{path}: there is no such project; {existing} has no {missing!r}.{hint}"


def _project_around(path: Path) -> str:
    parents = [parent for parent in path.parents if (parent / "config.yaml").is_file()]
    return f" The project around it is {parents[0]}." if parents else ""


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _content(folder: Path) -> str:
    names = _names_in(folder)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"it holds {', '.join(names[:_SHOWN])}{more}." if names else "it is empty."


# Reading config.yaml


class _ConfigYaml:
    """Fields of a config.yaml, all read as text; each is asked for by the type it must have."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._fields = _read_yaml(source)

    def error(self, key: str, problem: str) -> ProjectError:
        return ProjectError(f"{self.source}: {key}: {problem}")

    def raw(self, key: str) -> Any:
        return self._fields.get(key, "")

    def text(self, key: str) -> str:
        """Text of a field; empty where it is missing or null."""
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
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if value and value.lower() not in words:
            raise self.error(key, f"must be true, false or empty, not {value!r}.")
        return words.get(value.lower())

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
        """A list of names; empty where it is missing or null and need not be there."""
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
        """Names by name, by the name of a table; empty where it is missing or null."""
        value = self.raw(key)
        tables = {} if isinstance(value, str) and value in _NULL else value
        if not isinstance(tables, dict) or not all(_is_table(each) for each in tables.values()):
            raise self.error(key, f"must hold a table of names for each data set, not {value!r}.")
        return {name: dict(table) for name, table in tables.items() if isinstance(table, dict)}

    def _hint(self, key: str) -> str:
        return "" if key in self._fields else nearest(key, map(str, self._fields))


def _read_yaml(source: Path) -> Mapping[str, Any]:
    try:
        fields = yaml.load(source.read_text(encoding="utf-8-sig"), Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ProjectError(f"{source}{line}: is not valid YAML: {problem}.") from None
    except UnicodeDecodeError as error:
        raise ProjectError(
            f"{source}: is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from None
    except OSError as error:
        raise ProjectError(f"{source}: cannot be read: {error.strerror}.") from None
    if not isinstance(fields, dict):
        raise ProjectError(f"{source}: is not the config.yaml of a DeepLabCut project: no keys.")
    if "Task" not in fields and "bodyparts" not in fields:
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


# The two kinds


def _dlc_project(config: _ConfigYaml) -> Project:
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
        labeled_data=_images_per_folder(config.source.parent),
        superanimal_tables=config.tables("SuperAnimalConversionTables"),
    )


def _single_animal_bodyparts(config: _ConfigYaml) -> tuple[str, ...]:
    if config.raw("bodyparts") == "MULTI!":
        raise config.error(
            "bodyparts", "is MULTI!, and multianimalproject is not true; set that to true."
        )
    return config.names("bodyparts", required=True)


def _coco_project(source: Path) -> Project:
    from dlcexp.deeplabcut.coco import images_per_folder, read_coco

    coco = read_coco(source)
    return Project(
        source=source,
        root=source.parent,
        kind="coco",
        name=source.stem,
        scorer="",
        date="",
        multianimal=len(coco.individuals) > 1,
        bodyparts=coco.bodyparts,
        unique_bodyparts=(),
        individuals=coco.individuals,
        with_identity=None,
        skeleton=coco.skeleton,
        iteration=0,
        pcutoff=None,
        labeled_data=images_per_folder(source),
    )
