"""The error of a recipe by the number of labelled frames, and what more of them would bring.

Errors of networks fall with the number of training samples as a power law, down to a floor that no
number of them removes, here the error of the labels themselves (Hestness et al., "Deep Learning
Scaling is Predictable, Empirically", 2017; Viering and Loog, "The Shape of Learning Curves", 2022).
In a few runs a floor and a slow fall look alike. So all laws that fit are carried on, each with the
probability that the runs leave it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
# Laws that are tried: floors as parts of the smallest error, exponents, and errors in the middle of
# the sizes as logarithms around the mean.
_FLOORS = np.linspace(0, 0.98, 40)
_EXPONENTS = np.linspace(-1.5, -0.05, 40)
_MIDDLES = np.linspace(-0.5, 0.5, 81)
# What is known of the spread of repeats before there are any: 5 %, as of two runs.
_SPREAD, _SPREAD_RUNS = 0.05, 2
_DRAWS = 4000


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
        slope: of the logarithms of the errors over those of the frames, by least squares.
        slope_error: 95 % limit of its deviation.
    """

    factors: tuple[Factor, ...]
    values: Mapping[str, Any]
    metric: str
    points: tuple[tuple[int, float], ...]
    slope: float
    slope_error: float

    @property
    def sizes(self) -> list[int]:
        """The numbers of frames that were tried, ascending."""
        return sorted({frames for frames, _ in self.points})

    @property
    def falls(self) -> bool:
        """True if the error falls by more than chance."""
        return self.slope + self.slope_error < 0

    def at(self, frames: float) -> Expected:
        """Return what a run with so many labelled frames can be expected to reach."""
        laws, noise = self._drawn
        logs = np.log(laws.errors(frames))
        tail = (1 - _CONFIDENCE) / 2
        low, high = np.quantile(logs + noise, [tail, 1 - tail])
        return Expected(*(math.exp(each) for each in (np.median(logs), low, high)))

    @cached_property
    def _drawn(self) -> tuple["_Laws", NDArray[np.float64]]:
        """Laws drawn by their probability, and the deviation of a run from each, in logarithms."""
        errors = np.array([error for _, error in self.points])
        frames = np.array([size for size, _ in self.points])
        centre = float(np.exp(np.log(frames).mean()))
        grid = np.meshgrid(
            errors.min() * _FLOORS,
            _EXPONENTS,
            np.exp(np.log(errors).mean() + _MIDDLES),
            indexing="ij",
        )
        possible = grid[2] > grid[0]
        laws = _Laws(centre, *(values[possible] for values in grid))
        misses = [(math.log(error) - np.log(laws.errors(size))) ** 2 for size, error in self.points]
        squares = _SPREAD_RUNS * _SPREAD**2 + np.sum(misses, axis=0)
        # The spread has Jeffreys' prior and the two runs, and is integrated out.
        degrees = len(frames) + _SPREAD_RUNS
        weights = (squares / squares.min()) ** (-degrees / 2)
        random = np.random.default_rng(0)
        chosen = random.choice(len(weights), _DRAWS, p=weights / weights.sum())
        noise = random.standard_t(degrees, _DRAWS) * np.sqrt(squares[chosen] / degrees)
        return laws.at(chosen), noise


@dataclass(frozen=True, eq=False)
class _Laws:
    """Laws floor + (middle - floor) * (frames / centre) ** exponent, px; arrays of one length."""

    centre: float
    floor: NDArray[np.float64]
    exponent: NDArray[np.float64]
    middle: NDArray[np.float64]

    def errors(self, frames: float) -> NDArray[np.float64]:
        """Return the error that each law has for a number of frames."""
        falling = (frames / self.centre) ** self.exponent
        return self.floor + (self.middle - self.floor) * falling

    def at(self, rows: NDArray[np.intp]) -> "_Laws":
        """Return some of the laws."""
        return _Laws(self.centre, self.floor[rows], self.exponent[rows], self.middle[rows])


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
