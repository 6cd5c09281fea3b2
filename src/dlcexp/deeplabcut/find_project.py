"""The project that a file of DeepLabCut's belongs to."""

from collections.abc import Sequence
from pathlib import Path

from dlcexp.config.overrides import literal
from dlcexp.deeplabcut.read import Request
from dlcexp.errors import ConfigError, ProjectError
from dlcexp.files import expanded
from dlcexp.project import Project, open_project
from dlcexp.trees import select


def find_project(request: Request, overrides: Sequence[str]) -> tuple[list[str], Project]:
    """The word that names the project, empty where the user names one, and the project.

    That of the user counts; then the one in whose folder the file lies; then the path in it.
    """
    named = str(select(request.sections, "metadata.project_path") or "")
    if any(word.startswith("project=") for word in overrides):
        return [], open_project(_given_project(overrides))
    around = _project_around(request.source)
    if around and named and _same_folder(expanded(named), around):
        around = Path(named)
    for path in (around, named):
        try:
            if path:
                return [f"project={literal(str(path))}"], open_project(str(path))
        except ProjectError:
            continue
    raise ProjectError(
        f"{request.source}: its project cannot be found: the file names {named or 'none'!r}, "
        "which is not here, and lies in no project. Give one with project=PATH."
    )


def _given_project(overrides: Sequence[str]) -> str:
    """The project that the overrides name; the first of those of a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    word = [word for word in overrides if word.startswith("project=")][-1]
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        raise ConfigError("project", f"cannot read the override {word!r}.") from None
    swept = override.is_sweep_override() and override.is_discrete_sweep()
    return str(next(iter(override.sweep_iterator())) if swept else override.value())


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
        told = [f"the project lacks {', '.join(missing)}"] if missing else []
        told += [f"the file lacks {', '.join(extra)}"] if extra else []
        told = told or [f"their order differs, {', '.join(theirs)} and {', '.join(ours)}"]
        raise ConfigError(
            f"metadata.{name}",
            f"{request.source} is about other bodyparts than {project.source}: "
            f"{'; '.join(told)}. Give its project with project=PATH.",
        )
