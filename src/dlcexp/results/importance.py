"""Importance of each swept key for the metric: an analysis of variance over completed jobs.

Every key is a set of levels, one for each value; a number with many values is cut into quartiles.
The share of a key is what the variance that remains grows by when the key is left out of a linear
model of all keys (type II sums of squares, no interactions), corrected for what as many levels
explain by chance (epsilon squared: Kelley, PNAS 21, 1935). What no key explains is interaction and
luck; the seed is luck and nothing else.

A forest (fANOVA) sees interactions, too, and needs far more jobs than most sweeps have, and
scikit-learn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlcexp.results.factors import Factor
from dlcexp.results.read_sweep import Job, Sweep
from dlcexp.runs.status import COMPLETED
from dlcexp.trees import ABSENT

# Numbers with more values than that are cut into as many parts.
_MOST_LEVELS, _PARTS = 8, 4
_LUCK = "seed"


@dataclass(frozen=True)
class Importance:
    """The effect of a factor on the metric.

    Attributes:
        factor: a key that differs between jobs.
        share: of the metric's variance, 0 to 1; NaN where there are too few jobs.
        swing: mean of its best level minus mean of its worst, in units of the metric.
    """

    factor: Factor
    share: float
    swing: float


def importances(sweep: Sweep) -> list[Importance]:
    """Return factors with two levels or more among the completed jobs, most important first."""
    metric = sweep.objective.metric
    jobs = [job for job in sweep.jobs if job.status == COMPLETED]
    jobs = [job for job in jobs if not math.isnan(job.metric(metric))]
    levels = {factor.key: _levels(factor, jobs) for factor in sweep.factors}
    factors = [
        factor
        for factor in sweep.factors
        if len(set(levels[factor.key])) > 1 and factor.key != _LUCK
    ]
    values = np.array([job.metric(metric) for job in jobs])
    shares = variance_shares([levels[factor.key] for factor in factors], values)
    found = [
        Importance(factor, share, _swing(levels[factor.key], values))
        for factor, share in zip(factors, shares, strict=True)
    ]
    return sorted(found, key=lambda each: (-np.nan_to_num(each.share), -each.swing))


def variance_shares(factors: Sequence[Sequence[int]], values: NDArray[np.float64]) -> list[float]:
    """Return the share of the variance of `values` that each factor adds to the others.

    Args:
        factors: for each factor, the level of each job.
        values: the metric of each job.

    Returns:
        From 0 to 1; NaN for all where the jobs are not more than the levels to estimate.
    """
    if not factors:
        return []
    total = float(((values - values.mean()) ** 2).sum())
    full, rank = _residual(factors, values)
    freedom = len(values) - rank
    if freedom < 1 or total == 0:
        return [math.nan] * len(factors)
    shares = []
    for index in range(len(factors)):
        others = [*factors[:index], *factors[index + 1 :]]
        without, rank_without = _residual(others, values)
        by_chance = (rank - rank_without) * full / freedom
        shares.append(min(1.0, max(0.0, (without - full - by_chance) / total)))
    return shares


def _residual(factors: Sequence[Sequence[int]], values: NDArray[np.float64]) -> tuple[float, int]:
    """Sum of squares that a linear model of the levels leaves, and its rank."""
    columns = [np.ones(len(values))]
    for levels in factors:
        known = np.asarray(levels)
        columns += [(known == level).astype(float) for level in sorted(set(levels))[1:]]
    design = np.stack(columns, axis=1)
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    return float(((values - design @ solution) ** 2).sum()), int(rank)


def _levels(factor: Factor, jobs: Sequence[Job]) -> list[int]:
    """Return the level of each job: of its value, or of the quartile that a number is in."""
    values = [job.values.get(factor.key, ABSENT) for job in jobs]
    numbers = [value for value in values if is_number(value)]
    if not factor.repeat and len(numbers) == len(values) and len(set(numbers)) > _MOST_LEVELS:
        edges = np.quantile(numbers, np.linspace(0, 1, _PARTS + 1)[1:-1])
        return [int(level) for level in np.searchsorted(edges, numbers)]
    order = {text: level for level, text in enumerate(dict.fromkeys(map(repr, values)))}
    return [order[repr(value)] for value in values]


def is_number(value: Any) -> bool:
    """Return whether a value lies on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _swing(levels: Sequence[int], values: NDArray[np.float64]) -> float:
    known = np.asarray(levels)
    means = [float(values[known == level].mean()) for level in set(levels)]
    return max(means) - min(means)
