"""The scores of a model as a table for the terminal."""

import math

from rich import box
from rich.table import Table

from dlcexp.evaluation.evaluate import Evaluation

# Metric: words, format. The order of the table.
_ROWS = {
    "rmse": ("RMSE (px)", ".2f"),
    "rmse_pcutoff": ("RMSE above pcutoff (px)", ".2f"),
    "median_error": ("Median error (px)", ".2f"),
    "rmse_mean_pose": ("RMSE of the mean pose (px)", ".2f"),
    "rmse_detections": ("RMSE of detections (px)", ".2f"),
    "rmse_detections_pcutoff": ("RMSE of detections above pcutoff (px)", ".2f"),
    "mAP": ("OKS mAP (%)", ".1f"),
    "mAR": ("OKS mAR (%)", ".1f"),
}


def evaluation_table(evaluation: Evaluation) -> Table:
    """Scores of each split, then the error of each bodypart; fits 80 columns.

    A dash stands where there was nothing to average.
    """
    splits = list(evaluation.metrics)
    table = Table(
        box=box.SIMPLE_HEAD,
        caption="RMSE as in DeepLabCut: the mean Euclidean distance",
        caption_justify="left",
    )
    table.add_column("", overflow="fold", max_width=48)
    for split in splits:
        table.add_column(f"{split} ({len(evaluation.names[split])})", justify="right")
    keys = list(dict.fromkeys(key for split in splits for key in evaluation.metrics[split]))
    bodyparts = [key for key in keys if key.startswith("rmse_") and key not in _ROWS]
    shares = [key for key in keys if key.startswith("pck_")]
    for key, (words, form) in _ROWS.items():
        if key in keys:
            table.add_row(words, *_cells(evaluation, key, form))
    for key in shares:
        threshold = key.removeprefix("pck_")
        table.add_row(f"PCK at {threshold} of the animal's size", *_cells(evaluation, key, ".3f"))
    table.add_section()
    for key in bodyparts:
        table.add_row(f"RMSE {key.removeprefix('rmse_')}", *_cells(evaluation, key, ".2f"))
    return table


def _cells(evaluation: Evaluation, key: str, form: str) -> list[str]:
    values = [scores.get(key, math.nan) for scores in evaluation.metrics.values()]
    return ["–" if math.isnan(value) else format(value, form) for value in values]
