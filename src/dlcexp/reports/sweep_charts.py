"""The charts of a report: effects, curves, parallel coordinates, speed. The best is first."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dlcexp.config.resolvers import larger_is_better
from dlcexp.reports.plotly_charts import COLOURS, REST, Chart, is_wide, titled_figure, wrapped
from dlcexp.results.factors import Factor
from dlcexp.results.importance import importances, is_number
from dlcexp.results.label_curve import label_curves
from dlcexp.results.ledger import Objective
from dlcexp.results.objective import gain
from dlcexp.results.read_sweep import INFERENCE_SPEED, TRAINING_SPEED, Job, Sweep
from dlcexp.results.recipe_text import label, shown
from dlcexp.runs.metric_names import MINIMIZE, spelling
from dlcexp.runs.status import COMPLETED
from dlcexp.text import number
from dlcexp.trees import ABSENT

# A key with more values than that is drawn as points alone.
_MOST_MEANS, _FEW = 12, 6
_FEW_EPOCHS = 10
# Straight pieces of a line that is curved at its edges.
_CURVE_STEPS = 24
_LOSS = "train.total_loss"


def importance_chart(sweep: Sweep) -> Chart | None:
    """Draw shares of the metric's variance as bars; None where there are too few jobs."""
    found = [each for each in importances(sweep) if not math.isnan(each.share)]
    if not found:
        return None
    metric = sweep.objective.metric
    names = [each.factor.name for each in found][::-1]
    shares = [100 * each.share for each in found][::-1]
    texts = [f"{share:.0f} %" for share in shares]
    bars = go.Bar(
        x=shares,
        y=names,
        orientation="h",
        marker_color=COLOURS[0],
        text=texts,
        textposition="outside",
        cliponaxis=False,
        customdata=[number(each.swing) for each in found][::-1],
        hovertemplate="%{y}: %{x:.0f} % of the variance<br>best minus worst mean: %{customdata}"
        "<extra></extra>",
    )
    figure = titled_figure([bars], x=f"share of the variance of {metric} (%)", y="")
    figure.update_layout(height=110 + 34 * len(found), bargap=0.35)
    figure.update_xaxes(range=[0, 108])
    rest, jobs = max(0.0, 100 - sum(shares)), len(_scored(sweep, sweep.objective))
    text = "; ".join(f"{n}: {t}" for n, t in zip(names[::-1], texts[::-1], strict=True))
    return Chart(
        f"What moves {metric}",
        f"{text}. The remaining {rest:.0f} % are interactions of these keys, and luck. Analysis of "
        f"variance over {jobs} completed jobs, without interactions, corrected for chance.",
        figure,
        wide=False,
    )


def marginal_charts(sweep: Sweep) -> list[Chart]:
    """Draw for each factor the metric of every completed job over its values, and the means."""
    metric = sweep.objective.metric
    charts = []
    for factor in sweep.factors:
        points = [
            (job.values.get(factor.key, ABSENT), job.metric(metric), job)
            for job in _scored(sweep, sweep.objective)
        ]
        if len({repr(value) for value, _, _ in points}) > 1:
            figure = _marginal(factor, points, metric)
            text = f"{metric} of each completed job by {factor.key}; diamonds are means."
            charts.append(Chart(factor.name, text, figure, wide=False))
    return charts


def _marginal(factor: Factor, points: Sequence[tuple[Any, float, Job]], metric: str) -> go.Figure:
    numeric = all(is_number(value) for value, _, _ in points)
    xs: list[Any] = [value if numeric else shown(value) for value, _, _ in points]
    values = sorted(set(xs)) if numeric else list(dict.fromkeys(xs))
    repeated = _is_repeated(xs)
    dots = go.Scatter(
        x=xs,
        y=[score for _, score, _ in points],
        mode="markers",
        marker={"color": REST if repeated else COLOURS[0], "size": 7, "opacity": 0.7},
        text=[job.name for _, _, job in points],
        hovertemplate=f"job %{{text}}<br>{factor.name}=%{{x}}: %{{y:.4g}}<extra></extra>",
        showlegend=False,
    )
    traces = [dots]
    if repeated:
        means = []
        for value in values:
            scores = [score for x, (_, score, _) in zip(xs, points, strict=True) if x == value]
            means.append(sum(scores) / len(scores))
        traces.append(
            go.Scatter(
                x=values,
                y=means,
                mode="lines+markers" if numeric else "markers",
                marker={"color": COLOURS[0], "size": 11, "symbol": "diamond"},
                line={"color": COLOURS[0], "width": 2},
                hovertemplate=f"mean of {factor.name}=%{{x}}: %{{y:.4g}}<extra></extra>",
                showlegend=False,
            )
        )
    figure = titled_figure(traces, x=factor.name, y=metric)
    figure.update_layout(height=280)
    if numeric:
        if is_wide(values):
            figure.update_xaxes(type="log")
        if repeated:
            figure.update_xaxes(tickvals=values, ticktext=[shown(value) for value in values])
    else:
        figure.update_xaxes(type="category")
    return figure


