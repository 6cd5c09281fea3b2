"""The scores of a model as a table for the terminal."""

import math
from collections.abc import Mapping

from rich import box
from rich.table import Table

from dlcexp.evaluation.evaluate import Evaluation, split_of

# Metric: words, format. The order of the table.
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


def evaluation_table(evaluation: Evaluation) -> Table:
    """Scores of a detector, of each split, and the error of each bodypart; fits 80 columns.

    A dash stands where there was nothing to average.
    """
    columns = list(evaluation.metrics) or list(evaluation.detector)
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="\n".join(_captions(evaluation)) or None,
        caption_justify="left",
    )
    table.add_column("", overflow="fold", max_width=48)
    for column in columns:
        table.add_column(_title(evaluation, column), justify="right")

    def add(words: str, scores: Mapping[str, Mapping[str, float]], key: str, form: str) -> None:
        values = [scores.get(column, {}).get(key, math.nan) for column in columns]
        table.add_row(words, *("–" if math.isnan(v) else format(v, form) for v in values))

    for key in _names(evaluation.detector):
        add(f"Box {key} (%)", evaluation.detector, key, ".1f")
    keys = _names(evaluation.metrics)
    for key, (words, form) in _ROWS.items():
        if key in keys:
            add(words, evaluation.metrics, key, form)
    for key in (key for key in keys if key.startswith("pck_")):
        threshold = key.removeprefix("pck_")
        add(f"PCK at {threshold} of the animal's size", evaluation.metrics, key, ".3f")
    table.add_section()
    for key in (key for key in keys if key.startswith("rmse_") and key not in _ROWS):
        add(f"RMSE {key.removeprefix('rmse_')}", evaluation.metrics, key, ".2f")
    return table


def _captions(evaluation: Evaluation) -> list[str]:
    if not evaluation.metrics:
        return []
    unique_only = [
        scores
        for scores in evaluation.metrics.values()
        if scores.get("found") == 0 and math.isfinite(scores.get("rmse", math.nan))
    ]
    words = {_BOXES: evaluation.boxes, _CONDITIONS: evaluation.conditions, _UNIQUE: unique_only}
    return [_CAPTION, *(line for line, there in words.items() if there)]


def _names(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The metrics of any split, in the order in which they come."""
    return list(dict.fromkeys(key for metrics in scores.values() for key in metrics))


def _title(evaluation: Evaluation, column: str) -> str:
    """A split and its number of frames; top-down, below it, what the crops were cut by."""
    frames = len(evaluation.names.get(column, ()) or evaluation.boxes.get(column, ()))
    title = f"{split_of(column)} ({frames})"
    if column != split_of(column):
        return f"{title}\nlabelled"
    if evaluation.conditions:
        return f"{title}\ngiven"
    return f"{title}\nfound" if evaluation.boxes else title
