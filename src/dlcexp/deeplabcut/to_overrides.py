"""Any `pytorch_config.yaml` as the shortest list of overrides that composes to it.

The net type of the file's model, or else its groups, are composed. Differences between the export
of that tree and the file become overrides, at the places that `dlcexp.deeplabcut.layout` names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dlcexp.config.augmentation_checks import sides_divisible
from dlcexp.config.augmentation_keys import SECTIONS, is_off
from dlcexp.config.compose import compose_tree
from dlcexp.config.overrides import Override, shortened
from dlcexp.deeplabcut.changes import changes_of
from dlcexp.deeplabcut.choose_options import choose
from dlcexp.deeplabcut.defaults import CROP, FOLLOWERS
from dlcexp.deeplabcut.export import export_sections
from dlcexp.deeplabcut.read import Request, check_metadata, find_project, read_request
from dlcexp.trees import ABSENT, differences, same, select
from dlcexp.yaml_files import read_mapping

# Names of the forms of a file.
FORMS = {
    "dlc3": "DeepLabCut 3.0.1 or later",
    "sectioned": "DeepLabCut 3.0 up to 3.0.0, in sections",
    "flat": "DeepLabCut before 3.0, flat",
}


@dataclass(frozen=True)
class Imported:
    """The overrides that a file amounts to.

    Attributes:
        source, schema: the file, and its form: `dlc3`, `sectioned` or `flat`.
        net_type: the net type that its model equals, or None.
        overrides: the command line: group choices, then overrides of keys.
        notes: what the line does not have, or has differently from the file.
        kept: values that DeepLabCut reads and that have no effect here.
    """

    source: Path
    schema: str
    net_type: str | None
    overrides: tuple[Override, ...]
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def import_config(source: Path, overrides: Sequence[Override] = ()) -> Imported:
    """Translate a `pytorch_config.yaml` of any version, given the user's overrides.

    Raises:
        ProjectError: the file cannot be read, is of another kind, or its project is not found.
        ConfigError: a key or a type in it that does not exist, a value of the wrong kind, or
            bodyparts of another project.
    """
    document = read_mapping(source)
    request = read_request(source, document)
    named, project = find_project(request, overrides)
    check_metadata(request, project)
    choice = choose(request.sections, source, project)
    raw = compose_tree([named, *choice.overrides])
    OmegaConf.set_struct(raw, False)
    adjust_crops(request)
    adjust_padding(request, raw)
    tree, changes = changes_of(raw, request)
    form, unlike = form_of(tree, request, document)
    changes += form
    given = any(override.key == "project" for override in overrides)
    return Imported(
        source=source,
        schema=request.schema,
        net_type=choice.net_type,
        overrides=(*([] if given else [named]), *choice.overrides, *changes),
        notes=(*request.notes, *unlike),
        kept=tuple(_without_effect(changes, tree)),
    )


def _without_effect(changes: Sequence[Override], tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values that DeepLabCut reads and that have no effect here."""
    for change in changes:
        if change.key.startswith("export.extra."):
            yield change.text.removeprefix("+export.extra.")
    for name in ("inference.compile.enabled", "inference.autocast.enabled"):
        if select(tree, name):
            yield f"{name}=true"


def adjust_crops(request: Request) -> None:
    """Top-down: crops get a size where the file has none, and that of the head where it differs."""
    if request.sections["method"] == "bu":
        return
    head = select(request.sections, "model.heads.bodypart.input_size")
    head = head if isinstance(head, list) and len(head) == 2 else []
    size = dict(zip(("width", "height"), head, strict=False))
    for menu in SECTIONS:
        entries = select(request.sections, f"data.{menu}")
        if not isinstance(entries, dict):
            continue
        crop = entries.get("top_down_crop")
        if crop is None:
            entries["top_down_crop"] = dict(size or CROP)
        elif size and isinstance(crop, Mapping) and {**crop, **size} != crop:
            shown = f"{crop.get('width')}x{crop.get('height')}"
            entries["top_down_crop"] = {**crop, **size}
            request.notes.append(
                f"data.{menu}.top_down_crop: {shown} in the file does not fit its head, which "
                f"takes {head[0]}x{head[1]} (DeepLabCut stops at the first batch); the head's here"
            )


def adjust_padding(request: Request, raw: DictConfig) -> None:
    """Frames get the padding that the model needs where nothing in the file makes them fit."""
    divisor = OmegaConf.select(raw, "model.backbone.recipe.padding") or 1
    for menu in SECTIONS:
        entries = select(request.sections, f"data.{menu}")
        if not isinstance(entries, dict) or not is_off(entries.get("auto_padding")):
            continue
        if not sides_divisible({n: v for n, v in entries.items() if not is_off(v)}, divisor):
            padding = {"pad_width_divisor": divisor, "pad_height_divisor": divisor}
            entries["auto_padding"] = padding
            request.notes.append(
                f"data.{menu}.auto_padding: none in the file; added, as the model needs sides "
                f"that {divisor} divides"
            )


# Paths of a file that follow the project.
_FOLLOW_PROJECT = (
    "project_path:",
    "pose_config_path:",
    "metadata.project_path:",
    "metadata.pose_config_path:",
)


def form_of(
    tree: dict[str, Any], request: Request, document: dict[str, Any]
) -> tuple[list[Override], list[str]]:
    """Overrides of `export` that give the file back in its own form, and what is different then."""
    changes = []
    if request.schema != "dlc3":
        changes.append(Override("export.schema", request.schema))
    exported = export_sections(tree, schema=request.schema)
    if not _identical(exported, document):
        like = Override("export.like", str(request.source))
        export = tree["export"] | {"like": like.value}
        written = export_sections(tree | {"export": export}, schema=request.schema)
        if _distance(written, document) < _distance(exported, document):
            changes.append(like)
            exported = written
    noted = tuple(note.partition(":")[0] for note in request.notes) + _FOLLOW_PROJECT
    lines = _unlike(document, exported)
    return changes, [line for line in lines if not line.startswith(noted)]


def _identical(one: Any, other: Any) -> bool:
    """Equal, the order of keys included."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(_identical(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_identical, one, other))
    return same(one, other)


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[int, bool]:
    return len([*_unlike(other, one)]), not _identical(one, other)


def _unlike(document: Mapping[str, Any], exported: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each value of the file that is written otherwise."""
    for each in differences(document, exported):
        theirs, ours = shortened(each.first), shortened(each.second)
        if each.first is not ABSENT and each.second is not ABSENT:
            yield f"{each.key}: {theirs} in the file, written as {ours}"
        elif each.second is ABSENT:
            yield f"{each.key}: {theirs} in the file is not carried"
        elif each.key not in FOLLOWERS:
            yield f"{each.key}: not in the file, written as {ours}"
