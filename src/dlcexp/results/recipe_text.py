"""Results as text, the same everywhere: numbers, times, recipes, verdicts."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlcexp.results.factors import Factor
from dlcexp.results.label_curve import label_curves
from dlcexp.results.ledger import Objective
from dlcexp.results.read_sweep import Job, Recipe, Sweep
from dlcexp.results.statistics import Comparison, compare
from dlcexp.runs.metric_names import MINIMIZE
from dlcexp.runs.stages import DETECTOR, POSE
from dlcexp.runs.started_from import random_starts
from dlcexp.text import listed, number
from dlcexp.trees import ABSENT

# Characters of a value, at most.
_WIDEST = 28
# Recipes that are compared with the best one in a sentence each.
_SENTENCES = 6
# Recipes of which it is stated what more labels would bring.
_CURVES = 3
# Keys of a recipe in a sentence.
_MOST_KEYS = 5


def shown(value: Any) -> str:
    """Return the value of a factor as short text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:g}"
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ",".join(map(shown, value)) + "]"
    else:
        text = "(default)" if value is ABSENT else str(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def label(factors: Iterable[Factor], values: Mapping[str, Any]) -> str:
    """Return a recipe as short text: `adamw, optimizer.lr=0.001`; of many keys the first few."""
    parts = [
        shown(values[factor.key])
        if factor.choice and values.get(factor.key, ABSENT) is not ABSENT
        else f"{factor.name}={shown(values.get(factor.key, ABSENT))}"
        for factor in factors
    ]
    return listed(parts, _MOST_KEYS) if parts else "the only recipe"


def better(objective: Objective) -> str:
    """Return the direction in which a metric is better."""
    return "smaller is better" if objective.direction == MINIMIZE else "larger is better"


def counts(jobs: Sequence[Job]) -> str:
    """Return `12 jobs: 10 completed, 2 failed`."""
    states = Counter(job.status for job in jobs)
    noun = "job" if len(jobs) == 1 else "jobs"
    return f"{len(jobs)} {noun}: " + ", ".join(f"{n} {state}" for state, n in states.items())


def mean_and_spread(recipe: Recipe, metric: str) -> str:
    """Return `81.20 ± 1.31` of several repeats, the value alone of one."""
    deviation = recipe.deviation(metric)
    mean = number(recipe.mean(metric))
    return mean if math.isnan(deviation) else f"{mean} ± {number(deviation)}"


def names_of(jobs: Sequence[Job]) -> str:
    """Return the folders of jobs as a list, consecutive numbers as a range."""
    names = [job.name for job in jobs]
    if not all(name.isdecimal() for name in names):
        return ", ".join(names)
    numbers = sorted(map(int, names))
    ranges: list[list[int]] = []
    for each in numbers:
        if ranges and ranges[-1][-1] == each - 1:
            ranges[-1].append(each)
        else:
            ranges.append([each])
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in ranges)


def started_from(recipe: Recipe) -> str:
    """Return the start of a recipe; of jobs with different ones how many."""
    starts = {job.start for job in recipe.jobs if job.start}
    return f"{len(starts)} starts" if len(starts) > 1 else next(iter(starts), "–")


def start_note(sweep: Sweep) -> list[str]:
    """Return the start that all jobs have, or which of the ranked ones had random weights."""
    if len(sweep.starts) == 1:
        return [f"start: {sweep.starts[0]}"]
    metric = sweep.objective.metric
    ranked = [job for job in sweep.jobs if job.start and not math.isnan(job.metric(metric))]
    notes = []
    for stage, whose in ((POSE, ""), (DETECTOR, "the detector of ")):
        having = [job for job in ranked if stage in random_starts(job.tree)]
        random = [job for job in having if random_starts(job.tree)[stage]]
        if len(random) not in (0, len(having)):
            noun = "job" if len(random) == 1 else "jobs"
            notes.append(
                f"Warning: {whose}{noun} {names_of(random)} started from random weights, the "
                "others from pretrained ones: their ranking compares starts, not recipes."
            )
    return notes


def labels_note(sweep: Sweep) -> list[str]:
    """Return what twice the labelled frames would bring, by the runs over their number."""
    notes = []
    for curve in label_curves(sweep)[:_CURVES]:
        most = max(curve.sizes)
        recipe = f" of {label(curve.factors, curve.values)}" if curve.factors else ""
        law = f"{curve.metric}{recipe} over {len(curve.sizes)} numbers of labelled frames"
        if not curve.falls:
            notes.append(f"{law} does not fall measurably: more runs, or more labels, would show.")
            continue
        now, then = curve.at(most), curve.at(2 * most)
        notes.append(
            f"{law} falls: twice the {most} frames would bring {number(now.value)} to about "
            f"{number(then.value)} px ({number(then.low)} to {number(then.high)} px in 95 % of "
            "runs), if it keeps falling like that."
        )
    return notes


def verdict(sweep: Sweep) -> list[str]:
    """Return sentences on how certain the ranking is."""
    scored = [recipe for recipe in sweep.recipes if recipe.scores(sweep.objective.metric)]
    if len(scored) < 2:
        return []
    comparisons = compare(sweep)
    metric = sweep.objective.metric
    if len({job.metric(metric) for recipe in scored for job in recipe.completed}) == 1:
        same = number(scored[0].mean(metric))
        other = f"{metric.partition('.')[0]}.rmse"
        return [f"{metric} is {same} in every run: rank by another, such as metric={other}."]
    if max(len(recipe.scores(sweep.objective.metric)) for recipe in scored) < 2:
        return [
            "One run of each recipe: how far chance alone moves these numbers is unknown. Repeat "
            "them with split=kfold 'split.fold=range(5)', or with seed=0,1,2,3,4."
        ]
    tested = [each for each in comparisons if not math.isnan(each.p)]
    lines = [_sentence(sweep, each) for each in comparisons[:_SENTENCES]]
    if len(comparisons) > _SENTENCES:
        rest = comparisons[_SENTENCES:]
        close = sum(not each.distinguishable for each in rest)
        lines.append(f"Of {len(rest)} further recipes {close} are not distinguishable from it.")
    if tested:
        holm = ", p after Holm" if len(tested) > 1 else ""
        lines.append(f"Test: {tested[0].test}, paired by {tested[0].unit}{holm}.")
    return lines


def _sentence(sweep: Sweep, comparison: Comparison) -> str:
    best = sweep.best
    factors = sweep.recipe_factors
    names = f"{label(factors, comparison.other.values)}"
    if best is not None:
        names = f"{label(factors, best.values)} and {names}"
    if math.isnan(comparison.p):
        return f"{names}: fewer than two {comparison.unit} in common, no test."
    p = f"p={comparison.p:.2g}, n={comparison.n}"
    if not comparison.distinguishable:
        return f"{names}: not distinguishable, {p}"
    return f"{names}: differ by {number(abs(comparison.difference))}, {p}"
