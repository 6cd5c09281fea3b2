"""Is the best recipe better, or only luckier? Paired tests over repeated seeds or folds.

Recipes that were trained on the same folds, or from the same seeds, are compared on these in pairs:
what a hard fold costs, it costs both. Over seeds that is a paired t-test. Over folds or splits the
training frames overlap, the differences are not independent, and the plain test finds far too
many winners; there the variance is corrected as by Nadeau and Bengio ("Inference for the
Generalization Error", Machine Learning 52, 2003), which is what the field does. A rank test
(Wilcoxon) cannot reach p < 0.05 with five folds at all. Several recipes against the best one:
p-values after Holm (1979).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlcexp.results.factors import SPLIT_KEYS
from dlcexp.results.read_sweep import Job, Recipe, Sweep
from dlcexp.trees import ABSENT, select

# A difference with a larger p-value is called noise.
SIGNIFICANT = 0.05

CORRECTED = "corrected resampled t-test (Nadeau and Bengio, 2003)"
PAIRED = "paired t-test"

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and the limits that hold it with 95 % confidence; NaN where they are unknown."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, eq=False)
class Comparison:
    """The best recipe against another one.

    Attributes:
        other: the other recipe.
        n: shared folds, splits or seeds.
        difference: mean of the best minus mean of the other over these, in units of the metric.
        p: p-value (two-sided; after `compare`, Holm's); NaN where n < 2.
        test: name of the test.
        unit: what n counts: folds, splits or seeds.
    """

    other: Recipe
    n: int
    difference: float
    p: float
    test: str
    unit: str

    @property
    def distinguishable(self) -> bool:
        """True if the difference is more than noise."""
        return self.p < SIGNIFICANT


def compare(sweep: Sweep) -> list[Comparison]:
    """Compare the best recipe with every other that has results; p-values after Holm."""
    best = sweep.best
    if best is None or not sweep.repeat_factors:
        return []
    metric = sweep.objective.metric
    others = [recipe for recipe in sweep.recipes if recipe is not best and recipe.scores(metric)]
    found = [_compare(best, other, sweep) for other in others]
    corrected = holm([comparison.p for comparison in found])
    return [replace(each, p=p) for each, p in zip(found, corrected, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Apply Holm's step-down correction to p-values; those that are NaN are left out."""
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    corrected = list(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[index] = largest
    return corrected


def paired_test(differences: Sequence[float], overlap: float = 0.0) -> float:
    """Return the two-sided p-value of a mean difference of zero, by Student's t with n - 1 degrees.

    Args:
        differences: one a fold or seed.
        overlap: test frames over training frames of a split, by which the variance of resampled
            differences is corrected; 0 for independent ones, the ordinary paired t-test.

    Returns:
        NaN for fewer than two differences.
    """
    from scipy.stats import t

    n = len(differences)
    if n < 2:
        return math.nan
    mean, error = sum(differences) / n, standard_error(differences, overlap)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(abs(mean) / error, n - 1))


def standard_error(values: Sequence[float], overlap: float = 0.0) -> float:
    """Return the standard error of a mean over folds or seeds; NaN of fewer than two.

    Args:
        values: one a fold or seed.
        overlap: as in `paired_test`.
    """
    n = len(values)
    if n < 2:
        return math.nan
    mean = sum(values) / n
    variance = sum((each - mean) ** 2 for each in values) / (n - 1)
    return math.sqrt(variance * (1 / n + overlap))


def mean_over_folds(values: Sequence[float], overlap: float = 0.0) -> Estimate:
    """Return a mean with its limits by Student's t, the counterpart of `paired_test`."""
    from scipy.stats import t

    n = len(values)
    margin = standard_error(values, overlap)
    if n > 1:
        margin *= float(t.ppf((1 + CONFIDENCE) / 2, n - 1))
    mean = sum(values) / n if n else math.nan
    return Estimate(mean, mean - margin, mean + margin)


def _compare(best: Recipe, other: Recipe, sweep: Sweep) -> Comparison:
    keys = [factor.key for factor in sweep.repeat_factors]
    split_keys = [key for key in keys if key in SPLIT_KEYS]
    metric = sweep.objective.metric
    ours, theirs = (_by_repeat(recipe, keys, metric) for recipe in (best, other))
    units: dict[Any, list[float]] = {}
    for repeat in ours.keys() & theirs.keys():
        # Seeds on the same split do not count as splits: they are averaged.
        unit = tuple(v for k, v in zip(keys, repeat, strict=True) if k in split_keys) or repeat
        units.setdefault(unit, []).append(ours[repeat] - theirs[repeat])
    differences = [sum(values) / len(values) for _, values in sorted(units.items(), key=repr)]
    n = len(differences)
    overlap = overlap_of(best.jobs[0].tree, n) if split_keys else 0.0
    return Comparison(
        other,
        n,
        sum(differences) / n if n else math.nan,
        paired_test(differences, overlap),
        CORRECTED if split_keys else PAIRED,
        "folds" if split_keys == ["split.fold"] else "splits" if split_keys else "seeds",
    )


def _by_repeat(recipe: Recipe, keys: Sequence[str], metric: str) -> dict[tuple[str, ...], float]:
    """Return the metric of the completed repeats, by their fold and seed."""
    scores: dict[tuple[str, ...], list[float]] = {}
    for job in recipe.completed:
        value = job.metric(metric)
        if not math.isnan(value):
            scores.setdefault(_repeat(job, keys), []).append(value)
    return {repeat: sum(values) / len(values) for repeat, values in scores.items()}


def _repeat(job: Job, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(repr(job.values.get(key, ABSENT)) for key in keys)


def overlap_of(tree: Mapping[str, Any], n: int) -> float:
    """Return test frames over training frames: of k folds 1 / (k - 1).

    Args:
        tree: of one of the jobs.
        n: their splits, if the tree does not state its share of test frames.
    """
    folds, fraction = select(tree, "split.k"), select(tree, "split.train_fraction")
    if isinstance(folds, int) and folds > 1:
        return 1 / (folds - 1)
    if isinstance(fraction, float) and 0 < fraction < 1:
        return (1 - fraction) / fraction
    return 1 / max(n - 1, 1)
