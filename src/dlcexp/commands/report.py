"""`dlcexp report`: which run of a folder is best, how sure that is, and why."""

from pathlib import Path
from typing import TYPE_CHECKING

from dlcexp.commands.arguments import wants_help
from dlcexp.errors import UserError, nearest
from dlcexp.files import expanded

if TYPE_CHECKING:
    from dlcexp.results.read_sweep import Sweep

HELP = """\
dlcexp report DIR [metric=NAME] [direction=WAY] [output=FILE]

Prints the leaderboard of a sweep and writes DIR/report.html: one page that works offline, with
the leaderboard to sort, what each key does, learning curves, parallel coordinates, accuracy against
speed, frames of the best recipe beside the worst, what failed and why, and how to use the winner.

DIR is the folder of a sweep, finished or not, or any folder with runs in it (runs/mouse).

  metric=test.rmse         decide by another number of metrics.json than the sweep did
  direction=minimize       minimize or maximize it; as the metric wants where it is not said
  output=FILE              write the page there

Runs that differ in seed, split.fold or split.seed alone are repeats of one recipe: mean, standard
deviation and n are theirs, and a paired test tells whether the best recipe is more than lucky.
"""

SETTINGS = ("metric", "direction", "output")


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    folder, settings = folder_and_settings("report", words, SETTINGS)
    sweep = read(folder, settings)
    from dlcexp.reports.sweep_page import write_report
    from dlcexp.results.leaderboard import leaderboard

    print(leaderboard(sweep), end="")
    page = expanded(settings["output"]) if "output" in settings else folder / "report.html"
    try:
        write_report(sweep, page)
    except OSError as error:
        raise UserError(
            f"{page} cannot be written: {error.strerror or error}. Choose another: output=FILE."
        ) from error
    print(f"report       {page}")
    return 0


def folder_and_settings(
    command: str, words: list[str], names: tuple[str, ...]
) -> tuple[Path, dict[str, str]]:
    """The folder that is the one word without `=`, and the settings `name=value`.

    Raises:
        UserError: there is no such word or more than one, or an unknown setting.
    """
    folders = [word for word in words if "=" not in word]
    settings = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            continue
        if name not in names:
            raise UserError(f"{command} has no setting {name!r}.{nearest(name, names)}")
        settings[name] = value.strip("'\"")
    if len(folders) != 1:
        raise UserError(f"{command} takes one folder: dlcexp {command} multirun/mouse/DIR")
    if folders[0].startswith("-"):
        raise UserError(f"there is no flag {folders[0]!r} here; see --help.")
    return expanded(folders[0]), settings


def read(folder: Path, settings: dict[str, str]) -> "Sweep":
    """The runs of a folder, by the metric that the settings name.

    Raises:
        UserError: as `read_sweep`, or a direction that is none.
    """
    from dlcexp.results.objective import MAXIMIZE, MINIMIZE
    from dlcexp.results.read_sweep import read_sweep

    direction = settings.get("direction")
    if direction not in (None, MAXIMIZE, MINIMIZE):
        hint = nearest(str(direction), (MAXIMIZE, MINIMIZE))
        raise UserError(f"direction: {direction!r} is not {MAXIMIZE} or {MINIMIZE}.{hint}")
    return read_sweep(folder, settings.get("metric"), direction)
