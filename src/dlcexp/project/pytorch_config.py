"""The project that a `pytorch_config.yaml` describes, where the project itself is not at hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcexp.errors import ProjectError
from dlcexp.project.model import SINGLE_ANIMAL, Project
from dlcexp.trees import select
from dlcexp.vocabulary import BODYPART, UNIQUE_BODYPART

# Where heads state how many keypoints they have, and how many animals they find.
_KEYPOINTS = ("num_joints", "num_heatmaps", "generators.0.num_heatmaps", "generators.0.num_joints")
_ANIMALS = "model.heads.bodypart.predictor.num_animals"


def is_pytorch_config(fields: Mapping[str, Any]) -> bool:
    """Return True if the fields of a YAML file are those of a `pytorch_config.yaml`."""
    return "model" in fields and not fields.keys() & {"Task", "multianimalproject"}


def described_project(source: Path, fields: Mapping[str, Any]) -> Project:
    """Return the project of a file: by its metadata or, without them, the width of its heads.

    It has no labelled frames, so that it can be composed and exported, but not trained.

    Args:
        source: the file.
        fields: of the file, all as text.

    Raises:
        ProjectError: the file does not state how many bodyparts there are.
    """
    metadata = fields.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    animals = _count(select(fields, _ANIMALS)) or 1
    individuals = _names(metadata, "individuals") or _numbered("individual", animals)
    bodyparts = _names(metadata, "bodyparts") or _numbered("bodypart", _width(fields, BODYPART))
    if not bodyparts:
        raise ProjectError(
            f"{source}: names no bodyparts, and its heads do not state how many there are. "
            "Give its project with project=PATH."
        )
    unique = _names(metadata, "unique_bodyparts")
    several = len(individuals) > 1
    return Project(
        source=source,
        root=source.parent,
        kind="pytorch_config",
        name=source.stem,
        scorer="",
        date="",
        multianimal=several,
        bodyparts=bodyparts,
        unique_bodyparts=unique or _numbered("unique", _width(fields, UNIQUE_BODYPART)),
        individuals=individuals if several else SINGLE_ANIMAL,
        with_identity=str(metadata.get("with_identity")).lower() == "true" or None,
        skeleton=(),
        iteration=0,
        pcutoff=None,
    )


def _names(metadata: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = metadata.get(key)
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in range(1, count + 1))


def _width(fields: Mapping[str, Any], head: str) -> int:
    generator = select(fields, f"model.heads.{head}.target_generator")
    found = (_count(select(generator, key)) for key in _KEYPOINTS)
    return next((count for count in found if count), 0)


def _count(value: Any) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() else 0
