"""The tables of an evaluation's page."""

import math
from collections.abc import Mapping

from dlcexp.data.splits import SplitName
from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.score_table import score_table
from dlcexp.evaluation.summary import ALL, Numbers
from dlcexp.reports.html_tables import Cell, Table, number_cell

# Frames in the table of the worst.
_MOST_FRAMES = 200


def scores_table(evaluation: Evaluation) -> Table:
    """Return the scores that the terminal shows, without the bodyparts."""
    table = score_table(evaluation)
    rows = [
        [Cell(row.name, None), *(Cell(value, None) for value in row.values)] for row in table.scores
    ]
    return Table("Scores", [("", False), *((name, True) for name in table.columns)], rows)


def bodyparts_table(splits: Mapping[str, Numbers], shown: Mapping[SplitName, str]) -> Table:
    """Return a row per bodypart and for all: errors in the first split, means in the others."""
    (first, column), *others = shown.items()
    errors = splits[column]["bodyparts"]
    thresholds = [key for key in errors[ALL] if key.startswith("pck_")]
    titles = {"median": "median", "p95": "95 %", "confidence": "confidence"}
    titles |= {key: f"PCK {key.removeprefix('pck_')}" for key in thresholds}
    columns = ["mean (px)", *(f"in {split}" for split, _ in others), *titles.values()]
    rows = []
    for name, each in errors.items():
        means = [splits[other]["bodyparts"].get(name, {}).get("mean") for _, other in others]
        rows.append(
            [
                Cell(name, name, strong=name == ALL),
                _found(each),
                number_cell(float(each["mean"]), strong=True),
                *(number_cell(math.nan if mean is None else float(mean)) for mean in means),
                *(number_cell(float(each[key])) for key in titles),
            ]
        )
    numbers = [(title, True) for title in ("found", *columns)]
    return Table(f"Errors in {first} frames", [("bodypart", False), *numbers], rows)


def individuals_table(summary: Numbers) -> Table | None:
    """Return a row for each individual; None for a single animal."""
    if summary["individuals"] is None:
        return None
    rows = [
        [
            Cell(name, name),
            _found(each),
            number_cell(float(each["mean"])),
            number_cell(float(each["median"])),
        ]
        for name, each in summary["individuals"]["errors"].items()
    ]
    columns = [("individual", False), ("found", True), ("mean (px)", True), ("median", True)]
    return Table("Errors of each individual", columns, rows)


def _found(each: Numbers) -> Cell:
    """Return how many of the labels were found, sorted by their share."""
    return Cell(f"{each['found']} of {each['labels']}", each["found"] / max(each["labels"], 1))


def frames_table(summary: Numbers, split: str) -> Table:
    """Return the worst frames, the worst first."""
    several = summary["individuals"] is not None
    columns = [("frame", False), ("mean error (px)", True)]
    columns += [("animals", True), ("missed", True)] if several else []
    rows = []
    for each in summary["worst_frames"][:_MOST_FRAMES]:
        row = [Cell(each["frame"], each["frame"]), number_cell(float(each["error"]))]
        if several:
            row += [Cell(str(each[key]), each[key]) for key in ("animals", "missed")]
        rows.append(row)
    return Table(f"{split.capitalize()} frames, the worst first", columns, rows)
