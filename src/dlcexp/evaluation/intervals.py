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

    limits = bootstrap(
        (sums, counts), mean, paired=True, vectorized=True, n_resamples=_RESAMPLES,
        confidence_level=_CONFIDENCE, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    low, high = float(limits.low), float(limits.high)
    return Interval(low, high, unit, len(sums)) if math.isfinite(low + high) else None


def resampled_unit(rows: pd.DataFrame) -> tuple[str, pd.Series]:
    """Return what errs together, `video` or `frame`, and that of each record.

    Args:
        rows: records, see `pose_records`.
    """
    videos = rows.frame.str.rpartition("/")[0]
    return ("video", videos) if videos.nunique() > 1 else ("frame", rows.frame)
