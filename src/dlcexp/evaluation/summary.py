"""Summaries of the records of an evaluation: errors by bodypart, curves, confused individuals.

All of it is plain numbers, as `evaluation.json` has them; docs/evaluation.md explains every key.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from dlcexp.data.loading import PoseData
from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.intervals import error_interval
from dlcexp.evaluation.ranking import FrameError, rank_frames
from dlcexp.evaluation.records import animal_counts
from dlcexp.runs.metric_names import split_of
from dlcexp.vocabulary import IDENTITY, UNIQUE

# All keypoints together, in addition to the bodyparts.
ALL = "all"
# Thresholds of a curve, and the largest of those that are fractions of the animal's size.
_STEPS, _LARGEST_FRACTION = 100, 0.5
# Bins of confidence between 0 and 1.
_BINS = 10
# In place of the name of an individual: nothing was found.
NOBODY = "not found"

Numbers = dict[str, Any]


def summarize(evaluation: Evaluation, data: PoseData, cfg: Any, records: pd.DataFrame) -> Numbers:
    """Summarize each split that has frames.

    Args:
        evaluation: poses and metrics.
        data: project, labels and split that they were made with.
        cfg: the resolved tree.
        records: `pose_records` of these.
    """
    settings = cfg.evaluation
    pixels = _pixel_thresholds(records)
    counts = animal_counts(evaluation, data, settings)
    summaries = {}
    for column in evaluation.poses:
        if not evaluation.names[column]:
            continue
        rows = records[records.split == column]
        summaries[column] = {
            "frames": len(evaluation.names[column]),
            "animals": counts[column],
            "metrics": evaluation.metrics[column],
            "rmse_interval": asdict(interval) if (interval := error_interval(rows)) else None,
            "bodyparts": bodypart_errors(rows, settings.pck_thresholds),
            "pck": pck_curves(rows, pixels),
            "confidence": by_confidence(rows),
            "pcutoff": by_pcutoff(rows),
            "individuals": _individuals(rows, data, cfg, column),
            "worst_frames": _frames(evaluation, data, column),
        }
    return summaries


def ranked(evaluation: Evaluation, data: PoseData, column: str) -> list[FrameError]:
    """Return the labelled frames of a split, the worst first; see `rank_frames`."""
    rows = list(getattr(data.split, split_of(column)))
    return rank_frames(data.labels.keypoints[rows], evaluation.poses[column])


def bodypart_errors(rows: pd.DataFrame, thresholds: Sequence[float]) -> Numbers:
    """Return errors of each bodypart and of all, {bodypart: numbers}.

    Args:
        rows: records of one split.
        thresholds: fractions of the animal's size at which PCK is taken.

    Returns:
        Of each: `labels`, `found` (of these); `mean`, `median`, `p95`, `max` of the error, px;
        `confidence`, its mean; `pck_<threshold>` (0 to 1, a keypoint that was not found is wrong).
    """
    found = {}
    for name, group in _groups(rows):
        error = group.error.dropna()
        found[name] = {
            "labels": len(group),
            "found": len(error),
            "mean": error.mean(),
            "median": error.median(),
            "p95": error.quantile(0.95),
            "max": error.max(),
            "confidence": group.confidence.mean(),
            **{f"pck_{t:g}": _within(group, "normalized_error", t) for t in thresholds},
        }
    return found


def pck_curves(rows: pd.DataFrame, pixels: Sequence[float]) -> Numbers:
    """Return the fraction of the labelled keypoints that are predicted within a distance.

    Returns:
        `pixels` and `size` (fractions of the longer side of the animal's box): each has
        `thresholds`, and under `bodyparts` a curve for each of them and for `all`.
    """
    fractions = np.linspace(0, _LARGEST_FRACTION, _STEPS + 1).round(6).tolist()
    return {
        "pixels": _curves(rows, "error", list(pixels)),
        "size": _curves(rows[rows["size"].notna()], "normalized_error", fractions),
    }


def by_confidence(rows: pd.DataFrame) -> list[Numbers]:
    """Return errors in tenths of confidence: `low`, `high`, `n`, `median`, `mean`."""
    found = rows[rows.error.notna()]
    edges = np.linspace(0, 1, _BINS + 1).round(6)
    place = np.clip(np.digitize(found.confidence, edges) - 1, 0, _BINS - 1)
    bins = []
    for index, (low, high) in enumerate(pairwise(edges)):
        error = found.error[place == index]
        bins.append(
            {
                "low": float(low),
                "high": float(high),
                "n": len(error),
                "median": error.median(),
                "mean": error.mean(),
            }
        )
    return bins


def by_pcutoff(rows: pd.DataFrame) -> Numbers:
    """Summarize the predictions that each cutoff of confidence would keep.

    Returns:
        `thresholds`; `kept`, the fraction of the labelled keypoints predicted with at least that
        confidence; `mean`, the mean error of these, px.
    """
    found = rows[rows.error.notna()].sort_values("confidence", ascending=False)
    thresholds = np.linspace(0, 1, _STEPS + 1).round(6)
    confidence = found.confidence.to_numpy()
    count = np.array([(confidence >= t).sum() for t in thresholds])
    total = np.concatenate([[0.0], np.cumsum(found.error.to_numpy())])
    with np.errstate(invalid="ignore"):
        mean = total[count] / np.where(count, count, np.nan)
    kept = count / max(len(rows), 1)
    return {"thresholds": thresholds.tolist(), "kept": kept.tolist(), "mean": mean.tolist()}


def taken_for(rows: pd.DataFrame, individuals: Sequence[str]) -> Numbers:
    """Return labelled animals by the individual as which they were predicted.

    Returns:
        `rows`, the labelled individuals; `columns`, these and `not found`; `counts`, a list for
        each row.
    """
    animals = rows.drop_duplicates(["frame", "individual"])
    return _table(animals.individual, animals.predicted_as, individuals)


def mixed_up(rows: pd.DataFrame, individuals: Sequence[str]) -> Numbers:
    """Return predicted keypoints by the individual whose label of that bodypart is nearest.

    Of frames in which several animals have it. Off the diagonal are points on another animal.

    Returns:
        As `taken_for`, without `not found`.
    """
    several = rows.groupby(["frame", "bodypart"]).bodypart.transform("size") > 1
    rows = rows[several & rows.nearest.notna()]
    return _table(rows.individual, rows.nearest, individuals, nobody=False)


def _individuals(rows: pd.DataFrame, data: PoseData, cfg: Any, column: str) -> Numbers | None:
    """Return who was found, and who was taken for whom; None for a single animal."""
    names = list(data.project.individuals)
    if len(names) < 2:
        return None
    animals = rows[rows.individual != UNIQUE]
    errors = {
        name: {
            "labels": len(group),
            "found": int(group.error.notna().sum()),
            "mean": group.error.mean(),
            "median": group.error.median(),
        }
        for name, group in animals.groupby("individual", sort=False)
    }
    # In the boxes of the labels every place is right.
    identified = IDENTITY in cfg.model.heads and column == split_of(column)
    return {
        "errors": {name: errors[name] for name in names if name in errors},
        "taken_for": taken_for(animals, names) if identified else None,
        "mixed_up": mixed_up(animals, names),
    }


def _table(
    rows: pd.Series, columns: pd.Series, names: Sequence[str], nobody: bool = True
) -> Numbers:
    names, heading = list(names), [*names, *([NOBODY] if nobody else [])]
    counts = pd.crosstab(rows, columns.fillna(NOBODY)).reindex(
        index=names, columns=heading, fill_value=0
    )
    return {"rows": names, "columns": heading, "counts": counts.to_numpy().tolist()}


def _groups(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = [(str(name), group) for name, group in rows.groupby("bodypart", sort=False)]
    return [(ALL, rows), *groups]


def _within(group: pd.DataFrame, column: str, threshold: float) -> float:
    """Fraction of the keypoints of animals with a size that are near; NaN without any."""
    errors = group[column][group["size"].notna()]
    return float((errors <= threshold).mean()) if len(errors) else math.nan


def _curves(rows: pd.DataFrame, column: str, thresholds: list[float]) -> Numbers:
    curves = {}
    for name, group in _groups(rows):
        if len(group):
            errors = np.sort(group[column].dropna().to_numpy())
            near = np.searchsorted(errors, thresholds, side="right")
            curves[name] = (near / len(group)).tolist()
    return {"thresholds": thresholds, "bodyparts": curves}


def _pixel_thresholds(records: pd.DataFrame) -> list[float]:
    """From 0 to a round number of pixels that nearly all errors are below."""
    errors = records.error.dropna().astype(float)
    if errors.empty:
        return np.linspace(0, 10, _STEPS + 1).round(6).tolist()
    reach = max(float(errors.quantile(0.95)), 1.0)
    decade = 10 ** math.floor(math.log10(reach))
    top = next(step * decade for step in (1, 2, 5, 10) if step * decade >= reach)
    return np.linspace(0, top, _STEPS + 1).round(6).tolist()


def _frames(evaluation: Evaluation, data: PoseData, column: str) -> list[Numbers]:
    return [
        {
            "frame": evaluation.names[column][error.frame],
            "error": error.pixels,
            "missed": error.missed,
            "animals": error.animals,
        }
        for error in ranked(evaluation, data, column)
    ]
