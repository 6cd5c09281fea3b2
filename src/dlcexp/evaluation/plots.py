"""Plots of a run: how it learnt, and which bodyparts are hard."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlcexp.evaluation.canvas import save_figure, text_inches
from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.runs.metric_names import BY_LABELS, split_of

COLOURS = {"train": "#7f8fa6", "val": "#00798c", "test": "#d1495b"}
LOSS_COLOURS = ("#edae49", "#7b2d8b", "#66a182", "#8d6b48", "#30638e")
TOTAL_LOSS = "train.total_loss"
# Label of an axis: the metric shown, of a pose model or of a detector.
PANELS = {"RMSE (px)": "rmse", "OKS mAP (%)": "mAP", "box mAP@50:95 (%)": "mAP@50:95"}
SCORES = ("rmse", "mAP", "mAR", "pck_")
# Beyond this ratio of largest to smallest loss, only a logarithmic axis shows the end.
LOG_RATIO = 20
LABEL_SIZE = 8
# Up to so many points, a line has a dot for each.
DOTS = 40


def draw_learning_curves(metrics_csv: Path, path: Path) -> bool:
    """Draw losses, RMSE and mAP over the epochs of `metrics.csv`.

    Args:
        metrics_csv: one row per epoch, columns `epoch`, `train.total_loss`, `test.rmse` and so on;
            empty where an epoch was not evaluated.
        path: the picture.

    Returns:
        Whether there was anything to draw.
    """
    if not (metrics_csv.is_file() and metrics_csv.stat().st_size):
        return False
    table = (
        pd.read_csv(metrics_csv)
        .set_index("epoch")
        .apply(pd.to_numeric, errors="coerce")
        .dropna(axis=1, how="all")
    )
    panels = {"loss": _losses(table)}
    splits = [f"{split}{suffix}" for split in COLOURS for suffix in ("", *BY_LABELS)]
    for label, metric in PANELS.items():
        panels[label] = [f"{split}.{metric}" for split in splits if f"{split}.{metric}" in table]
    panels = {label: names for label, names in panels.items() if names}
    if not panels:
        return False
    width, height, left, bottom = 4.4 * len(panels), 3.4, 0.85, 0.5
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    margins = {"left": left / width, "right": 1 - 0.1 / width, "wspace": left / (4.3 - left)}
    figure.subplots_adjust(**margins, bottom=bottom / height, top=1 - 0.12 / height)
    for axes, (label, names) in zip(row, panels.items(), strict=True):
        _curves(axes, table, names)
        axes.set_ylabel(label)
        if label == "loss":
            _logarithmic_if_wide(axes, table[names])
    save_figure(figure, path)
    return True


def _losses(table: pd.DataFrame) -> list[str]:
    """Loss columns, the total first; of a single head, its own total is left out."""
    losses = [
        name
        for name in map(str, table.columns)
        if name.startswith("train.") and not name.removeprefix("train.").startswith(SCORES)
    ]
    heads = [name for name in losses if name.endswith("_total_loss")]
    if len(heads) == 1:
        losses.remove(heads[0])
    return sorted(losses, key=lambda name: name != TOTAL_LOSS)


def _curves(axes: Axes, table: pd.DataFrame, names: Sequence[str]) -> None:
    """One line for each column, drawn through the epochs that have a value."""
    parts = iter(LOSS_COLOURS * len(names))
    for name in names:
        values = table[name].dropna()
        column, metric = name.split(".", 1)
        split = split_of(column)
        score = metric.startswith(SCORES)
        main = score or name == TOTAL_LOSS
        axes.plot(
            values.index,
            values,
            color=COLOURS[split] if main else next(parts),
            linewidth=2.0 if main else 1.1,
            marker="." if len(values) <= DOTS else "",
            label=split if score else metric.replace("_", " "),
        )
    _tidy(axes)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(fontsize=8, frameon=False)


def _logarithmic_if_wide(axes: Axes, losses: pd.DataFrame) -> None:
    low, high = losses.min().min(), losses.max().max()
    if low > 0 and high / low > LOG_RATIO:
        axes.set_yscale("log")


def draw_bodypart_errors(evaluation: Evaluation, bodyparts: Sequence[str], path: Path) -> None:
    """Draw the RMSE of each bodypart on the frames of each split, the hardest on top.

    Args:
        evaluation: its `rmse_<bodypart>`.
        bodyparts: which; those without a value in any split are left out.
        path: the picture.
    """
    columns = {split: evaluation.column(split) for split in COLOURS}
    measured = {split: evaluation.metrics[name] for split, name in columns.items() if name}
    scores = {split: _by_bodypart(metrics, bodyparts) for split, metrics in measured.items()}
    order = sorted(
        {name for values in scores.values() for name in values},
        key=lambda name: [values.get(name, 0.0) for values in reversed(scores.values())],
    )
    inner, above, below = 0.3 * max(len(order), 1), 0.15, 0.5
    left = 0.2 + text_inches(order, LABEL_SIZE)
    width, height = left + 5.2, above + inner + below
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, below / height, 5.0 / width, inner / height))
    for split, values in scores.items():
        shown = [name for name in order if name in values]
        axes.plot(
            [values[name] for name in shown],
            [order.index(name) for name in shown],
            "o",
            color=COLOURS[split],
            label=split,
        )
        overall = measured[split].get("rmse", math.nan)
        if math.isfinite(overall):
            axes.axvline(overall, color=COLOURS[split], linewidth=1, linestyle="--")
    axes.set_yticks(range(len(order)), order)
    axes.set(xlabel="RMSE (px): mean Euclidean distance; dashed: all bodyparts", xlim=(0, None))
    axes.set_ylim(-0.5, max(len(order), 1) - 0.5)
    axes.grid(axis="y", color="0.92")
    _tidy(axes)
    axes.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


def _by_bodypart(scores: Mapping[str, float], bodyparts: Sequence[str]) -> dict[str, float]:
    values = {name: scores.get(f"rmse_{name}", math.nan) for name in bodyparts}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=LABEL_SIZE)
