"""A file of DeepLabCut's, read: its sections, completed, their names and values checked."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.defaults import ASSUMED, MENU, assume, schema_of
from dlcexp.deeplabcut.flat import PLACES, unflatten, with_menus
from dlcexp.deeplabcut.layout import LAYOUT, Part, Stage
from dlcexp.errors import ConfigError, ProjectError, nearest
from dlcexp.files import expanded
from dlcexp.project import Project, open_project
from dlcexp.trees import ABSENT, join, select
from dlcexp.vocabulary import PROJECT_FILE

# A key of the flat form without a meaning.
_FLAT_IGNORED = "cfg_path"

# Settings that DeepLabCut documents or once wrote, in addition to those of the layout.
KNOWN = (
    *(f"{stage}runner.load_scheduler_state_dict" for stage in ("", "detector.")),
    *(f"{stage}train_settings.pretrained_weights" for stage in ("", "detector.")),
)

# Arguments of its augmentations that have no effect here.
WITHOUT_EFFECT = tuple(
    f"{data}.{section}.{name}"
    for data in ("data", "detector.data")
    for section in ("train", "inference")
    for name in ("auto_padding.border_mask_value", "collate.max_shift", "collate.max_size")
)


@dataclass
class Request:
    """The sections of a file, completed.

    Attributes:
        notes: on what could not be taken as it is.
        refused: changes that the tree does not allow.
        without_effect: values by their place in the file, which the sections do not have.
    """

    source: Path
    schema: str
    sections: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    refused: list[Override] = field(default_factory=list)
    without_effect: dict[str, Any] = field(default_factory=dict)


def read_request(source: Path, document: dict[str, Any]) -> Request:
    """Return what a file asks for.

    Raises:
        ProjectError: it is not a file of this kind.
        ConfigError: a key that DeepLabCut does not have, a value of the wrong kind, or no model.
    """
    schema, project = schema_of(document), document.keys() & {"Task", "multianimalproject"}
    if schema is None or project:
        named = shlex.quote(f"project={source}")
        hint = f" It is the config.yaml of a project: {named}." if project else ""
        known = ", ".join(name for name in LAYOUT if name != "config_version")
        raise ProjectError(f"{source}: is not a pytorch_config.yaml; it has none of {known}.{hint}")
    if schema == "flat":
        _check_names(document, _flat_names(), source, "")
        check_shapes(document, source)
        sections = with_menus(unflatten(document))
    else:
        sections = assume(document)
        _check_names(sections, LAYOUT, source, "")
        check_shapes(document, source)
    sections["method"] = str(sections.get("method") or "bu").lower()
    notes, ignored = [], document.get(_FLAT_IGNORED)
    if ignored is not None:
        notes.append(f"{_FLAT_IGNORED} = {ignored!r}: dropped, as it has no meaning")
    if schema == "flat" and "normalize_images" not in (document.get("data") or {}):
        notes.append("data.normalize_images: the file has none, so images are not normalised")
    without_effect = _set_aside(sections)
    return Request(source, schema, sections, notes, without_effect=without_effect)


def _set_aside(sections: dict[str, Any]) -> dict[str, Any]:
    """Take out what has no effect here, null included; return the rest of it.

    A detector's `pretrained` of 2024 becomes our `weights`. A null of an argument that cannot be
    null means that it is not given.
    """
    found = {}
    for place in WITHOUT_EFFECT:
        parent, _, name = place.rpartition(".")
        node = select(sections, parent)
        if isinstance(node, dict) and (value := node.pop(name, None)) is not None:
            found[place] = value
    detector = select(sections, "detector.model")
    if isinstance(detector, dict):
        if detector.pop("pretrained", None) is False:
            detector.setdefault("weights", None)
        if detector.get("box_score_thresh", ABSENT) is None:
            del detector["box_score_thresh"]
            sections["detector"] = assume(sections["detector"], ASSUMED["detector"])
    for data in (sections.get("data"), select(sections, "detector.data")):
        for menu in (data.get("train"), data.get("inference")) if isinstance(data, dict) else ():
            if isinstance(menu, dict) and menu.get("normalize_images", ABSENT) is None:
                menu["normalize_images"] = False
    evaluation = select(sections, "inference.eval")
    if isinstance(evaluation, dict) and evaluation.get("comparison_bodyparts", ABSENT) is None:
        evaluation["comparison_bodyparts"] = "all"
    return found


def _flat_names() -> dict[str, Any]:
    names: dict[str, Any] = {name: None for name in (*PLACES, _FLAT_IGNORED) if "." not in name}
    inside = [name.partition(".")[2] for name in PLACES if "." in name]
    return names | {"detector": dict.fromkeys(inside)}


def _check_names(document: Any, layout: Any, source: Path, path: str) -> None:
    """Raise for a key that no version of DeepLabCut has."""
    if isinstance(layout, Stage):
        layout = layout.layout
    if isinstance(layout, Part) and layout.kind.endswith("_menu"):
        layout = MENU
    if not isinstance(layout, Mapping) or document is None:
        return
    if not isinstance(document, Mapping):
        raise ConfigError(path, f"{source}: {document!r} is not a mapping of keys.")
    for name, value in document.items():
        full = join(path, name)
        if name not in layout and full not in KNOWN:
            raise ConfigError(
                full,
                f"{source}: there is no such key (its value is {value!r}). Allowed: "
                f"{', '.join(layout)}.{nearest(name, layout)}",
            )
        _check_names(value, layout.get(name), source, full)


# A mapping of keys, or false.
_OR_OFF = object()

# The kinds of the values of every form of the file, as far as reading and writing it rests on them;
# plain values elsewhere are checked in the tree. A mapping means one with these keys, `*` for those
# not named; a list for one of such items; `object` for anything. Null is a value that is not given.
_NODE: dict[str, Any] = {"type": str}
_RECIPE: dict[str, Any] = _NODE | {"params": {}}
_RECIPE["params"]["schedulers"] = [_RECIPE]
_TRAINING = {"optimizer": _RECIPE, "scheduler": _RECIPE}
_HEAD = _NODE | {
    "criterion": {},
    "heatmap_config": {},
    "locref_config": {},
    "paf_config": {},
    "predictor": _NODE,
    "target_generator": _NODE | {"generators": [_NODE]},
}
_MENU = dict.fromkeys(
    (
        *("resize", "affine", "random_bbox_transform", "crop_sampling", "auto_padding"),
        *("top_down_crop", "collate"),
    ),
    _OR_OFF,
)
_DATA = _MENU | {"train": _MENU, "inference": _MENU, "gen_sampling": {}, "loader": {}}
_CONDITIONS = {"shuffle": int, "filepath": str, "config_path": str, "snapshot_path": str}
SHAPES: dict[str, Any] = {
    "net_type": str,
    "project_path": str,
    "pose_config_path": str,
    "metadata": {
        "project_path": str,
        "pose_config_path": str,
        "bodyparts": [object],
        "unique_bodyparts": [object],
        "individuals": [object],
    },
    "model": {
        "backbone": _NODE | {"backbone": _NODE, "kpt_encoder": _NODE},
        "neck": _NODE,
        "heads": {"*": _HEAD},
    },
    "data": _DATA,
    "data_detector": _DATA,
    "runner": _TRAINING,
    "inference": {"conditions": _CONDITIONS},
    "logger": _NODE | {"wandb_kwargs": {}},
    "detector": _TRAINING | {"model": _NODE, "data": _DATA, "runner": _TRAINING},
    **_TRAINING,
}

# Keys without a default.
_REQUIRED = (
    *("model", "model.backbone", "model.heads.bodypart"),
    *("model.heads.bodypart.predictor", "model.heads.bodypart.target_generator"),
)

_WORDS = {str: "text", int: "a whole number"}


def check_shapes(document: Mapping[str, Any], source: Path) -> None:
    """Raise a `ConfigError` for a value of another kind than its key takes."""
    _check(document, SHAPES, source, "")
    for path in _REQUIRED:
        if select(document, path) is None:
            raise ConfigError(path, f"{source}: the file has none, and it has no default.")


def _check(value: Any, shape: Any, source: Path, path: str) -> None:
    if value is None or (shape is _OR_OFF and value is False):
        return
    if problem := _mismatch(value, shape):
        raise ConfigError(path, f"{source}: {value!r:.60} is not {problem}.")
    if isinstance(shape, Mapping):
        for name, child in value.items():
            inner = shape.get(name, shape.get("*", ABSENT))
            if inner is not ABSENT:
                _check(child, inner, source, join(path, name))
    elif isinstance(shape, list):
        for index, item in enumerate(value):
            _check(item, shape[0], source, f"{path}[{index}]")


def _mismatch(value: Any, shape: Any) -> str | None:
    """Return the kind that the value must have; None if it has it."""
    if shape is _OR_OFF:
        return None if isinstance(value, Mapping) else "a mapping of keys (or null, for off)"
    if isinstance(shape, Mapping):
        return None if isinstance(value, Mapping) else "a mapping of keys"
    if isinstance(shape, list):
        return None if isinstance(value, list) else "a list"
    fits = isinstance(value, shape) and not (shape is int and isinstance(value, bool))
    return None if fits else _WORDS[shape]


def find_project(request: Request, overrides: Sequence[Override]) -> tuple[Override, Project]:
    """Return the project of a file, and the override that names it.

    That of the user counts, the first one of a sweep; then the one in whose folder the file lies;
    then the path in it; at last the file itself, with a note.
    """
    given = [override for override in overrides if override.key == "project"]
    if given:
        first = given[-1].alternatives()[0]
        return first, open_project(str(first.value))
    named = str(select(request.sections, "metadata.project_path") or "")
    around = _project_around(request.source)
    with suppress(OSError, ValueError):
        if around and named and expanded(named).samefile(around):
            around = Path(named)
    for path in filter(None, (around, named)):
        with suppress(ProjectError):
            return Override("project", str(path)), open_project(str(path))
    request.notes.append(
        f"project: the file names {named or 'none'!r}, which is not here, and lies in no project, "
        "so what it records of its project is used. To train, give the project with project=PATH."
    )
    return Override("project", str(request.source)), open_project(request.source)


def _project_around(source: Path) -> Path | None:
    for folder in dict.fromkeys([*source.parents, *source.resolve().parents]):
        if (folder / PROJECT_FILE).is_file():
            with suppress(ProjectError):
                open_project(str(folder))
                return folder
    return None


def check_metadata(request: Request, project: Project) -> None:
    """Raise unless the file is about the bodyparts of the project."""
    metadata = request.sections.get("metadata") or {}
    for name, ours in (
        ("bodyparts", project.bodyparts),
        ("unique_bodyparts", project.unique_bodyparts),
    ):
        theirs = metadata.get(name)
        if not isinstance(theirs, list) or (name == "unique_bodyparts" and not theirs):
            continue
        theirs = [str(part) for part in theirs]
        if theirs == list(ours):
            continue
        missing = [part for part in theirs if part not in ours]
        extra = [part for part in ours if part not in theirs]
        reasons = [f"the project lacks {', '.join(missing)}"] if missing else []
        reasons += [f"the file lacks {', '.join(extra)}"] if extra else []
        reasons = reasons or [f"their order differs, {', '.join(theirs)} and {', '.join(ours)}"]
        raise ConfigError(
            f"metadata.{name}",
            f"{request.source} is about other bodyparts than {project.source}: "
            f"{'; '.join(reasons)}. Give its project with project=PATH.",
        )
