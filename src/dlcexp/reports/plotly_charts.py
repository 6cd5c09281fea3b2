"""Charts of a page, as plotly figures.

Colours of text, grid and background are the page's, which has a light and a dark side.
"""

import html
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

# Okabe and Ito (2008): distinct with any colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
REST = "#8a8f98"
# Numbers that span more than this are shown on a logarithmic axis.
_LOG_RATIO = 20


@dataclass(frozen=True)
class Chart:
    """A figure and its explanation.

    Attributes:
        title: above it.
        text: what it shows, for those who do not see it, too.
        figure: plotly's.
        wide: whether it has the width of the page, and a bar of tools.
    """

    title: str
    text: str
    figure: go.Figure
    wide: bool = True


def embedded(chart: Chart | None) -> Mapping[str, Any] | None:
    """Embed a chart in a page; `<` is escaped so that no text can end a script element."""
    if chart is None:
        return None
    figure = json.loads(chart.figure.to_json())
    figure["layout"].pop("template", None)
    data = json.dumps(figure).replace("<", "\\u003c")
    height = int(chart.figure.layout.height or 400)
    return {
        "title": chart.title,
        "text": chart.text,
        "data": Markup(data),
        "height": height,
        "bar": chart.wide,
    }


def titled_figure(traces: Sequence[Any], x: str, y: str) -> go.Figure:
    """Return a figure with titles of its axes, and its legend below."""
    figure = go.Figure(traces)
    figure.update_layout(
        margin={"l": 10, "r": 20, "t": 16, "b": 10},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        font={"size": 13},
    )
    figure.update_xaxes(title={"text": x, "font_size": 13}, automargin=True, zeroline=False)
    figure.update_yaxes(title={"text": y, "font_size": 13}, automargin=True, zeroline=False)
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(exponentformat="power")
    return figure


def is_wide(values: Sequence[float]) -> bool:
    """Return whether positive numbers span so much that only a logarithmic axis shows them."""
    return len(values) > 0 and min(values) > 0 and max(values) / min(values) >= _LOG_RATIO


def wrapped(text: str, width: int = 60) -> str:
    """Wrap text in plotly's form to lines not longer than a narrow window."""
    return "<br>".join(html.escape(line) for line in textwrap.wrap(text, width))
