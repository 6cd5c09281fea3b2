"""The section of an evaluation's page on labels that are probably wrong."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dlcexp.data.loading import PoseData
from dlcexp.evaluation.canvas import figure_pixels
from dlcexp.evaluation.evaluate import Evaluation
from dlcexp.evaluation.figures import Example, Skeleton, draw_example
from dlcexp.evaluation.label_check import FALSE_DISCOVERIES, LEAST_LABELS, LabelCheck
from dlcexp.reports.html_page import Picture, embedded_picture
from dlcexp.reports.html_tables import Cell, Table, number_cell
from dlcexp.vocabulary import UNIQUE

# Animals that are drawn; all labels are in the table.
_MOST_PICTURES = 40


@dataclass(frozen=True)
class LabelSection:
    """The labels to look at.

    Attributes:
        lines: the result in sentences.
        table: a row for each label; None without any.
        pictures: of animals with such labels, the most suspicious first.
    """

    lines: list[str]
    table: Table | None
    pictures: list[Picture]


def label_section(
    check: LabelCheck, evaluation: Evaluation, data: PoseData, pcutoff: float
) -> LabelSection:
    """Return the section.

    Args:
        check: of the labels of `evaluation`.
        evaluation: with its records.
        data: project, labels and split that it was made with.
        pcutoff: confidence from which a prediction is drawn as a dot.
    """
    lines = _lines(check)
    if check.listed.empty:
        return LabelSection(lines, None, [])
    skeleton = Skeleton((*data.project.bodyparts, *data.project.unique_bodyparts), (), pcutoff)
    shown = _animals(check, evaluation, data, skeleton)
    return LabelSection(lines, _table(check, data), [*shown])


def _lines(check: LabelCheck) -> list[str]:
    labels = f"{check.judged} labels of {check.frames} frames"
    if check.trained is None:
        return ["It is not known which frames trained this snapshot: no label is judged."]
    if not check.judged:
        lines = [f"Fewer than {LEAST_LABELS} labels of frames that did not train: none is judged."]
    elif check.listed.empty:
        lines = [f"None of {labels} is suspicious."]
    else:
        lines = [
            f"{len(check.listed)} of {labels} are farther from a prediction than its confidence "
            "explains, made by a network that was not trained on the frame. About "
            f"{100 * FALSE_DISCOVERIES:g}\u00a0% of them are right labels, and more where the "
            "network fails."
        ]
    if check.trained:
        lines.append(
            "Labels of training frames are not judged, because the network has fitted them. To "
            "judge all labels, evaluate a sweep of split=kfold 'split.fold=range(5)'."
        )
    return lines


def _table(check: LabelCheck, data: PoseData) -> Table:
    several = len(data.project.individuals) > 1
    columns = [("frame", False), *([("individual", False)] if several else [])]
    columns += [("bodypart", False), ("probably", False), ("error (px)", True)]
    columns += [("confidence", True), ("p-value", True)]
    rows = []
    names = ("frame", *(["individual"] if several else []), "bodypart", "kind")
    for label in check.rows():
        rows.append(
            [
                *(Cell(label[name], label[name]) for name in names),
                number_cell(label["error"]),
                number_cell(label["confidence"]),
                Cell(f"{label['p_value']:.1e}", label["p_value"]),
            ]
        )
    return Table("Labels that are probably wrong", columns, rows)


def _animals(
    check: LabelCheck, evaluation: Evaluation, data: PoseData, skeleton: Skeleton
) -> Iterator[Picture]:
    """Yield a picture of each animal: all of its labels, and where those listed should be."""
    labelled = evaluation.records.drop_duplicates(["frame", "individual", "bodypart"])
    labels = dict(tuple(labelled.groupby(["frame", "individual"])))
    images = dict(zip(data.labels.names, data.labels.images, strict=True))
    animals = check.listed.groupby(["frame", "individual"], sort=False)
    for (frame, individual), wrong in [*animals][:_MOST_PICTURES]:
        truth = _points(labels[frame, individual], ["label_x", "label_y"], skeleton)
        poses = _points(wrong, ["x", "y", "confidence"], skeleton)
        example = Example(data.cache(images[frame]), truth, poses, title="", names=[""])
        faults = [f"{row.bodypart} {row.kind} ({row.error:.0f} px)" for row in wrong.itertuples()]
        whose = "" if len(data.project.individuals) == 1 or individual == UNIQUE else individual
        caption = ", ".join([frame, *filter(None, [whose])]) + ": " + "; ".join(faults)
        yield embedded_picture(figure_pixels(draw_example(example, skeleton)), caption)


def _points(rows: pd.DataFrame, columns: list[str], skeleton: Skeleton) -> np.ndarray:
    """Return values of one animal (1, bodyparts, columns), NaN where it has none."""
    place = {name: k for k, name in enumerate(skeleton.bodyparts)}
    points = np.full((1, len(place), len(columns)), np.nan)
    points[0, [place[name] for name in rows.bodypart]] = rows[columns]
    return points
