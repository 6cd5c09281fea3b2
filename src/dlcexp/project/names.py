"""The names in a project are text: none may act on a terminal, as a path or as a formula."""

import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath

from dlcexp.errors import ProjectError, run_checks
from dlcexp.project.model import Project

# Characters that move the cursor of a terminal, change its colours, or end a line.
_UNPRINTABLE = ("Cc", "Zl", "Zp")


def check_names(project: Project) -> None:
    """Refuse names that would act: on a terminal, as a path, as an interpolation, as a formula.

    Raises:
        ProjectError: one of them; `Mistakes` for several.
    """

    def check(key: str, name: str) -> None:
        if problem := _problem(key, name):
            raise ProjectError(f"{project.source}: {key}: {name!r} {problem}")

    run_checks(*(lambda key=key, name=name: check(key, name) for key, name in _names(project)))


def _names(project: Project) -> Iterator[tuple[str, str]]:
    yield from (("Task", project.name), ("scorer", project.scorer), ("date", project.date))
    yield from (("bodyparts", name) for name in project.bodyparts)
    yield from (("uniquebodyparts", name) for name in project.unique_bodyparts)
    yield from (("individuals", name) for name in project.individuals)
    yield from (("labeled-data", name) for name in project.labeled_data)


def _problem(key: str, name: str) -> str:
    """Return what is wrong with a name; empty if nothing is."""
    if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
        return "holds a control character or a line break."
    if "${" in name or name == "???":
        return "reads as an interpolation of the configuration: rename it."
    if key in ("Task", "scorer", "date"):
        alone = PurePosixPath(name).name == name == PureWindowsPath(name).name
        return "" if alone and name != ".." else "is part of file names: it cannot be a path."
    return "is a formula in the .csv of a spreadsheet: rename it." if name.startswith("=") else ""
