"""The error of a recipe by the number of labelled frames, and what more of them would bring.

Errors of deep networks fall with the number of training samples as a power law (Hestness et al.,
"Deep Learning Scaling is Predictable, Empirically", 2017): a straight line in logarithms, fitted by
least squares to the runs of a sweep over `split.train_frames`. The law has no floor, and labels are
not exact: close to their own error, it promises too much.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlcexp.results.factors import Factor
from dlcexp.results.read_sweep import Job, Sweep
from dlcexp.runs.metric_names import spelling
from dlcexp.runs.status import COMPLETED
from dlcexp.trees import ABSENT

FRAMES = "split.train_frames"
_METRIC = "test.rmse"
# Sizes and runs below which there is no line.
_LEAST_SIZES, _LEAST_RUNS = 3, 3
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Expected:
    """The error that a run would have: its most likely value and the limits of 95 % of runs, px."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class LabelCurve:
    """The error of a recipe by the number of labelled frames that train.

    Attributes:
        factors, values: what makes it another recipe than the others, but for that number.
        metric: the error, px.
        points: (frames, error) of each completed run.
        factor, exponent: the error is factor * frames ** exponent.
        exponent_error: 95 % limit of the deviation of the exponent.
    """

    factors: tuple[Factor, ...]
    values: Mapping[str, Any]
    metric: str
    points: tuple[tuple[int, float], ...]
    factor: float
    exponent: float
    exponent_error: float

    @property
    def sizes(self) -> list[int]:
        """The numbers of frames that were tried, ascending."""
        return sorted({frames for frames, _ in self.points})

    @property
    def falls(self) -> bool:
        """True if the error falls by more than chance."""
        return self.exponent + self.exponent_error < 0

    def at(self, frames: float) -> Expected:
        """Return what a run with so many labelled frames can be expected to reach."""
        x = [math.log(size) for size, _ in self.points]
        n, mean = len(x), sum(x) / len(x)
        spread = sum((each - mean) ** 2 for each in x)
        distance = math.log(frames) - mean
        margin = _t(n - 2) * self._deviation() * math.sqrt(1 + 1 / n + distance**2 / spread)
        value = self.factor * frames**self.exponent
        return Expected(value, value * math.exp(-margin), value * math.exp(margin))

    def _deviation(self) -> float:
        """Return the standard deviation of the logarithms of the errors from the line."""
        squares = [
            (math.log(error) - math.log(self.factor) - self.exponent * math.log(frames)) ** 2
            for frames, error in self.points
        ]
        return math.sqrt(sum(squares) / (len(squares) - 2))


def label_curves(sweep: Sweep) -> list[LabelCurve]:
    """Return a curve for each recipe that was trained on three numbers of frames, the best first.

    Keys that change with the number of frames, such as epochs of equally many steps, do not make a
    separate recipe.
    """
    jobs = [job for job in sweep.jobs if _frames(job) is not None and _error(job) is not None]
    factors = [
        factor
        for factor in sweep.recipe_factors
        if factor.key != FRAMES and not _follows_the_frames(factor, jobs)
    ]
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        values = [job.values.get(factor.key, ABSENT) for factor in factors]
        groups.setdefault(repr(values), []).append(job)
    curves = [curve for group in groups.values() if (curve := _curve(group, factors))]
    return sorted(curves, key=lambda curve: curve.at(max(curve.sizes)).value)


def _curve(jobs: Sequence[Job], factors: Sequence[Factor]) -> LabelCurve | None:
    points = [(_frames(job) or 0, _error(job) or 0.0) for job in jobs]
    if len({frames for frames, _ in points}) < _LEAST_SIZES or len(points) < _LEAST_RUNS:
        return None
    from scipy.stats import linregress

    line = linregress(
        [math.log(frames) for frames, _ in points], [math.log(error) for _, error in points]
    )
    return LabelCurve(
        tuple(factors),
        {factor.key: jobs[0].values.get(factor.key, ABSENT) for factor in factors},
        spelling(_METRIC, jobs[0].metrics),
        tuple(sorted(points)),
        math.exp(line.intercept),
        float(line.slope),
        _t(len(points) - 2) * float(line.stderr),
    )


def _follows_the_frames(factor: Factor, jobs: Sequence[Job]) -> bool:
    """Return True if each number of frames has a single value."""
    values: dict[int | None, set[str]] = {}
    for job in jobs:
        values.setdefault(_frames(job), set()).add(repr(job.values.get(factor.key, ABSENT)))
    return all(len(each) == 1 for each in values.values()) and len(values) > 1


def _frames(job: Job) -> int | None:
    frames = job.values.get(FRAMES)
    return frames if isinstance(frames, int) and frames > 0 else None


def _error(job: Job) -> float | None:
    error = job.metric(spelling(_METRIC, job.metrics))
    return error if job.status == COMPLETED and error > 0 else None


def _t(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + _CONFIDENCE) / 2, degrees))
