"""The scores of a model as a table, for the terminal and for pages."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.intervals import error_interval
from dlcexp.runs.metric_names import LAST, part_of, split_of

# Metric: name, format. The order of the table.
_ROWS = {
    "rmse": ("RMSE (px)", ".2f"),
    "found": ("Labels found, of which RMSE is (%)", ".1f"),
    "rmse_pcutoff": ("RMSE above pcutoff (px)", ".2f"),
    "median_error": ("Median error (px)", ".2f"),
    "rmse_mean_pose": ("RMSE of the mean pose (px)", ".2f"),
    "rmse_detections": ("RMSE of detections (px)", ".2f"),
    "rmse_detections_pcutoff": ("RMSE of detections above pcutoff (px)", ".2f"),
    "mAP": ("OKS mAP (%)", ".1f"),
    "mAR": ("OKS mAR (%)", ".1f"),
    "identity_accuracy": ("Identity: animals in their place (%)", ".1f"),
}

_CAPTION = "RMSE as in DeepLabCut: the mean Euclidean distance"
_BOXES = "found: in the boxes of the detector; labelled: in those of the labels"
_UNIQUE = "no animal was found: RMSE is of the unique bodyparts only"
_CONDITIONS = "given: by the conditions; labelled: by poses drawn from the labels"


@dataclass(frozen=True)
class ScoreRow:
    """A score by name, as text for each column: a dash where there was nothing to average."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ScoreTable:
    """The scores of an evaluation as they are shown.

    Attributes:
        columns: the splits and what was scored in them; may have two lines.
        scores: of all keypoints together, a detector's first.
        bodyparts: the error of each bodypart.
        captions: the start of the model, and what the names mean.
    """

    columns: tuple[str, ...]
    scores: tuple[ScoreRow, ...]
    bodyparts: tuple[ScoreRow, ...]
    captions: tuple[str, ...]


def score_table(
    evaluation: Evaluation, start: str | None = None, chosen_by: str | None = None
) -> ScoreTable:
    """Return scores of a detector and of each split with frames, and the error of each bodypart.

    Args:
        evaluation: what was measured.
        start: what the networks started from; None: unknown.
        chosen_by: the metric that chose the snapshot, or `last`; None: the user did.
    """
    columns = _columns(evaluation)

    def row(name: str, scores: Mapping[str, Mapping[str, float]], key: str, form: str) -> ScoreRow:
        values = [scores.get(column, {}).get(key, math.nan) for column in columns]
        return ScoreRow(name, tuple("–" if math.isnan(v) else format(v, form) for v in values))

    keys = _names(evaluation.metrics)
    thresholds = [key.removeprefix("pck_") for key in keys if key.startswith("pck_")]
    detector = [(f"Box {key} (%)", key) for key in _names(evaluation.detector)]
    scores = [row(name, evaluation.detector, key, ".1f") for name, key in detector]
    scores += [
        row(_ROWS[key][0], evaluation.metrics, key, _ROWS[key][1]) for key in _ROWS if key in keys
    ]
    scores += [
        row(f"PCK at {each} of the animal's size", evaluation.metrics, f"pck_{each}", ".3f")
        for each in thresholds
    ]
    bodyparts = [
        row(f"RMSE {key.removeprefix('rmse_')}", evaluation.metrics, key, ".2f")
        for key in keys
        if key.startswith("rmse_") and key not in _ROWS
    ]
    titles = tuple(_title(evaluation, column) for column in columns)
    captions = [*([f"start: {start}"] if start else []), *_chosen(chosen_by)]
    captions += _captions(evaluation)
    return ScoreTable(titles, tuple(scores), tuple(bodyparts), tuple(captions))


def evaluation_table(
    evaluation: Evaluation, start: str | None = None, chosen_by: str | None = None
) -> Table:
    """Return the same for the terminal; fits 80 columns."""
    scores = score_table(evaluation, start, chosen_by)
    caption = Text("\n".join(scores.captions), "table.caption", overflow="fold")
    table = Table(box=box.SIMPLE_HEAD, caption=caption or None, caption_justify="left")
    table.add_column("", overflow="fold", max_width=48)
    for column in scores.columns:
        table.add_column(column, justify="right")
    for row in scores.scores:
        table.add_row(row.name, *row.values)
    table.add_section()
    for row in scores.bodyparts:
        table.add_row(row.name, *row.values)
    return table


def _chosen(metric: str | None) -> list[str]:
    """Return by what the snapshot was chosen, and whether test scores gain from that."""
    if metric is None:
        return []
    if metric == LAST:
        return ["snapshot: the last; no frame chose it"]
    optimistic = "; chosen on test frames, so that their scores are optimistic"
    return [f"snapshot: best {metric}{optimistic if part_of(metric) == 'test' else ''}"]


def _captions(evaluation: Evaluation) -> list[str]:
    if not evaluation.metrics:
        return []
    unique_only = [
        scores
        for scores in evaluation.metrics.values()
        if scores.get("found") == 0 and math.isfinite(scores.get("rmse", math.nan))
    ]
    captions = {_BOXES: evaluation.boxes, _CONDITIONS: evaluation.conditions, _UNIQUE: unique_only}
    lines = [_CAPTION, *(line for line, there in captions.items() if there)]
    interval = error_interval(evaluation.records_of(evaluation.column("test") or ""))
    if interval is None:
        return lines
    return [
        f"test RMSE: {interval.low:.2f} to {interval.high:.2f} px with 95 % confidence (bootstrap "
        f"over {interval.units} {interval.unit}s)",
        *lines,
    ]


def _names(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the metrics of any split, in the order in which they come."""
    return list(dict.fromkeys(key for metrics in scores.values() for key in metrics))


def _columns(evaluation: Evaluation) -> list[str]:
    """Return the scored columns; a split without frames only where no other has any."""
    columns = list(evaluation.metrics) or list(evaluation.detector)
    return [column for column in columns if _frames(evaluation, column)] or columns


def _frames(evaluation: Evaluation, column: str) -> int:
    return len(evaluation.names.get(column, ()) or evaluation.boxes.get(column, ()))


def _title(evaluation: Evaluation, column: str) -> str:
    """Return a split and its number of frames; top-down, below it, what the crops were cut by."""
    title = f"{split_of(column)} ({_frames(evaluation, column)})"
    if column != split_of(column):
        return f"{title}\nlabelled"
    if evaluation.conditions:
        return f"{title}\ngiven"
    return f"{title}\nfound" if evaluation.boxes else title
