"""`dlcexp report`: which run of a folder is best, how sure that is, and why."""

from pathlib import Path

from dlcexp.commands.settings import FOLDER, PATH, TEXT, Command, Setting, one_of
from dlcexp.errors import UserError
from dlcexp.runs.metric_names import MAXIMIZE, MINIMIZE

SWEEP = Setting(
    "folder",
    FOLDER,
    "the folder of a sweep, finished or not, or any folder with runs in it, such as runs/mouse",
    shown="DIR",
    required=True,
    positional=True,
)
METRIC = Setting(
    "metric",
    TEXT,
    "decide by this metric of metrics.json, such as test.rmse, instead of the sweep's own",
    shown="NAME",
)
DIRECTION = Setting(
    "direction",
    one_of(MINIMIZE, MAXIMIZE),
    "which values are better; chosen by the metric unless given",
    shown="WAY",
)

COMMAND = Command(
    name="report",
    about="""
        Prints the leaderboard of a sweep and writes DIR/report.html: one page that works offline,
        with a sortable leaderboard, the effect of each key, learning curves, parallel coordinates,
        accuracy against speed, frames of the best and the worst recipe, what failed and why, and
        how to use the winner.

        Runs that differ in seed, split.fold or split.seed only are repeats of one recipe: it gets
        their mean, standard deviation and number, and a paired test shows whether the difference to
        the best recipe is more than noise.
    """,
    settings=(
        SWEEP,
        METRIC,
        DIRECTION,
        Setting("output", PATH, "the page to write instead of DIR/report.html", shown="FILE"),
    ),
    examples=("dlcexp report multirun/mouse/DIR", "dlcexp report runs/mouse metric=test.rmse"),
)


def run(folder: Path, metric: str | None, direction: str | None, output: Path | None) -> int:
    """Print the leaderboard and write the page."""
    from dlcexp.reports.sweep_page import write_report
    from dlcexp.results.leaderboard import leaderboard
    from dlcexp.results.read_sweep import read_sweep

    sweep = read_sweep(folder, metric, direction)
    print(leaderboard(sweep), end="")
    page = output or folder / "report.html"
    try:
        write_report(sweep, page)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"{page} cannot be written: {reason}. Choose a different file: output=FILE."
        ) from error
    print(f"report       {page}")
    return 0
