"""The project that a file of DeepLabCut's belongs to."""

from collections.abc import Sequence
from pathlib import Path

from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.read import Request
from dlcexp.errors import ConfigError, ProjectError
from dlcexp.files import expanded
from dlcexp.project import Project, open_project
from dlcexp.trees import select


def find_project(request: Request, overrides: Sequence[Override]) -> tuple[Override, Project]:
    """Return the project of a file, and the override that names it.

    That of the user counts, the first one of a sweep; then the one in whose folder the file lies;
    then the path in it.
    """
    given = [override for override in overrides if override.key == "project"]
    if given:
        first = given[-1].alternatives()[0]
        return first, open_project(str(first.value))
    named = str(select(request.sections, "metadata.project_path") or "")
    around = _project_around(request.source)
    if around and named and _same_folder(expanded(named), around):
        around = Path(named)
    for path in (around, named):
        try:
            if path:
                return Override("project", str(path)), open_project(str(path))
        except ProjectError:
            continue
    raise ProjectError(
        f"{request.source}: its project cannot be found: the file names {named or 'none'!r}, "
        "which is not here, and lies in no project. Give one with project=PATH."
    )


def _same_folder(one: Path, other: Path) -> bool:
    try:
        return one.is_dir() and one.resolve() == other.resolve()
    except (OSError, ValueError):
        return False


def _project_around(source: Path) -> Path | None:
    for folder in dict.fromkeys([*source.parents, *source.resolve().parents]):
        if (folder / "config.yaml").is_file():
            try:
                open_project(str(folder))
            except ProjectError:
                continue
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
