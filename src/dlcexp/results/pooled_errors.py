"""Errors of the keypoints of each job, and of the folds of a recipe together: out of fold.

A finished run keeps the error of each labelled keypoint of its validation and test frames in
`keypoint_errors.csv`. The test frames of all folds are all labelled frames, each predicted by a run
that did not train on it, so that they are pooled without predicting again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import pandas as pd

from dlcexp.evaluation.intervals import Interval, error_interval
from dlcexp.results.folds import whole_cross_validations
from dlcexp.results.read_sweep import Job, Recipe
from dlcexp.runs.metric_names import BY_LABELS
from dlcexp.vocabulary import KEYPOINT_ERRORS

ERROR_COLUMNS = ("split", "frame", "individual", "bodypart", "confidence", "error")
_TEST = "test"


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The errors of a recipe on all labelled frames, each by a run that did not train on it.

    Attributes:
        rows: of `keypoint_errors.csv`, those of all folds.
        chosen_by: the metrics that chose the snapshots of the runs, None among them for the last
            snapshot.
    """

    rows: pd.DataFrame
    chosen_by: frozenset[str | None]

    @property
    def error(self) -> float:
        """The mean error of the keypoints that were found, px."""
        return float(self.rows.error.mean())

    @property
    def found(self) -> float:
        """Labelled keypoints that were found, percent."""
        return float(100 * self.rows.error.notna().mean())

    @property
    def frames(self) -> int:
        """The number of frames."""
        return int(self.rows.frame.nunique())

    @cached_property
    def interval(self) -> Interval | None:
        """The limits of the error on further frames, see `error_interval`."""
        return error_interval(self.rows)


@cache
def out_of_fold(recipe: Recipe) -> OutOfFold | None:
    """Return the errors of a recipe on all frames; None where a fold, or its errors, are missing.

    Of several seeds, each frame counts with the errors of all of them.
    """
    jobs = [job for series in whole_cross_validations(recipe) for job in series]
    names = (_TEST, *(f"{_TEST}{suffix}" for suffix in BY_LABELS))
    for name in names if jobs else ():
        tables = [errors_of([job], name) for job in jobs]
        if all(len(table) for table in tables):
            rows = pd.concat(tables, ignore_index=True)
            return OutOfFold(rows, frozenset(job.chosen_by for job in jobs))
    return None


def errors_of(jobs: Sequence[Job], split: str) -> pd.DataFrame:
    """Return the errors that jobs have kept of a split, such as `test`; no rows without any."""
    tables = [_read(job) for job in jobs]
    table = pd.concat([pd.DataFrame(columns=[*ERROR_COLUMNS]).astype({"error": float}), *tables])
    return table[table.split == split]


def _read(job: Job) -> pd.DataFrame:
    """Return the table of a job; no rows where it has none, as of an earlier version."""
    try:
        table = pd.read_csv(job.folder / KEYPOINT_ERRORS, dtype={"frame": str})
    except (OSError, ValueError):
        table = pd.DataFrame()
    return table if set(ERROR_COLUMNS) <= set(table) else pd.DataFrame(columns=[*ERROR_COLUMNS])
