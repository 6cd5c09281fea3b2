"""A DeepLabCut project as its `config.yaml` describes it, or a COCO keypoint file as a project.

Imports nothing heavy: the tree asks for a project's bodyparts while it is composed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml

from dlcexp.errors import ProjectError, nearest

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Project:
    """What a project says of itself.

    Attributes:
        source: the file that describes it, `config.yaml` or a COCO JSON.
        root: the folder that holds `source`; the `project_path` inside a `config.yaml` is often
            stale and is not read.
        kind: `dlc` or `coco`.
        individuals: names of the animals; one name in a single-animal project.
        with_identity: whether individuals are told apart; None where the file leaves it empty.
        skeleton: pairs of bodyparts joined when drawn.
        labeled_data: number of images in each folder of labelled frames.
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
    labeled_data: tuple[tuple[str, int], ...]

    def metadata(self) -> dict[str, Any]:
        """The block `metadata` of the tree, in plain containers."""
        return {
            "project_name": self.name,
            "bodyparts": list(self.bodyparts),
            "unique_bodyparts": list(self.unique_bodyparts),
            "individuals": list(self.individuals),
            "with_identity": self.with_identity,
            "skeleton": [list(pair) for pair in self.skeleton],
            "multianimal": self.multianimal,
            "num_bodyparts": len(self.bodyparts),
            "num_individuals": len(self.individuals),
            "num_unique_bodyparts": len(self.unique_bodyparts),
            "labeled_data": dict(self.labeled_data),
        }


def open_project(value: str | Path) -> Project:
    """Open a project by its folder, its `config.yaml`, or a COCO keypoint JSON.

    Raises:
        ProjectError: it is missing, unreadable or contradicts itself.
    """
    path = Path(value).expanduser()
    if path.suffix.lower() == ".json":
        from dlcexp.deeplabcut.coco import open_coco

        return open_coco(path)
    source = path / "config.yaml" if path.is_dir() else path
    if not source.is_file():
        raise ProjectError(f"project: {_what_is_there(path, source)}")
    return _from_config(source, _read_yaml(source))


def _what_is_there(path: Path, source: Path) -> str:
    """Why there is no project at `path`, and what its user may have meant."""
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())[:8]
        return f"{str(path)!r} has no config.yaml; it has {', '.join(names) or 'nothing'}."
    parent = source.parent
    if parent.is_dir():
        return f"there is no {str(path)!r}.{nearest(path.name, (p.name for p in parent.iterdir()))}"
    return f"there is no {str(path)!r}; the folder {str(parent)!r} does not exist either."


def _read_yaml(source: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ProjectError(f"cannot read {source}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or "Task" not in content:
        raise ProjectError(f"{source} is not the config.yaml of a DeepLabCut project: no key Task.")
    return content


def _from_config(source: Path, content: Mapping[str, Any]) -> Project:
    multianimal = bool(content.get("multianimalproject"))
    bodyparts = _names(content, "multianimalbodyparts" if multianimal else "bodyparts", source)
    if not bodyparts:
        raise ProjectError(f"{source} lists no bodyparts.")
    individuals = _names(content, "individuals", source) if multianimal else ("individual_1",)
    if not individuals:
        raise ProjectError(f"{source} is a multi-animal project and lists no individuals.")
    root = source.resolve().parent
    identity = content.get("identity")
    pcutoff = content.get("pcutoff")
    return Project(
        source=root / source.name,
        root=root,
        kind="dlc",
        name=str(content["Task"]),
        scorer=str(content.get("scorer") or ""),
        date=str(content.get("date") or ""),
        multianimal=multianimal,
        bodyparts=bodyparts,
        unique_bodyparts=_names(content, "uniquebodyparts", source) if multianimal else (),
        individuals=individuals,
        with_identity=None if identity is None else bool(identity),
        skeleton=_skeleton(content.get("skeleton")),
        iteration=int(content.get("iteration") or 0),
        pcutoff=None if pcutoff is None else float(pcutoff),
        labeled_data=_count_images(root / "labeled-data"),
    )


def _names(content: Mapping[str, Any], key: str, source: Path) -> tuple[str, ...]:
    value = content.get(key) or []
    if not isinstance(value, list):
        raise ProjectError(f"{source}: {key} is {value!r}, not a list of names.")
    names = tuple(str(name) for name in value)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ProjectError(f"{source}: {key} names {', '.join(twice)} twice.")
    return names


def _skeleton(value: Any) -> tuple[tuple[str, str], ...]:
    """Pairs of bodyparts; longer chains are split into their links."""
    chains = [chain for chain in value or [] if isinstance(chain, list)]
    return tuple((str(a), str(b)) for chain in chains for a, b in pairwise(chain))


def _count_images(labeled_data: Path) -> tuple[tuple[str, int], ...]:
    if not labeled_data.is_dir():
        return ()
    counts = []
    for folder in sorted(os.scandir(labeled_data), key=lambda entry: entry.name):
        if (
            folder.is_dir()
            and not folder.name.startswith(".")
            and not folder.name.endswith("_labeled")
        ):
            suffixes = (Path(entry.name).suffix.lower() for entry in os.scandir(folder.path))
            counts.append((folder.name, sum(suffix in IMAGE_SUFFIXES for suffix in suffixes)))
    return tuple(counts)