def learning_curves(sweep: Sweep) -> list[Chart]:
    """Draw the metric and the loss over the epochs, a line for each job."""
    charts = []
    candidates = (sweep.objective.metric, "test.rmse", "detector.test.mAP@50:95")
    logged = [name for name in (*candidates, _LOSS) if any(_line(job, name) for job in sweep.jobs)]
    for metric in dict.fromkeys([*logged[:1], *(name for name in logged if name == _LOSS)]):
        figure = titled_figure(list(_curves(sweep, metric)), x="epoch", y=metric)
        figure.update_layout(height=420, hovermode="closest")
        values = [v for job in sweep.jobs for v in _line(job, metric).values()]
        if not larger_is_better(metric) and is_wide(values):
            figure.update_yaxes(type="log")
        if (
            max((epoch for job in sweep.jobs for epoch in _line(job, metric)), default=0)
            <= _FEW_EPOCHS
        ):
            figure.update_xaxes(dtick=1)  # else plotly marks halves of epochs
        text = f"{metric} by epoch, a line for each job; dotted: failed or pruned."
        charts.append(Chart(f"{metric} by epoch", text, figure))
    return charts


def _line(job: Job, metric: str) -> Mapping[int, float]:
    """Return a metric by epoch; top-down jobs log it in the boxes of the labels."""
    return job.history.get(spelling(metric, job.history), {})


def _curves(sweep: Sweep, metric: str) -> Iterable[go.Scatter]:
    """Recipes in their order, each with one colour and one entry in the legend."""
    for place, recipe in enumerate(sweep.recipes):
        name = f"{place + 1}: {label(sweep.recipe_factors, recipe.values)}"
        others = place >= len(COLOURS)
        for index, job in enumerate(recipe.jobs):
            line = _line(job, metric)
            if not line:
                continue
            epochs = sorted(line)
            yield go.Scatter(
                x=epochs,
                y=[line[epoch] for epoch in epochs],
                name="other recipes" if others else wrapped(name),
                legendgroup="others" if others else name,
                showlegend=place == len(COLOURS) and index == 0 if others else index == 0,
                mode="lines+markers" if len(epochs) < 30 else "lines",
                marker={"size": 4},
                line={
                    "color": REST if others else COLOURS[place],
                    "width": 2.5 if place == 0 else 1.2,
                    "dash": "solid" if job.status in (COMPLETED, "running") else "dot",
                },
                text=[wrapped(f"job {job.name}: {name}")] * len(epochs),
                hovertemplate="%{text}<br>epoch %{x}: %{y:.4g}<extra></extra>",
            )


def label_curve_chart(sweep: Sweep) -> Chart | None:
    """Draw the error over the number of labelled frames, with the fitted lines and their bands."""
    curves = label_curves(sweep)[: len(COLOURS)]
    if not curves:
        return None
    figure = titled_figure([], x="labelled training frames", y=f"{curves[0].metric} (px)")
    for curve, colour in zip(curves, COLOURS, strict=False):
        name = label(curve.factors, curve.values)
        least, most = min(curve.sizes), 2 * max(curve.sizes)
        steps = [
            least * (most / least) ** (step / _CURVE_STEPS) for step in range(_CURVE_STEPS + 1)
        ]
        expected = [curve.at(frames) for frames in steps]
        band = go.Scatter(
            x=[*steps, *reversed(steps)],
            y=[*(e.low for e in expected), *(e.high for e in reversed(expected))],
            fill="toself", fillcolor=colour, opacity=0.12, line={"width": 0}, mode="lines",
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        fitted = go.Scatter(
            x=steps, y=[each.value for each in expected], name=wrapped(name), mode="lines",
            line={"color": colour}, legendgroup=name,
        )  # fmt: skip
        runs = go.Scatter(
            x=[frames for frames, _ in curve.points], y=[error for _, error in curve.points],
            mode="markers", marker={"color": colour}, legendgroup=name, showlegend=False,
            hovertemplate="%{x} frames: %{y:.4g} px<extra></extra>",
        )  # fmt: skip
        figure.add_traces([band, fitted, runs])
    sizes = sorted({size for curve in curves for size in (*curve.sizes, 2 * max(curve.sizes))})
    figure.update_layout(height=420, showlegend=len(curves) > 1)
    figure.update_xaxes(type="log", tickvals=sizes, ticktext=list(map(str, sizes)))
    figure.update_yaxes(type="log")
    text = (
        "A point for each run; the line is the middle of the power laws that fit them, floors "
        "included, and the band holds 95 % of further runs, as far as these laws do."
    )
    return Chart(f"{curves[0].metric} by labelled frames", text, figure)


def parallel_coordinates(sweep: Sweep) -> Chart | None:
    """Draw a line for each completed job through its values and its metric."""
    jobs = _scored(sweep, sweep.objective)
    if len(jobs) < 2 or not sweep.factors:
        return None
    dimensions = [_dimension(factor, jobs) for factor in sweep.factors]
    for objective in sweep.objectives:
        values = [job.metric(objective.metric) for job in jobs]
        dimensions.append({"label": objective.metric, "values": values})
    scores = [job.metric(sweep.objective.metric) for job in jobs]
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": scores,
                "colorscale": [[0, REST], [1, COLOURS[1]]],
                "reversescale": sweep.objective.direction == MINIMIZE,
                "showscale": False,
            },
            labelangle=0,
            unselected={"line": {"opacity": 0.08}},
        )
    )
    figure.update_layout(height=420, margin={"l": 70, "r": 60, "t": 70, "b": 30})
    text = (
        "A line is a completed job; the redder, the better. Drag along an axis to keep only the "
        "jobs that pass there, drag an axis by its name to move it."
    )
    return Chart("Parallel coordinates", text, figure)


