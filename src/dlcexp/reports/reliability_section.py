"""The section of an evaluation's page on calibrated confidence: a diagram and cutoffs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dlcexp.evaluation.reliability import PRECISIONS
from dlcexp.evaluation.summary import ALL, Numbers
from dlcexp.reports.html_tables import Cell, Table, number_cell
from dlcexp.reports.plotly_charts import COLOURS, REST, Chart, embedded, titled_figure


@dataclass(frozen=True)
class ReliabilitySection:
    """Lines, a chart, a table and notes; without a calibration, lines only."""

    lines: Sequence[str]
    chart: Mapping[str, Any] | None = None
    cutoffs: Table | None = None
    notes: Sequence[str] = ()


def reliability_section(numbers: Numbers | None, missing: str) -> ReliabilitySection | None:
    """Return the section; None where there is nothing to show.

    Args:
        numbers: `calibration` of `evaluation.json`.
        missing: why there are none; empty without a pose model.
    """
    if numbers is None:
        return ReliabilitySection([f"There is no calibration. {missing}"]) if missing else None
    return ReliabilitySection(
        _lines(numbers),
        embedded(reliability_chart(numbers)),
        cutoffs_table(numbers["bodyparts"]),
        _notes(numbers["left_out"]),
    )


def reliability_chart(numbers: Numbers) -> Chart:
    """Draw the share of right keypoints over confidence, and over calibrated probability."""
    exact = go.Scatter(
        x=[0, 1],
        y=[0, 100],
        mode="lines",
        name="exact",
        line={"color": REST, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )
    raw = _curve(numbers["bins"], "confidence", COLOURS[1])
    calibrated = _curve(numbers["bins_calibrated"], "probability", COLOURS[0])
    figure = titled_figure(
        [exact, raw, calibrated],
        x="confidence, or probability",
        y=f"within {numbers['within_px']:g} px (%)",
    )
    figure.update_layout(height=420)
    least = _least([*numbers["bins"], *numbers["bins_calibrated"]])
    figure.update_xaxes(range=[least - 0.01, 1.01])
    figure.update_yaxes(range=[100 * least - 1, 101])
    text = (
        "Share of keypoints that are right by their confidence, and by their probability after "
        "calibration, in bins of equal numbers, with 95 % limits. Exact ones are on the dashed "
        "line; below it, a model is too sure."
    )
    return Chart("Reliability", text, figure, wide=False)


def cutoffs_table(bodyparts: Mapping[str, Numbers]) -> Table:
    """Return a row for each bodypart and for all, with the cutoff for each precision."""
    columns = [("bodypart", False), ("right", True), ("confidence", True)]
    for precision in PRECISIONS:
        columns += [(f"pcutoff for {_percent(precision)}", True), ("measured", True)]
    rows = []
    for name, each in bodyparts.items():
        row = [
            Cell(name, name, strong=name == ALL),
            Cell(f"{_percent(each['within'])} of {each['keypoints']}", each["within"]),
            number_cell(each["confidence"]),
        ]
        for precision in PRECISIONS:
            row += _cutoff_cells(each["cutoffs"][f"{precision:g}"])
        rows.append(row)
    return Table("Cutoffs of confidence for a precision", columns, rows)


def _cutoff_cells(cutoff: Numbers | None) -> list[Cell]:
    """Return the cutoff with the labels that it keeps, and its precision in other frames."""
    if cutoff is None:
        return [Cell("–", None), Cell("–", None)]
    kept = Cell(f"{cutoff['cutoff']:.3f} ({_percent(cutoff['kept'])} kept)", cutoff["cutoff"])
    share = cutoff["left_out"]
    if not share["n"]:
        return [kept, Cell("–", None)]
    limits = f"{100 * share['low']:.0f} to {100 * share['high']:.0f}"
    return [kept, Cell(f"{_percent(share['within'])} ({limits})", share["within"])]


def _lines(numbers: Numbers) -> list[str]:
    every = numbers["bodyparts"][ALL]
    return [
        f"A keypoint is right if it is within {numbers['within_px']:g} px of its label "
        f"({numbers['px_from']}). {_percent(every['within'])} of {numbers['keypoints']} keypoints "
        f"in {numbers['frames']} frames are ({numbers['source']}); their mean confidence is "
        f"{every['confidence']:.2f}.",
        f"Expected calibration error: {numbers['ece']:.3f} of the confidence, "
        f"{numbers['ece_calibrated']:.3f} of the calibrated probability. Exact probabilities would "
        f"have {numbers['ece_by_chance']:.3f} by chance, with as few keypoints.",
    ]


def _notes(left_out: Mapping[str, Any]) -> list[str]:
    return [
        "pcutoff: the least confidence from which the keypoints of these frames have the "
        "precision, by their probability, and the labels that it keeps; a dash where none has.",
        "Probabilities, and the measured precision with its 95 % limits, are of frames left out: "
        f"each of {left_out['groups']} groups of {left_out['unit']}s is measured with what was "
        "fitted to the others.",
        "They hold for frames of this kind, and for keypoints that a person would label.",
    ]


def _least(bins: Sequence[Numbers]) -> float:
    """Return the tenth below everything that is drawn."""
    lowest = min(float(each[key]) for each in bins for key in ("probability", "low"))
    return math.floor(10 * lowest) / 10


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"


def _curve(bins: Sequence[Numbers], name: str, colour: str) -> go.Scatter:
    within = [100 * each["within"] for each in bins]
    return go.Scatter(
        x=[each["probability"] for each in bins],
        y=within,
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * each["high"] - y for each, y in zip(bins, within, strict=True)],
            "arrayminus": [y - 100 * each["low"] for each, y in zip(bins, within, strict=True)],
            "thickness": 1,
            "width": 3,
        },
        name=name,
        mode="lines+markers",
        marker={"color": colour, "size": 8},
        line={"color": colour, "width": 2},
        text=[str(each["n"]) for each in bins],
        hovertemplate=f"{name} %{{x:.3f}}: %{{y:.1f}} % of %{{text}}<extra></extra>",
    )
