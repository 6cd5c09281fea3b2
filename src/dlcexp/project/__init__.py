"""Labelled data: DeepLabCut projects and COCO keypoint files, without training or Hydra.

Opening a project imports neither pandas nor torch: it happens each time a tree is composed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from dlcexp.errors import ProjectError
from dlcexp.project.locate import locate
from dlcexp.project.model import DEMO, Labels, Project
from dlcexp.project.names import check_names

__all__ = ["DEMO", "Labels", "Project", "load_labels", "open_project", "opened_once"]

# Projects that were opened within a composition, by their file.
_opened: ContextVar[dict[Path, Project] | None] = ContextVar("opened", default=None)


@contextmanager
def opened_once() -> Iterator[None]:
    """Read the file of each project once: composing one experiment asks for it several times."""
    if _opened.get() is not None:
        yield
        return
    token = _opened.set({})
    try:
        yield
    finally:
        _opened.reset(token)


def open_project(value: str | Path) -> Project:
    """Open a DeepLabCut project (its folder or `config.yaml`) or a COCO keypoint `.json`.

    A `pytorch_config.yaml` represents its project, as far as it describes it. `demo` opens the
    synthetic project, whose files may not have been drawn yet.

    Raises:
        ProjectError: there is no such project, or it contradicts itself.
    """
    if value == DEMO:
        from dlcexp.project.demo import demo_head

        return demo_head()
    source = locate(value)
    opened = _opened.get()
    if opened is None:
        return _read(source)
    if source not in opened:
        opened[source] = _read(source)
    return opened[source]


def _read(source: Path) -> Project:
    if source.suffix.lower() == ".json":
        from dlcexp.project.coco import coco_project

        project = coco_project(source)
    else:
        from dlcexp.project.dlc import dlc_project

        project = dlc_project(source)
    check_names(project)
    return project


def load_labels(project: Project) -> Labels:
    """Read every label of a project; videos in natural order, frames in the order of their file.

    A frame without any label stays, all NaN. Left out, with a warning, are frames of videos that
    `video_sets` does not name, frames whose image is missing, labels outside of their image, and
    columns of bodyparts that `config.yaml` does not name; and frames that have no other labels.

    Raises:
        ProjectError: there are no labels, or a file cannot be read or does not fit the project.
    """
    if project.kind == "pytorch_config":
        raise ProjectError(
            f"{project.source}: is a pytorch_config.yaml, which has no labelled frames. Give its "
            "project with project=PATH."
        )
    if project.kind == "coco":
        from dlcexp.project.coco import load_coco_labels

        return load_coco_labels(project)
    from dlcexp.project.dlc_tables import load_dlc_labels

    return load_dlc_labels(project)
