"""Reliability: how often keypoints of a confidence are right, before and after calibration.

After calibration is measured by cross-fitting: the frames are divided into groups, and those of a
group get the probabilities of a calibration that was fitted to all other groups.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dlcexp.evaluation.calibration import Array, Calibration, Curve, fit_calibration
from dlcexp.evaluation.intervals import resampled_unit
from dlcexp.evaluation.summary import ALL, Numbers

# Found keypoints from which a calibration is fitted at all, and a cutoff keeps.
LEAST_KEYPOINTS, _LEAST_KEPT = 30, 10
# Precisions for which cutoffs are given.
PRECISIONS = (0.9, 0.95, 0.99)
# Distance up to which a keypoint is right, of the median animal: that of PCK at 0.1. Confidence
# foresees a point off its bodypart, and hardly the last pixels, in which two people differ, too.
SIZE_FRACTION = 0.1
# Bins of equal numbers of keypoints: at most so many, of at least so many.
_MOST_BINS, _LEAST_IN_BIN = 10, 20
_GROUPS = 10
_SIMULATIONS = 200
_CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Reliability:
    """A calibration, and what it is worth.

    Attributes:
        calibration: fitted to all keypoints.
        numbers: `calibration` of `evaluation.json`; docs/evaluation.md explains every key.
    """

    calibration: Calibration
    numbers: Numbers


def usual_distance(records: pd.DataFrame) -> float | None:
    """Return the px up to which a keypoint is right unless set: a fraction of the median animal.

    Args:
        records: of all splits.

    Returns:
        Two significant digits; None where no animal has two labels, and so a size.
    """
    size = records.drop_duplicates(["frame", "individual"])["size"].median()
    return float(f"{SIZE_FRACTION * size:.2g}") if size > 0 else None


def measure_reliability(rows: pd.DataFrame, px: float) -> Reliability | None:
    """Fit a calibration, and measure confidence and probability against what is right.

    Args:
        rows: records of frames that did not train, see `pose_records`.
        px: distance from its label up to which a prediction is right.

    Returns:
        None of fewer than `LEAST_KEYPOINTS` found keypoints, or of a single frame.
    """
    found = rows[rows.error.notna()]
    if len(found) < LEAST_KEYPOINTS or found.frame.nunique() < 2:
        return None
    calibration = fit_calibration(found, px)
    points = _Points(
        confidence=found.confidence.to_numpy(float),
        right=found.error.to_numpy(float) <= px,
        probability=calibration.probability(found),
        left_out=_left_out(found, px),
    )
    numbers = {
        "within_px": px,
        "frames": int(found.frame.nunique()),
        "keypoints": len(found),
        "left_out": {"unit": resampled_unit(found)[0], "groups": len(points.left_out)},
        "ece": expected_error(points.confidence, points.right),
        "ece_calibrated": expected_error(points.cross_fitted, points.right),
        "ece_by_chance": error_by_chance(points.cross_fitted),
        "bins": reliability_bins(points.confidence, points.right),
        "bins_calibrated": reliability_bins(points.cross_fitted, points.right),
        "bodyparts": {
            name: {
                "labels": labels,
                "keypoints": int(place.sum()),
                "within": float(points.right[place].mean()),
                "confidence": float(points.confidence[place].mean()),
                "method": curve.method,
                "cutoffs": {f"{p:g}": _cutoff(points, place, labels, p) for p in PRECISIONS},
            }
            for name, curve, labels, place in _groups(rows, found, calibration)
        },
    }
    return Reliability(calibration, numbers)


def reliability_bins(probability: Array, right: np.ndarray) -> list[Numbers]:
    """Return bins of equal numbers of keypoints: mean `probability`, share `within`, its limits."""
    bin_of = _bins(probability)
    masks = (bin_of == number for number in range(bin_of.max() + 1))
    return [{"probability": float(probability[m].mean()), **_share(right[m])} for m in masks]


def expected_error(probability: Array, right: np.ndarray) -> float:
    """Return the expected calibration error: mean of |share right - mean probability| of the bins.

    Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI 2015; in bins of equal numbers of keypoints, each with the weight of its number.
    """
    return _error(_bins(probability), probability, right)


def error_by_chance(probability: Array) -> float:
    """Return the mean expected calibration error if each probability were exact.

    It is above 0 because of the limited number of keypoints in a bin.
    """
    random, bin_of = np.random.default_rng(0), _bins(probability)
    drawn = random.random((_SIMULATIONS, len(probability))) < probability
    return float(np.mean([_error(bin_of, probability, right) for right in drawn]))


def cutoff_for(confidence: Array, probability: Array, precision: float) -> float | None:
    """Return the least confidence from which on keypoints have this mean probability.

    None where even those of the highest confidence do not have it, of `_LEAST_KEPT` at least.
    """
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    mean = np.cumsum(probability[order]) / np.arange(1, len(order) + 1)
    ends = np.append(ordered[1:] < ordered[:-1], True)  # equals are kept together
    ends &= np.arange(1, len(order) + 1) >= _LEAST_KEPT
    reached = np.flatnonzero(ends & (mean >= precision))
    return float(ordered[reached[-1]]) if len(reached) else None


@dataclass(frozen=True, eq=False)
class _Points:
    """Found keypoints, (n,) each.

    Attributes:
        confidence, right: what was predicted, and whether it is within the distance.
        probability: by the calibration that was fitted to all.
        left_out: of each group of frames, a mask, and the probabilities of all keypoints by the
            calibration that was fitted without the group.
    """

    confidence: Array
    right: np.ndarray
    probability: Array
    left_out: Sequence[tuple[np.ndarray, Array]]

    @property
    def cross_fitted(self) -> Array:
        """The probability of each keypoint by the calibration that was fitted without it."""
        return np.sum([group * probability for group, probability in self.left_out], axis=0)


def _groups(
    rows: pd.DataFrame, found: pd.DataFrame, calibration: Calibration
) -> Iterator[tuple[str, Curve, int, np.ndarray]]:
    """Yield the name of all and of each bodypart, its curve, its labels, and which were found."""
    yield ALL, calibration.together, len(rows), np.ones(len(found), bool)
    for name, curve in calibration.bodyparts.items():
        labels = int((rows.bodypart == name).sum())
        yield name, curve, labels, (found.bodypart == name).to_numpy()


def _cutoff(points: _Points, place: np.ndarray, labels: int, precision: float) -> Numbers | None:
    """Return a cutoff, what it keeps, and the precision of such cutoffs in frames left out."""

    def chosen(among: np.ndarray, probability: Array) -> float | None:
        return cutoff_for(points.confidence[among], probability[among], precision)

    cutoff = chosen(place, points.probability)
    if cutoff is None:
        return None
    kept = np.zeros(len(place), bool)
    for group, probability in points.left_out:
        own = chosen(place & ~group, probability)
        if own is not None:
            kept |= place & group & (points.confidence >= own)
    share = (points.confidence[place] >= cutoff).sum() / labels
    return {"cutoff": cutoff, "kept": float(share), "left_out": _share(points.right[kept])}


def _share(right: np.ndarray) -> Numbers:
    """Return the share `within` of `n`, with its limits by Wilson (1927); NaN of none.

    Keypoints count as independent of each other.
    """
    from scipy.stats import binomtest

    if not len(right):
        return {"n": 0, "within": np.nan, "low": np.nan, "high": np.nan}
    limits = binomtest(int(right.sum()), len(right)).proportion_ci(_CONFIDENCE, method="wilson")
    within = float(right.mean())
    low, high = float(limits.low), float(limits.high)
    return {"n": len(right), "within": within, "low": low, "high": high}


def _left_out(found: pd.DataFrame, px: float) -> list[tuple[np.ndarray, Array]]:
    """Return a mask of each group of frames, and what the calibration of all others gives.

    A group is a run of frames that follow each other in the order of their names, or of whole
    videos: frames that resemble each other are left out together.
    """
    units = resampled_unit(found)[1]
    order = np.array(sorted(units.unique()), dtype=object)
    parts = []
    for group in np.array_split(order, min(_GROUPS, len(order))):
        place = units.isin(group).to_numpy()
        parts.append((place, fit_calibration(found[~place], px).probability(found)))
    return parts


def _bins(probability: Array) -> np.ndarray:
    """Return the bin of each probability; equal ones are in one bin."""
    count = int(np.clip(len(probability) // _LEAST_IN_BIN, 1, _MOST_BINS))
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, count + 1)[1:-1]))
    place = np.searchsorted(edges, probability, side="right")
    return np.unique(place, return_inverse=True)[1]


def _error(bin_of: np.ndarray, probability: Array, right: np.ndarray) -> float:
    return float(np.abs(np.bincount(bin_of, right - probability)).sum() / len(right))
