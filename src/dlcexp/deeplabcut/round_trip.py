"""A tree written in the form of the file that it came from, and what differs then."""

from collections.abc import Iterator, Mapping
from typing import Any

from dlcexp.config.overrides import Override, shortened
from dlcexp.deeplabcut.defaults import FOLLOWERS
from dlcexp.deeplabcut.export import export_sections
from dlcexp.deeplabcut.read import Request
from dlcexp.trees import ABSENT, differences, same

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
