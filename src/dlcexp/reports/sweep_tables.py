"""The tables of a report: the text of each cell, and the key by which it is sorted."""

import math
from dataclasses import replace
from typing import Any

from dlcexp.reports.html_tables import Cell, Table, number_cell, sort_key
from dlcexp.results import recipe_text
from dlcexp.results.choice_text import estimate, out_of_fold_error
from dlcexp.results.importance import is_number
from dlcexp.results.optimism import optimisms
from dlcexp.results.pooled_errors import OutOfFold, out_of_fold
from dlcexp.results.read_sweep import Job, Sweep
from dlcexp.results.statistics import Comparison, compare
from dlcexp.runs.started_from import START
from dlcexp.runs.status import COMPLETED
from dlcexp.text import duration
from dlcexp.trees import ABSENT

# Final numbers in the tables, if they were measured; of recipes the first two.
_NUMBERS = ("test.mAP", "test.rmse", "test.mAR", "test.median_error", "detector.test.mAP@50:95")


def recipes_table(sweep: Sweep) -> Table:
    """Return a row for each recipe, with spread and test where it has repeats."""
    comparisons = {id(each.other): each for each in compare(sweep)}
    repeated = bool(sweep.repeat_factors)
    metrics = list(dict.fromkeys([*(o.metric for o in sweep.objectives), *_known(sweep)[:2]]))
    columns = [("place", True), (metrics[0], True)]
    columns += [(factor.name, False) for factor in sweep.recipe_factors]
    starts = len(sweep.starts) > 1
    columns += [(START, False)] if starts else []
    columns += [(metric, True) for metric in metrics[1:]]
    pooled = [out_of_fold(recipe) for recipe in sweep.recipes]
    columns += [("out of fold (px)", True)] if any(pooled) else []
    if repeated:
        columns += [("n", True), ("p against the best", True)]
    columns += [("time a job", True), ("status", False)]
    rows = []
    for place, (recipe, errors) in enumerate(zip(sweep.recipes, pooled, strict=True), start=1):
        scored = bool(recipe.scores(sweep.objective.metric))
        means = [
            Cell(recipe_text.mean_and_spread(recipe, metric), sort_key(recipe.mean(metric)))
            for metric in metrics
        ]
        row = [Cell(str(place) if scored else "–", place), replace(means[0], strong=True)]
        row += [_value(recipe.values[factor.key]) for factor in sweep.recipe_factors]
        row += [_text(recipe_text.started_from(recipe))] if starts else []
        row += means[1:]
        if any(pooled):
            known = (
                Cell(out_of_fold_error(errors), sort_key(errors.error)) if errors else _text("–")
            )
            row.append(known)
        if repeated:
            row.append(Cell(str(len(recipe.completed)), len(recipe.completed)))
            row.append(_p_value(comparisons.get(id(recipe)), best=recipe is sweep.best))
        seconds = [job.seconds for job in recipe.jobs if not math.isnan(job.seconds)]
        mean = sum(seconds) / len(seconds) if seconds else math.nan
        states = dict.fromkeys(job.status for job in recipe.jobs)
        row += [Cell(duration(mean), sort_key(mean)), Cell(", ".join(states), ",".join(states))]
        rows.append(row)
    return Table("Recipes, best first", columns, rows)


def optimism_table(sweep: Sweep) -> Table | None:
    """Return the scores of what was chosen where it was chosen, and where it was not."""
    found = optimisms(sweep)
    if not found:
        return None
    columns = [("", False), ("chose", True), ("chose nothing", True), ("optimism", True)]
    columns += [("gain where it chose", True), ("gain where it chose nothing", True)]
    columns += [("gain of the choice of other folds", True)]
    rows = []
    for each in found:
        scores = (each.inner, each.outer, each.difference)
        gains = (each.inner_gain, each.outer_gain, each.recipe_gain)
        cells = [Cell(estimate(value), sort_key(value.value)) for value in (*scores, *gains)]
        rows.append([_text(f"{each.inner_metric} and {each.outer_metric}"), *cells])
    return Table("The winner on frames that chose it, and on frames that did not", columns, rows)


def jobs_table(sweep: Sweep) -> Table:
    """Return a row for each job; for one that did not end well, the last values in brackets."""
    metrics = list(dict.fromkeys([*(o.metric for o in sweep.objectives), *_known(sweep)]))
    columns = [("job", False), (metrics[0], True)]
    columns += [(factor.name, False) for factor in sweep.factors]
    starts = len(sweep.starts) > 1
    columns += [(START, False)] if starts else []
    columns += [("status", False), *((metric, True) for metric in metrics[1:])]
    columns += [("epochs", True), ("images/s", True), ("time", True)]
    rows = []
    for job in sweep.ranked:
        numbers = [number_cell(v) for v in map(job.metric, metrics)]
        done, first = job.status == COMPLETED, numbers[0]
        text = first.text if done or first.key is None else f"({first.text})"
        row = [Cell(job.name, job.number), replace(first, text=text, strong=done)]
        row += [_value(job.values.get(factor.key, ABSENT)) for factor in sweep.factors]
        row += [_text(job.start or "–")] if starts else []
        row += [_text(_state(job)), *numbers[1:]]
        planned = f"/{job.planned}" if job.planned else ""
        speed = job.images_per_second
        row += [
            Cell(f"{job.epochs}{planned}", job.epochs),
            number_cell(speed),
            Cell(duration(job.seconds), sort_key(job.seconds)),
        ]
        rows.append(row)
    return Table("All jobs, best first", columns, rows)


def _known(sweep: Sweep) -> list[str]:
    """Return the usual numbers that any job has."""
    return [name for name in _NUMBERS if name in sweep.metrics]


def _state(job: Job) -> str:
    return job.status if job.kind in (None, job.status) else f"{job.status}: {job.kind}"


def _text(text: str) -> Cell:
    return Cell(text, text)


def _value(value: Any) -> Cell:
    key = (
        float(value) if is_number(value) else None if value is ABSENT else recipe_text.shown(value)
    )
    return Cell(recipe_text.shown(value), key)


def _out_of_fold(errors: OutOfFold | None) -> Cell:
    return Cell(out_of_fold_error(errors), errors.error) if errors else Cell("–", None)


def _p_value(comparison: Comparison | None, *, best: bool) -> Cell:
    if best:
        return Cell("best", -1.0)
    if comparison is None or math.isnan(comparison.p):
        return Cell("–", None)
    note = "" if comparison.distinguishable else " (noise)"
    return Cell(f"{comparison.p:.2g}{note}", comparison.p)
