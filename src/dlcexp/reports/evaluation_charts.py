"""The charts of an evaluation's page, made from its records and their summary."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dlcexp.data.splits import SplitName
from dlcexp.evaluation.summary import ALL, Numbers
from dlcexp.reports.plotly_charts import COLOURS, REST, Chart, is_wide, titled_figure, wrapped
from dlcexp.text import number

# Each split has one colour everywhere.
SPLIT_COLOURS: dict[SplitName, str] = {"test": COLOURS[1], "val": COLOURS[2], "train": COLOURS[0]}
# Points that a page takes without getting slow; of more, an even choice is drawn.
_MOST_POINTS = 4000
# Errors below this are drawn there, where the axis is logarithmic.
_LEAST_ERROR = 0.05
# Of a logarithmic axis, px.
_TICKS = [step * 10**decade for decade in range(-2, 4) for step in (1, 2, 5)]
# With more bodyparts, only the curve of all together has a place in the legend.
_LEGEND = 12


def bodypart_chart(records: Mapping[SplitName, pd.DataFrame]) -> Chart | None:
    """Draw boxes of the errors of each bodypart, the hardest on top.

    Args:
        records: of each split that is shown.
    """
    spread = {split: table for split, rows in records.items() if len(table := _spread(rows))}
    if not spread:
        return None
    first = next(iter(spread.values()))
    # By the first split; what it has no labels of comes below.
    medians = pd.concat(spread.values()).groupby(level=0)["median"].first()
    order = sorted(map(str, medians.index), key=lambda name: (name in first.index, medians[name]))
    boxes = [_box(table, split) for split, table in reversed(spread.items())]
    figure = titled_figure(boxes, x="error (px)", y="")
    figure.update_layout(
        height=120 + len(order) * (16 + 14 * len(spread)),
        boxmode="group",
        legend_traceorder="reversed",
    )
    figure.update_yaxes(categoryorder="array", categoryarray=[wrapped(name, 40) for name in order])
    text = (
        f"Median error, quartiles (box), 5 and 95 % (whiskers) of each bodypart. The hardest is "
        f"{order[-1]}: median {number(float(medians[order[-1]]))} px."
    )
    return Chart("Error of each bodypart", text, figure)


def confidence_chart(rows: pd.DataFrame, bins: Sequence[Numbers], pcutoff: float) -> Chart | None:
    """Draw every prediction as a point, and the median error in tenths of confidence."""
    found = rows[rows.error.notna()]
    if found.empty:
        return None
    drawn = found
    if len(found) > _MOST_POINTS:
        drawn = found.iloc[np.linspace(0, len(found) - 1, _MOST_POINTS).astype(int)]
    points = go.Scatter(
        x=drawn.confidence.round(4),
        y=drawn.error.clip(lower=_LEAST_ERROR).round(3),
        mode="markers",
        name="predictions",
        marker={"color": REST, "size": 5, "opacity": 0.55},
        text=_hover(drawn),
        hovertemplate="%{text}<br>confidence %{x:.3f}, error %{y:.1f} px<extra></extra>",
    )
    kept = [each for each in bins if each["n"]]
    median = go.Scatter(
        x=[(each["low"] + each["high"]) / 2 for each in kept],
        y=[max(each["median"], _LEAST_ERROR) for each in kept],
        mode="lines+markers",
        name="median",
        marker={"color": COLOURS[1], "size": 9},
        line={"color": COLOURS[1], "width": 2},
        text=[f"{each['low']:g} to {each['high']:g}: {each['n']}" for each in kept],
        hovertemplate="confidence %{text} predictions<br>median error %{y:.2f} px<extra></extra>",
    )
    figure = titled_figure([points, median], x="confidence", y="error (px)")
    figure.update_layout(height=420, hovermode="closest")
    figure.update_xaxes(range=[-0.02, max(1.02, 1.02 * float(found.confidence.max()))])
    if is_wide([float(v) for v in found.error.clip(lower=_LEAST_ERROR).quantile([0.02, 0.98])]):
        figure.update_yaxes(type="log", tickvals=_TICKS, ticktext=[f"{t:g}" for t in _TICKS])
    _mark_cutoff(figure, pcutoff)
    above = found.error[found.confidence >= pcutoff]
    below = found.error[found.confidence < pcutoff]
    text = (
        f"Confidence indicates errors where the median falls from left to right. At pcutoff "
        f"{pcutoff:g}, {100 * len(above) / len(found):.0f} % of the predictions stay: their median "
        f"error is {number(above.median())} px, that of the others {number(below.median())} px."
    )
    return Chart("Error against confidence", text, figure)


def cutoff_chart(left: Mapping[str, Sequence[float]], pcutoff: float) -> Chart | None:
    """Draw the mean error of what a cutoff keeps over how much it keeps."""
    places = [k for k, mean in enumerate(left["mean"]) if not np.isnan(mean)]
    if not places:
        return None
    kept = [100 * left["kept"][k] for k in places]
    mean = [left["mean"][k] for k in places]
    thresholds = [left["thresholds"][k] for k in places]
    line = go.Scatter(
        x=kept,
        y=mean,
        mode="lines",
        line={"color": COLOURS[0], "width": 2.5},
        text=[f"{t:g}" for t in thresholds],
        hovertemplate="pcutoff %{text}: %{x:.0f} % kept, mean error %{y:.2f} px<extra></extra>",
        showlegend=False,
    )
    nearest = int(np.argmin(np.abs(np.array(thresholds) - pcutoff)))
    here = go.Scatter(
        x=[kept[nearest]],
        y=[mean[nearest]],
        mode="markers",
        name=f"pcutoff {pcutoff:g}",
        marker={"color": COLOURS[1], "size": 11, "symbol": "diamond"},
        hovertemplate="pcutoff %{fullData.name}<extra></extra>",
    )
    figure = titled_figure([line, here], x="labelled keypoints kept (%)", y="mean error (px)")
    figure.update_layout(height=340)
    figure.update_yaxes(rangemode="tozero")
    text = (
        "What each pcutoff keeps of the labelled keypoints, and the mean error of these. "
        "Point at the line to read the cutoff."
    )
    return Chart("What a cutoff keeps", text, figure, wide=False)


def pck_charts(curves: Mapping[SplitName, Numbers]) -> list[Chart]:
    """Draw the fraction of keypoints within a distance, in px and of the animal's size.

    Args:
        curves: `pck` of the summary of each split that is shown, the first with its bodyparts.
    """
    kinds = {
        "pixels": ("Correct within a distance in pixels", "distance (px)"),
        "size": ("Correct within a fraction of the animal", "distance / longer side of its box"),
    }
    return [
        chart
        for kind, (title, axis) in kinds.items()
        if (chart := _pck_chart({split: each[kind] for split, each in curves.items()}, title, axis))
    ]


def crosstab_chart(table: Numbers, title: str, text: str, x: str, y: str) -> Chart:
    """Draw counts as a coloured table, each row's share in colour."""
    counts = np.array(table["counts"], dtype=float)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cells = go.Heatmap(
        x=table["columns"],
        y=table["rows"],
        z=share,
        zmin=0,
        zmax=100,
        colorscale=[[0, "#eef1f4"], [1, COLOURS[0]]],
        showscale=False,
        text=[[f"{n:.0f}" for n in row] for row in counts],
        texttemplate="%{text}",
        hovertemplate="%{y}: %{text} as %{x}, %{z:.1f} %<extra></extra>",
        xgap=2,
        ygap=2,
    )
    figure = titled_figure([cells], x=x, y=y)
    figure.update_layout(height=130 + 44 * len(table["rows"]))
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return Chart(title, text, figure, wide=False)


