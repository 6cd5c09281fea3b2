"""The runs of a sweep as a table for the terminal, best first."""

import io
import math
import shutil
import sys
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dlcexp.results.choice_text import choice_notes, out_of_fold_error, out_of_fold_note
from dlcexp.results.pooled_errors import out_of_fold
from dlcexp.results.read_sweep import Job, Recipe, Sweep
from dlcexp.results.recipe_text import (
    better,
    counts,
    label,
    labels_note,
    mean_and_spread,
    names_of,
    shown,
    start_note,
    started_from,
    verdict,
)
from dlcexp.runs.started_from import START
from dlcexp.runs.status import COMPLETED, PRUNED
from dlcexp.text import duration, number

# Rows and failures in a terminal; report.html has them all.
_ROWS, _FAILURES = 25, 10
# Characters of the column of recipes, at least, and of a terminal that fits anything.
_NARROWEST, _ENDLESS = 20, 10_000
# Shown next to the objective, as people think in pixels.
_PIXELS = "test.rmse"
_COLOURS = {"completed": "", "pruned": "yellow", "running": "cyan", "queued": "dim"}


def leaderboard(sweep: Sweep, width: int | None = None) -> str:
    """List recipes best first, then how sure that is, then what failed; fits the terminal.

    Args:
        width: columns; None: those of the terminal.
    """
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width or shutil.get_terminal_size().columns,
        force_terminal=sys.stdout.isatty(),
        highlight=False,
    )
    objective = sweep.objective
    console.print(f"{counts(sweep.jobs)}. Best first: {objective.metric}, {better(objective)}.")
    for line in start_note(sweep):
        console.print(Text(line))
    console.print(_fitting_table(sweep, console))
    if len(sweep.recipes) > _ROWS:
        console.print(f"and {len(sweep.recipes) - _ROWS} more")
    notes = [*out_of_fold_note(sweep), *choice_notes(sweep), *labels_note(sweep)]
    for line in (*verdict(sweep), *notes):
        console.print(Text(line))
    _print_failures(console, sweep.failed)
    return buffer.getvalue()


def _fitting_table(sweep: Sweep, console: Console) -> Table:
    """Return the fullest table that is not wider than the terminal."""
    options = console.options.update(max_width=_ENDLESS)
    table = _table(sweep, columns=True, extras=True)
    if Measurement.get(console, options, table).maximum <= console.width:
        return table
    for extras in (True, False):
        table = _table(sweep, columns=False, extras=extras)
        recipe = table.columns[1]
        recipe.max_width = _NARROWEST
        fits = Measurement.get(console, options, table).maximum <= console.width
        recipe.max_width = None
        if fits:
            break
    return table


def _table(sweep: Sweep, *, columns: bool, extras: bool) -> Table:
    """Return a row for each recipe.

    Args:
        columns: each factor in a separate column; else a recipe in one.
        extras: with pixels, time and jobs.
    """
    factors = sweep.recipe_factors
    repeated = any(len(recipe.jobs) > 1 for recipe in sweep.recipes)
    metrics = _metrics(sweep) if extras else [sweep.objective.metric]
    front = sweep.front() if len(sweep.objectives) > 1 else set()
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    if columns:
        for factor in factors:
            table.add_column(Text(factor.name), no_wrap=True)
    else:
        table.add_column("recipe", overflow="fold")
    starts = len(sweep.starts) > 1
    if starts:
        table.add_column(START, overflow="fold", max_width=None if columns else _NARROWEST)
    for metric in metrics:
        table.add_column(Text(metric), justify="right", no_wrap=True)
    shown_recipes = sweep.recipes[:_ROWS]
    pooled = [out_of_fold(recipe) if extras else None for recipe in shown_recipes]
    if any(pooled):
        table.add_column("out of fold (px)", justify="right")
    if repeated:
        table.add_column("n", justify="right", no_wrap=True)
    table.add_column("status", max_width=18)
    if extras:
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("jobs" if repeated else "job", overflow="fold", max_width=12)
    for place, (recipe, errors) in enumerate(zip(shown_recipes, pooled, strict=True), start=1):
        done = bool(recipe.scores(sweep.objective.metric))
        star = "*" if front & {job.number for job in recipe.jobs} else ""
        row: list[str | Text] = [f"{place}{star}" if done else ""]
        values = [shown(recipe.values[factor.key]) for factor in factors]
        row += [*map(Text, values)] if columns else [Text(label(factors, recipe.values))]
        row += [Text(started_from(recipe))] if starts else []
        row += [_score(recipe, metric) for metric in metrics]
        row += [out_of_fold_error(errors) if errors else "–"] if any(pooled) else []
        row += [str(len(recipe.completed))] if repeated else []
        row += [_status(recipe)]
        row += [duration(_seconds(recipe)), names_of(recipe.jobs)] if extras else []
        table.add_row(*row, style="bold" if place == 1 and done else "")
    if front:
        table.caption = "* none is better in every objective"
        table.caption_justify = "left"
    return table


def _metrics(sweep: Sweep) -> list[str]:
    """Return the objectives, and the error in pixels."""
    names = [objective.metric for objective in sweep.objectives]
    return names if _PIXELS in names or _PIXELS not in sweep.metrics else [*names, _PIXELS]


def _score(recipe: Recipe, metric: str) -> str | Text:
    """Mean and spread; of jobs that did not end, in brackets, the last value that they logged."""
    if recipe.scores(metric):
        return mean_and_spread(recipe, metric)
    logged = [job.metric(metric) for job in recipe.jobs]
    values = [value for value in logged if not math.isnan(value)]
    return Text(f"({number(sum(values) / len(values))})" if values else "–", style="dim")


def _seconds(recipe: Recipe) -> float:
    """Mean wall clock of a job, s."""
    known = [job.seconds for job in recipe.completed or recipe.jobs if job.seconds >= 0]
    return sum(known) / len(known) if known else math.nan


def _status(recipe: Recipe) -> Text:
    states = Counter(_state(job) for job in recipe.jobs)
    text = ", ".join(state if len(states) == 1 else f"{n} {state}" for state, n in states.items())
    return Text(text, style=_COLOURS.get(text, "" if COMPLETED in text else "red"))


def _state(job: Job) -> str:
    if job.status == PRUNED:
        return f"pruned at {job.epochs}/{job.planned}" if job.planned else "pruned"
    vague = job.kind in (None, "error", job.status)
    return job.status if job.status == COMPLETED or vague else str(job.kind)


def _print_failures(console: Console, failed: Sequence[Job]) -> None:
    """Print each error once, with the jobs that ended so."""
    by_error: dict[str, list[Job]] = {}
    for job in failed:
        kind = "" if job.kind in (None, "error") else f"{job.kind}: "
        by_error.setdefault(f"{kind}{job.error or 'no reason recorded'}", []).append(job)
    for text, jobs in list(by_error.items())[:_FAILURES]:
        noun = "job" if len(jobs) == 1 else "jobs"
        console.print(Text(f"{noun} {names_of(jobs)}: {text}", style="red"))
    if len(by_error) > _FAILURES:
        console.print(f"and {len(by_error) - _FAILURES} other errors")
    if failed:
        console.print("More is in log.txt of the job's folder.")