def _dimension(factor: Factor, jobs: Sequence[Job]) -> dict[str, Any]:
    values = [job.values.get(factor.key, ABSENT) for job in jobs]
    if all(is_number(value) for value in values):
        levels = sorted(set(values))
        logarithmic = is_wide(levels)
        scaled = [math.log10(v) if logarithmic else v for v in values]
        marks = levels if _is_repeated(values) else []
        if logarithmic and not marks:
            decades = range(math.floor(min(scaled)), math.ceil(max(scaled)) + 1)
            marks = [10.0**decade for decade in decades]
        ticks: dict[str, Any] = {}
        if marks:
            ticks = {
                "tickvals": [math.log10(v) if logarithmic else v for v in marks],
                "ticktext": [shown(v) for v in marks],
            }
        return {"label": factor.name, "values": scaled, **ticks}
    texts = [shown(value) for value in values]
    order = list(dict.fromkeys(texts))
    return {
        "label": factor.name,
        "values": [order.index(text) for text in texts],
        "tickvals": list(range(len(order))),
        "ticktext": order,
    }


def speed_chart(sweep: Sweep) -> Chart | None:
    """Draw the metric over images per second, and the jobs that none surpasses in both."""
    objective = sweep.objective
    jobs = _scored(sweep, objective)
    inference = bool(jobs) and all(INFERENCE_SPEED in job.metrics for job in jobs)
    key = INFERENCE_SPEED if inference else TRAINING_SPEED
    speeds = {job.number: job.images_per_second for job in jobs}
    jobs = [job for job in jobs if not math.isnan(speeds[job.number])]
    if len(jobs) < 2:
        return None
    front = _front(
        [(speeds[job.number], gain(objective, job.metric(objective.metric)), job) for job in jobs]
    )
    names = {
        job.number: wrapped(f"job {job.name}: {label(sweep.recipe_factors, job.values)}")
        for job in jobs
    }
    traces = [
        go.Scatter(
            x=[speeds[job.number] for job in chosen],
            y=[job.metric(objective.metric) for job in chosen],
            mode=mode,
            name=title,
            marker={"color": colour, "size": 9},
            line={"color": colour, "width": 1.5, "dash": "dash"},
            text=[names[job.number] for job in chosen],
            hovertemplate="%{text}<br>%{x:.3g} images/s, %{y:.4g}<extra></extra>",
        )
        for chosen, mode, title, colour in (
            (jobs, "markers", "jobs", REST),
            (front, "lines+markers", "none is better in both", COLOURS[1]),
        )
    ]
    what = "inference" if inference else "training; inference was not measured"
    figure = titled_figure(traces, x=f"images/s ({what})", y=objective.metric)
    figure.update_layout(height=400)
    if is_wide(list(speeds.values())):
        figure.update_xaxes(type="log")
    text = (
        f"{objective.metric} over {key}. Up to the right is better."
        if objective.direction != MINIMIZE
        else f"{objective.metric} over {key}. Down to the right is better."
    )
    return Chart("Accuracy against speed", text, figure)


def _front(points: Iterable[tuple[float, float, Job]]) -> list[Job]:
    """From the fastest to the most accurate, the jobs that none surpasses in both."""
    front, best = [], -math.inf
    for _, accuracy, job in sorted(points, key=lambda point: (-point[0], -point[1])):
        if accuracy > best:
            front.append(job)
            best = accuracy
    return front


def _scored(sweep: Sweep, objective: Objective) -> list[Job]:
    done = [job for job in sweep.jobs if job.status == COMPLETED]
    return [job for job in done if not math.isnan(job.metric(objective.metric))]


def _is_repeated(values: Sequence[Any]) -> bool:
    """Return whether values are so few, or have so many jobs each, that means and marks help."""
    distinct = len(set(map(repr, values)))
    return distinct <= _FEW or (distinct <= _MOST_MEANS and 2 * distinct <= len(values))
