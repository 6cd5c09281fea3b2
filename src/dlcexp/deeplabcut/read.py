"""A file of DeepLabCut's, read: its sections, completed, and its names checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.defaults import MENU, assume, schema_of
from dlcexp.deeplabcut.flat import PLACES, unflatten
from dlcexp.deeplabcut.layout import LAYOUT, Part, Stage
from dlcexp.deeplabcut.lost_in_flat import with_menus
from dlcexp.deeplabcut.value_kinds import check_shapes
from dlcexp.errors import ConfigError, ProjectError, nearest
from dlcexp.trees import join

# Keys of the flat form without a meaning.
_FLAT_IGNORED = ("cfg_path",)

# Settings that DeepLabCut documents or once wrote, in addition to those of the layout.
KNOWN = ("runner.load_scheduler_state_dict", "detector.runner.load_scheduler_state_dict")


@dataclass
class Request:
    """The sections of a file, completed, and notes on what could not be taken as it is."""

    source: Path
    schema: str
    sections: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    refused: list[Override] = field(default_factory=list)


def read_request(source: Path, document: dict[str, Any]) -> Request:
    """Return what a file asks for.

    Raises:
        ProjectError: it is not a file of this kind.
        ConfigError: a key in it that no version of DeepLabCut has, a value of the wrong kind, or
            no model.
    """
    schema, project = schema_of(document), document.keys() & {"Task", "multianimalproject"}
    if schema is None or project:
        hint = ""
        if project:
            hint = f" It is the config.yaml of a project: project={source}."
        known = ", ".join(name for name in LAYOUT if name != "config_version")
        raise ProjectError(f"{source}: is not a pytorch_config.yaml; it has none of {known}.{hint}")
    if schema == "flat":
        _check_names(document, _flat_names(), source, "")
        check_shapes(document, source)
        sections = with_menus(unflatten(document))
        notes = [
            f"{name} = {document[name]!r}: dropped, as it has no meaning"
            for name in _FLAT_IGNORED
            if document.get(name) is not None
        ]
    else:
        sections, notes = assume(document), []
        _check_names(sections, LAYOUT, source, "")
        check_shapes(document, source)
    sections["method"] = str(sections.get("method") or "bu").lower()
    return Request(source, schema, sections, notes)


def _flat_names() -> dict[str, Any]:
    names: dict[str, Any] = {name: None for name in (*PLACES, *_FLAT_IGNORED) if "." not in name}
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
