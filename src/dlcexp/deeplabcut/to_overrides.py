"""Any `pytorch_config.yaml` as the shortest list of overrides that composes to it.

The net type of the file's model, or else its groups, are composed. Differences between the export
of that tree and the file become overrides, at the places that `dlcexp.deeplabcut.layout` names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from dlcexp.config.compose import compose_tree
from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.changes import changes_of
from dlcexp.deeplabcut.choose_options import choose
from dlcexp.deeplabcut.find_project import check_metadata, find_project
from dlcexp.deeplabcut.fit_sizes import adjust_crops, adjust_padding
from dlcexp.deeplabcut.read import read_request
from dlcexp.deeplabcut.round_trip import form_of
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
        source: the file.
        schema: `dlc3`, `sectioned` or `flat`.
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
    """Translate a file.

    Args:
        source: a `pytorch_config.yaml` of any version.
        overrides: of the user, for a `project=` among them.

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
    form, differences = form_of(tree, request, document)
    changes += form
    given = any(override.key == "project" for override in overrides)
    return Imported(
        source=source,
        schema=request.schema,
        net_type=choice.net_type,
        overrides=(*([] if given else [named]), *choice.overrides, *changes),
        notes=(*request.notes, *differences),
        kept=tuple(
            change.text.removeprefix("+export.extra.")
            for change in changes
            if change.key.startswith("export.extra.")
        ),
    )