def _pck_chart(curves: Mapping[SplitName, Numbers], title: str, axis: str) -> Chart | None:
    """A thin line for each bodypart of the first split, and a thick one for all of each split."""
    whole = {split: each["bodyparts"][ALL] for split, each in curves.items() if each["bodyparts"]}
    if not whole:
        return None
    first = next(iter(whole))
    thresholds, bodyparts = curves[first]["thresholds"], dict(curves[first]["bodyparts"])
    del bodyparts[ALL]
    lines = [
        _line(thresholds, curve, name, {"color": COLOURS[place % len(COLOURS)], "width": 1})
        for place, (name, curve) in enumerate(bodyparts.items())
    ]
    if len(bodyparts) > _LEGEND:
        lines = [line.update(showlegend=False) for line in lines]
    for split, curve in whole.items():
        line = {"color": REST, "width": 3, "dash": "solid" if split == first else "dash"}
        lines.append(_line(thresholds, curve, f"all, {split}", line))
    figure = titled_figure(lines, x=axis, y="correct (%)")
    figure.update_layout(height=420)
    figure.update_yaxes(range=[0, 101])
    text = (
        "Percent of the labelled keypoints whose prediction is within the distance; what was not "
        "found is wrong."
    )
    half = next((t for t, y in zip(thresholds, whole[first], strict=True) if y >= 0.5), None)
    if half is not None:
        text += f" Half of those of the {first} frames are within {half:g}."
    return Chart(title, text, figure, wide=False)


def _line(x: Sequence[float], y: Sequence[float], name: str, line: Mapping[str, Any]) -> go.Scatter:
    name = wrapped(name, 40)
    return go.Scatter(
        x=x,
        y=[round(100 * value, 2) for value in y],
        name=name,
        mode="lines",
        line=line,
        hovertemplate=f"{name}: %{{y:.1f}} % within %{{x:g}}<extra></extra>",
    )


def _box(table: pd.DataFrame, split: SplitName) -> go.Box:
    return go.Box(
        name=split,
        y=[wrapped(name, 40) for name in table.index],
        orientation="h",
        marker_color=SPLIT_COLOURS[split],
        line_width=1.4,
        lowerfence=table["p5"],
        q1=table["q1"],
        median=table["median"],
        q3=table["q3"],
        upperfence=table["p95"],
    )


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    """Quantiles of the error by bodypart."""
    quantiles = {"p5": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "p95": 0.95}
    errors = rows[rows.error.notna()].groupby("bodypart", sort=False).error
    return pd.DataFrame({name: errors.quantile(q) for name, q in quantiles.items()})


def _hover(rows: pd.DataFrame) -> list[str]:
    several = rows.individual.nunique() > 1
    return [
        wrapped(f"{row.bodypart}{f' of {row.individual}' if several else ''}, {row.frame}")
        for row in rows.itertuples()
    ]


def _mark_cutoff(figure: go.Figure, pcutoff: float) -> None:
    figure.add_vline(x=pcutoff, line_dash="dash", line_color=REST, line_width=1.5)
    figure.add_annotation(
        x=pcutoff, yref="paper", y=1, text=f"pcutoff {pcutoff:g}", showarrow=False, xanchor="left"
    )
