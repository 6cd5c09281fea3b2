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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dlcexp.config.resolvers import larger_is_better
from dlcexp.evaluation.intervals import difference_of_errors
from dlcexp.results.ledger import Objective
from dlcexp.results.pooled_errors import errors_of
from dlcexp.results.read_sweep import Job, Recipe, Sweep
from dlcexp.results.statistics import Estimate, mean_over_folds, overlap_of
from dlcexp.runs.metric_names import MAXIMIZE, part_of

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
            the same frames. It is that of a trained network, the luck of its training included.
        recipe_gain: the same on the outer frames of each fold, of the recipe that the other folds
            would choose: of a training that did not choose it. NaN without such folds.
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
    recipe_gain: Estimate
    recipes: int
    folds: int
    winners: tuple[Recipe, ...]
    unit: str


class _Fold:
    """The jobs of the recipes that have results in one split of the frames."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.jobs: dict[Recipe, list[Job]] = {}

    def score(self, recipe: Recipe, metric: str) -> float:
        """Return the mean of a metric over the seeds of a recipe."""
        jobs = self.jobs[recipe]
        return sum(job.metric(metric) for job in jobs) / len(jobs)

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over all recipes."""
        return sum(self.score(recipe, metric) for recipe in self.jobs) / len(self.jobs)

    @cached_property
    def leads(self) -> dict[Recipe, float]:
        """By how much each recipe is better than the mean of all in what ranks them."""
        metric = self.objective.metric
        mean, sign = self.mean(metric), 1 if self.objective.direction == MAXIMIZE else -1
        return {recipe: sign * (self.score(recipe, metric) - mean) for recipe in self.jobs}

    @property
    def winner(self) -> Recipe:
        """The recipe that is best in what ranks them."""
        return max(self.leads, key=self.leads.__getitem__)


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
    folds = _folds(sweep, inner, outer)
    if not folds:
        return None
    winners = tuple(fold.winner for fold in folds)
    sign = 1 if larger_is_better(inner) else -1
    overlap = overlap_of(winners[0].completed[0].tree, len(folds))
    won = list(zip(folds, winners, strict=True))
    inners, outers = ([fold.score(winner, name) for fold, winner in won] for name in (inner, outer))

    def gains(metric: str) -> list[float]:
        return [sign * (fold.score(winner, metric) - fold.mean(metric)) for fold, winner in won]

    differences = [sign * (one - other) for one, other in zip(inners, outers, strict=True)]
    difference, unit = mean_over_folds(differences, overlap), "folds" if len(folds) > 1 else ""
    if not unit and inner.endswith(f".{_PIXELS}"):
        difference, unit = _by_frames(folds[0].jobs[winners[0]], inner, outer, difference)
    return Optimism(
        inner,
        outer,
        mean_over_folds(inners, overlap),
        mean_over_folds(outers, overlap),
        difference,
        mean_over_folds(gains(inner), overlap),
        mean_over_folds(gains(outer), overlap),
        mean_over_folds([sign * gain for gain in _of_other_folds(folds, outer)], overlap),
        max(len(fold.jobs) for fold in folds),
        len(folds),
        winners,
        unit,
    )


def _folds(sweep: Sweep, *metrics: str) -> list[_Fold]:
    """Return the splits of the frames, with the jobs that have all these metrics."""
    folds: dict[tuple[str, ...], _Fold] = {}
    names = (sweep.objective.metric, *metrics)
    for recipe in sweep.recipes:
        for job in recipe.completed:
            if not any(math.isnan(job.metric(name)) for name in names):
                fold = folds.setdefault(sweep.drawn_by(job), _Fold(sweep.objective))
                fold.jobs.setdefault(recipe, []).append(job)
    return [fold for _, fold in sorted(folds.items())]


def _of_other_folds(folds: Sequence[_Fold], metric: str) -> list[float]:
    """Return the difference from the mean, in each fold, of the recipe that the others choose."""
    differences = []
    for fold in folds:
        leads: dict[Recipe, list[float]] = {}
        for other in folds:
            for recipe, lead in other.leads.items() if other is not fold else ():
                leads.setdefault(recipe, []).append(lead)
        known = {recipe: sum(each) / len(each) for recipe, each in leads.items()}
        shared = [recipe for recipe in fold.jobs if recipe in known]
        if len(shared) > 1:
            chosen = max(shared, key=known.__getitem__)
            differences.append(fold.score(chosen, metric) - fold.mean(metric))
    return differences


def _by_frames(
    jobs: Sequence[Job], inner: str, outer: str, difference: Estimate
) -> tuple[Estimate, str]:
    """Return the difference with limits from its frames, where the jobs have kept their errors."""
    parts = [errors_of(jobs, metric.partition(".")[0]) for metric in (outer, inner)]
    limits = difference_of_errors(*parts)
    if limits is None:
        return difference, ""
    return Estimate(difference.value, limits.low, limits.high), f"{limits.unit}s"
