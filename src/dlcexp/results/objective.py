"""The objectives of a sweep, and the values that a job reached."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcexp.config.resolvers import larger_is_better
from dlcexp.errors import ConfigError, ProjectError, nearest
from dlcexp.results.ledger import Objective
from dlcexp.runs.metric_names import GT_BOXES, GT_CONDITIONS, MAXIMIZE, MINIMIZE, PARTS
from dlcexp.vocabulary import METRICS
from dlcexp.yaml_files import read_json


def objectives(tree: Mapping[str, Any]) -> tuple[Objective, ...]:
    """Return the objectives of a resolved tree, from `sweep.metric` and `sweep.direction`.

    Where nothing finds the animals, a pose model is scored on crops by the labels alone, and
    `test.mAP` is `test_gt_boxes.mAP`.

    Raises:
        ConfigError: no metric, or directions that are none or not as many.
    """
    metrics = _list(tree["sweep"]["metric"])
    directions = _list(tree["sweep"]["direction"]) or [None] * len(metrics)
    if not metrics or not all(isinstance(metric, str) for metric in metrics):
        raise ConfigError("sweep.metric", f"{metrics!r} is not a metric, such as test.mAP.")
    if len(directions) != len(metrics):
        raise ConfigError(
            "sweep.direction", f"{directions!r}, but there are {len(metrics)} metrics."
        )
    for direction in directions:
        if direction not in (None, MAXIMIZE, MINIMIZE):
            raise ConfigError("sweep.direction", f"{direction!r} is not {MAXIMIZE} or {MINIMIZE}.")
    metrics = [_as_scored(metric, tree) for metric in metrics]
    pairs = zip(metrics, directions, strict=True)
    return tuple(Objective(metric, given or natural(metric)) for metric, given in pairs)


def _as_scored(metric: str, tree: Mapping[str, Any]) -> str:
    split, _, name = metric.partition(".")
    if split not in PARTS:
        return metric
    detector = tree["detector"]
    if detector and "detector" not in tree["train"]["stages"] and not detector["snapshot"]:
        return f"{split}{GT_BOXES}.{name}"
    if tree["method"] == "ctd" and tree["conditions"] is None:
        return f"{split}{GT_CONDITIONS}.{name}"
    return metric


def natural(metric: str) -> str:
    """Return the direction in which a metric is better, by its name."""
    return MAXIMIZE if larger_is_better(metric) else MINIMIZE


def reached(folder: Path, wanted: Sequence[Objective]) -> list[float]:
    """Return the objectives in the `metrics.json` of a run folder, NaN where it has none."""
    metrics = _measured(folder)
    values = [metrics.get(each.metric) for each in wanted]
    return [math.nan if value is None else float(value) for value in values]


def unmeasured(folder: Path, wanted: Sequence[Objective]) -> str | None:
    """Return what is wrong with an objective that a completed run has no number for, nor NaN."""
    metrics = _measured(folder)
    for each in wanted:
        if metrics and each.metric not in metrics:
            return f"{each.metric!r} is not measured.{nearest(each.metric, metrics)}"
    return None


def _measured(folder: Path) -> dict[str, Any]:
    """Return the numbers in the `metrics.json` of a run folder; none if it cannot be read."""
    try:
        found = read_json(folder / METRICS)
        return {name: value for name, value in found.items() if not isinstance(value, str)}
    except ProjectError:
        return {}


def better(value: float, best: float | None, objective: Objective) -> bool:
    """Return whether a value is the best so far; NaN never is."""
    if math.isnan(value):
        return False
    return best is None or gain(objective, value) > gain(objective, best)


def gain(objective: Objective, value: float) -> float:
    """Return the value, larger for the better; NaN is worst of all."""
    if math.isnan(value):
        return -math.inf
    return value if objective.direction == MAXIMIZE else -value


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
