"""Intervals of scores by bootstrap: the values on other frames of the same kind.

Keypoints of one frame, and frames of one video, err together. So whole videos are drawn again, or
whole frames where all are of one video (the cluster bootstrap; Davison and Hinkley, "Bootstrap
Methods and their Application", 1997).
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

_CONFIDENCE = 0.95
_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """Limits that hold a score with 95 % confidence.

    Attributes:
        low, high: in units of the score.
        unit: what was drawn again: `video` or `frame`.
        units: how many of them there are.
    """

    low: float
    high: float
    unit: str
    units: int


def error_interval(rows: pd.DataFrame) -> Interval | None:
    """Return the interval of the mean error; None of fewer than two frames.

    Args:
        rows: records of one split, see `pose_records`.
    """
    drawn = _means_of_draws(rows, seed=0)
    return None if drawn is None else _interval(drawn.means, drawn.unit, drawn.units)


def difference_of_errors(rows: pd.DataFrame, others: pd.DataFrame) -> Interval | None:
    """Return the interval of the mean error minus that of other frames; None of fewer than two.

    Args:
        rows, others: records of two splits, which have no frame in common.
    """
    draws = [_means_of_draws(part, seed) for seed, part in enumerate((rows, others))]
    one, other = draws
    if one is None or other is None:
        return None
    unit = one.unit if one.unit == other.unit else "frame"
    return _interval(one.means - other.means, unit, one.units + other.units)


@dataclass(frozen=True, eq=False)
class _Draws:
    """The mean error of each resample, and what was drawn."""

    means: np.ndarray
    unit: str
    units: int


def _means_of_draws(rows: pd.DataFrame, seed: int) -> _Draws | None:
    found = rows[rows.error.notna()] if len(rows) else rows
    if found.empty:
        return None
    unit, units = resampled_unit(found)
    groups = found.error.groupby(units)
    sums, counts = groups.sum().to_numpy(), groups.size().to_numpy()
    if len(sums) < 2:
        return None
    from scipy.stats import bootstrap

    def mean(sums: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(sums.sum(axis=axis) / counts.sum(axis=axis))

    drawn = bootstrap(
        (sums, counts), mean, paired=True, vectorized=True, n_resamples=_RESAMPLES,
        method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return _Draws(drawn.bootstrap_distribution, unit, len(sums))


def _interval(means: np.ndarray, unit: str, units: int) -> Interval | None:
    """Return the percentiles of resampled means."""
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = (float(value) for value in np.percentile(means, (tail, 100 - tail)))
    return Interval(low, high, unit, units) if math.isfinite(low + high) else None


def resampled_unit(rows: pd.DataFrame) -> tuple[str, pd.Series]:
    """Return what errs together, `video` or `frame`, and that of each record.

    Args:
        rows: records, see `pose_records`.
    """
    videos = rows.frame.str.rpartition("/")[0]
    return ("video", videos) if videos.nunique() > 1 else ("frame", rows.frame)
