"""`evaluation.html` and `evaluation.json`: how good a model is, where it fails, how it knows."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from dlcexp.data.loading import PoseData
from dlcexp.data.splits import SplitName
from dlcexp.evaluation.canvas import figure_pixels
from dlcexp.evaluation.evaluate import Evaluation, flatten
from dlcexp.evaluation.examples import chosen_frames
from dlcexp.evaluation.figures import draw_example
from dlcexp.evaluation.label_check import LabelCheck, check_labels
from dlcexp.evaluation.score_table import score_table
from dlcexp.evaluation.summary import ALL, Numbers, summarize
from dlcexp.reports.evaluation_charts import (
    bodypart_chart,
    confidence_chart,
    crosstab_chart,
    cutoff_chart,
    pck_charts,
)
from dlcexp.reports.evaluation_tables import (
    bodyparts_table,
    frames_table,
    individuals_table,
    scores_table,
)
from dlcexp.reports.html_page import Picture, embedded_picture, render
from dlcexp.reports.label_section import label_section
from dlcexp.reports.plotly_charts import embedded
from dlcexp.reports.reliability_section import reliability_section
from dlcexp.runs.metric_names import CHOSEN_BY
from dlcexp.runs.started_from import START
from dlcexp.text import number


@dataclass(frozen=True)
class Report:
    """An evaluation ready to be written.

    Attributes:
        page: HTML, whole.
        numbers: all that is on it; docs/evaluation.md explains every key.
        labels: those that are probably wrong.
    """

    page: str
    numbers: Numbers
    labels: LabelCheck


def evaluation_report(
    evaluation: Evaluation,
    data: PoseData,
    cfg: Any,
    facts: Mapping[str, Any],
    commands: Sequence[tuple[str, str]] = (),
    *,
    trained: AbstractSet[str] | None = frozenset(),
    calibration: Numbers | None = None,
    uncalibrated: str = "",
) -> Report:
    """Return the page and the numbers of an evaluation that has its records.

    Args:
        evaluation: poses, metrics and records.
        data: project, labels and split that they were made with.
        cfg: the resolved tree.
        facts: what was evaluated, by name; `run`, `net_type` and `snapshot` among them.
        commands: possible next steps, each a description and a command.
        trained: names of frames that the network was trained on, whatever part they are in now;
            None: unknown.
        calibration: numbers of `measure_reliability`, and where they come from.
        uncalibrated: why there are none.
    """
    labels = check_labels(evaluation, trained)
    splits = summarize(evaluation, data, cfg, evaluation.records)
    numbers = {
        "about": dict(facts),
        "settings": {
            "pcutoff": cfg.evaluation.pcutoff,
            "pck_thresholds": list(cfg.evaluation.pck_thresholds),
        },
        "metrics": flatten(evaluation),
        "splits": splits,
        "labels_to_check": labels.numbers(),
        "calibration": calibration,
    }
    section = label_section(labels, evaluation, data, float(cfg.evaluation.pcutoff))
    reliability = reliability_section(calibration, uncalibrated)
    page = _page(
        evaluation, data, cfg, splits, facts=facts, commands=commands, labels=section,
        reliability=reliability,
    )  # fmt: skip
    return Report(page, numbers, labels)


def _page(
    evaluation: Evaluation, data: PoseData, cfg: Any, splits: Mapping[str, Numbers], **values: Any
) -> str:
    shown = _shown(evaluation, splits)
    first = next(iter(shown), None)
    summary = splits[shown[first]] if first else None
    facts = values["facts"]
    return render(
        "evaluation.html.jinja",
        **values,
        first=first,
        headline=_headline(summary, first),
        scores=scores_table(evaluation),
        captions=score_table(evaluation, facts.get(START), facts.get(CHOSEN_BY)).captions,
        bodyparts=bodyparts_table(splits, shown) if shown else None,
        individuals=individuals_table(summary) if summary else None,
        frames=frames_table(summary, first) if summary and first else None,
        charts=_charts(evaluation, splits, shown, float(cfg.evaluation.pcutoff)) if shown else {},
        pictures={split: _pictures(evaluation, data, cfg, split) for split in shown},
    )


def _charts(
    evaluation: Evaluation,
    splits: Mapping[str, Numbers],
    shown: Mapping[SplitName, str],
    pcutoff: float,
) -> dict[str, Any]:
    records = {
        split: evaluation.records[evaluation.records.split == name] for split, name in shown.items()
    }
    first, column = next(iter(shown.items()))
    summary = splits[column]
    pck = {split: splits[name]["pck"] for split, name in shown.items()}
    return {
        "bodyparts": embedded(bodypart_chart(records)),
        "confidence": embedded(confidence_chart(records[first], summary["confidence"], pcutoff)),
        "cutoff": embedded(cutoff_chart(summary["pcutoff"], pcutoff)),
        "pck": [embedded(chart) for chart in pck_charts(pck)],
        "individuals": [embedded(chart) for chart in _crosstabs(summary)],
    }


def _shown(evaluation: Evaluation, splits: Mapping[str, Numbers]) -> dict[SplitName, str]:
    """Return what is drawn: test, validation and training frames, end to end if possible."""
    order: tuple[SplitName, ...] = ("test", "val", "train")
    columns = {split: evaluation.column(split) for split in order}
    return {split: name for split, name in columns.items() if name in splits and name}


def _headline(summary: Numbers | None, split: str | None) -> list[str]:
    """Return the result in sentences."""
    if summary is None:
        return ["There is no pose to be scored."]
    every, animals = summary["bodyparts"][ALL], summary["animals"]
    lines = [
        f"{every['found']} of {every['labels']} labelled keypoints of {summary['frames']} {split} "
        f"frames were found; their median error is {number(every['median'])} px, and 95\u00a0% are "
        f"within {number(every['p95'])} px."
    ]
    if animals["missed"] or animals["extra"]:
        lines.append(
            f"Of {animals['labelled']} labelled animals {animals['missed']} were missed; "
            f"{animals['extra']} predictions belong to none."
        )
    return lines


def _crosstabs(summary: Numbers) -> list[Any]:
    individuals = summary["individuals"]
    if individuals is None:
        return []
    charts = []
    if individuals["taken_for"]:
        charts.append(
            crosstab_chart(
                individuals["taken_for"],
                "Who is taken for whom",
                "Labelled animals by the name that the model gave them.",
                x="predicted as",
                y="labelled",
            )
        )
    if any(map(sum, individuals["mixed_up"]["counts"])):
        charts.append(
            crosstab_chart(
                individuals["mixed_up"],
                "On whose body a keypoint lies",
                "Keypoints of the prediction that was matched with each animal, by the animal "
                "whose label of that bodypart is nearest. Off the diagonal, one animal has a "
                "point of another.",
                x="nearest label",
                y="matched with",
            )
        )
    return charts


def _pictures(evaluation: Evaluation, data: PoseData, cfg: Any, split: SplitName) -> list[Picture]:
    """Return the worst frames of a split."""
    count = cfg.evaluation.examples
    return [
        embedded_picture(
            figure_pixels(draw_example(replace(shown.example, title=""), shown.skeleton)),
            shown.example.title.replace("\n", ": "),
        )
        for shown in chosen_frames(evaluation, data, cfg, split, worst=count)
    ]
