"""The optimism of a choice: how much better a winner is on frames that chose it than on others.

Jobs that are ranked by validation frames have an inner score (those frames chose the winner, and
its snapshot) and an outer one (the test frames chose nothing). Of a sweep over folds, the choice is
repeated in each: the recipe that is best on the inner frames of a fold is taken, and its outer
score counts. The mean over the folds is the score of the whole procedure, choice included: nested
cross-validation (Varma and Simon, "Bias in error estimation when using cross-validation for model
selection", BMC Bioinformatics 7, 2006; Cawley and Talbot, "On Over-fitting in Model Selection",
JMLR 11, 2010). Intervals over folds are corrected for training frames that they share (Nadeau and
Bengio, 2003).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlcexp.config.resolvers import larger_is_better
from dlcexp.evaluation.intervals import difference_of_errors
from dlcexp.results.objective import gain
from dlcexp.results.pooled_errors import errors_of
from dlcexp.results.read_sweep import Job, Recipe, Sweep
from dlcexp.results.statistics import Estimate, mean_over_folds, overlap_of
from dlcexp.runs.metric_names import part_of
from dlcexp.runs.status import COMPLETED

_INNER, _OUTER = "val", "test"
_PIXELS = "rmse"


@dataclass(frozen=True, eq=False)
class Optimism:
    """The scores of what a sweep chose, on frames that chose it and on frames that did not.

    Attributes:
        inner_metric, outer_metric: names of the scores, such as `val.mAP` and `test.mAP`.
        inner, outer: of the winner; over folds, the mean over the winners of all folds.
        difference: by how much the inner score is better; above 0 where it is too good.
        inner_gain, outer_gain: by how much the winner is better than the mean of all recipes, on
            the same frames.
        recipes: how many there were to choose from, in the fold with the most.
        folds: in how many splits of the frames the choice was made; 1 where no split was swept.
        winners: the recipe chosen in each of them.
        unit: what the limits of `difference` rest on: folds, videos or frames; empty without any.
    """

    inner_metric: str
    outer_metric: str
    inner: Estimate
    outer: Estimate
    difference: Estimate
    inner_gain: Estimate
    outer_gain: Estimate
    recipes: int
    folds: int
    winners: tuple[Recipe, ...]
    unit: str


@dataclass(frozen=True, eq=False)
class _Choice:
    """The winner of one fold, its scores, and the mean scores of all recipes in that fold."""

    winner: Recipe
    jobs: tuple[Job, ...]
    inner: float
    outer: float
    mean_inner: float
    mean_outer: float
    recipes: int


def optimisms(sweep: Sweep) -> list[Optimism]:
    """Return the optimism in the objective that ranks, and in pixels if that is another metric.

    Returns:
        Nothing where the ranking is not by validation frames, or nothing is completed.
    """
    inner = sweep.objective.metric
    if part_of(inner) != _INNER:
        return []
    pixels = f"{inner.partition('.')[0]}.{_PIXELS}"
    found = (_optimism(sweep, metric) for metric in dict.fromkeys((inner, pixels)))
    return [each for each in found if each is not None]


def _optimism(sweep: Sweep, inner: str) -> Optimism | None:
    """Return the optimism in a metric of validation frames, whichever metric ranks."""
    outer = f"{_OUTER}{inner.removeprefix(_INNER)}"
    choices = _choices(sweep, inner, outer)
    if not choices:
        return None
    sign = 1 if larger_is_better(inner) else -1
    done = [job for job in sweep.jobs if job.status == COMPLETED]
    overlap = overlap_of(done[0].tree, len(choices))

    def mean(values: Sequence[float]) -> Estimate:
        return mean_over_folds(values, overlap)

    difference = mean([sign * (each.inner - each.outer) for each in choices])
    unit = "folds" if len(choices) > 1 else ""
    if not unit and inner.endswith(f".{_PIXELS}"):
        difference, unit = _by_frames(choices[0], inner, outer, difference)
    return Optimism(
        inner,
        outer,
        mean([each.inner for each in choices]),
        mean([each.outer for each in choices]),
        difference,
        mean([sign * (each.inner - each.mean_inner) for each in choices]),
        mean([sign * (each.outer - each.mean_outer) for each in choices]),
        max(each.recipes for each in choices),
        len(choices),
        tuple(each.winner for each in choices),
        unit,
    )


def _choices(sweep: Sweep, inner: str, outer: str) -> list[_Choice]:
    """Return the winner of each fold, by the objective; of each recipe, seeds are averaged."""
    folds: dict[tuple[str, ...], dict[Recipe, list[Job]]] = {}
    ranking = sweep.objective.metric
    for recipe in sweep.recipes:
        for job in recipe.completed:
            if not any(math.isnan(job.metric(name)) for name in (ranking, inner, outer)):
                fold = folds.setdefault(sweep.drawn_by(job), {})
                fold.setdefault(recipe, []).append(job)
    return [_choice(sweep, fold, inner, outer) for _, fold in sorted(folds.items())]


def _choice(sweep: Sweep, fold: Mapping[Recipe, list[Job]], inner: str, outer: str) -> _Choice:
    def score(recipe: Recipe, metric: str) -> float:
        return sum(job.metric(metric) for job in fold[recipe]) / len(fold[recipe])

    objective = sweep.objective
    winner = max(fold, key=lambda recipe: gain(objective, score(recipe, objective.metric)))
    mean_inner, mean_outer = (
        sum(score(recipe, metric) for recipe in fold) / len(fold) for metric in (inner, outer)
    )
    return _Choice(
        winner,
        tuple(fold[winner]),
        score(winner, inner),
        score(winner, outer),
        mean_inner,
        mean_outer,
        len(fold),
    )


def _by_frames(
    choice: _Choice, inner: str, outer: str, difference: Estimate
) -> tuple[Estimate, str]:
    """Return the difference with limits from its frames, where the jobs have kept their errors."""
    parts = [errors_of(choice.jobs, metric.partition(".")[0]) for metric in (outer, inner)]
    limits = difference_of_errors(*parts)
    if limits is None:
        return difference, ""
    return Estimate(difference.value, limits.low, limits.high), f"{limits.unit}s"
