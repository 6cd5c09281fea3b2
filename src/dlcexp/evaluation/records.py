"""Every labelled keypoint with its prediction as a row of a table: what all numbers are made of."""

from typing import Any

import numpy as np
import pandas as pd

from dlcexp.data.loading import PoseData
from dlcexp.evaluation.distances import matched_individuals
from dlcexp.evaluation.evaluate import (
    Evaluation,
    by_row,
    compared_bodyparts,
    is_single_animal,
)
from dlcexp.evaluation.oks import MIN_KEYPOINTS, box_sides
from dlcexp.evaluation.pairs import PosePairs, pair_poses
from dlcexp.runs.metric_names import split_of
from dlcexp.vocabulary import UNIQUE

COLUMNS = (
    "split",
    "frame",
    "individual",
    "bodypart",
    "label_x",
    "label_y",
    "x",
    "y",
    "confidence",
    "error",
    "size",
    "normalized_error",
    "predicted_as",
    "nearest",
)


def pose_records(evaluation: Evaluation, data: PoseData, settings: Any) -> pd.DataFrame:
    """Return a row for each labelled keypoint, matched with a prediction as the metrics are.

    The mean of `error` in a split is its `rmse`, bodypart by bodypart its `rmse_<bodypart>`.

    Args:
        evaluation: poses of the frames of each split.
        data: project, labels and split that they were evaluated with.
        settings: `cfg.evaluation`.

    Returns:
        `split` (as in `Evaluation.metrics`), `frame`, `individual` (`single` of unique bodyparts),
        `bodypart`; `label_x`, `label_y`, `x`, `y` px of the original image; `confidence`; `error`,
        px; `size`, the longer side of the box around the animal's labels, px, where it has two;
        `normalized_error`, of the size; `predicted_as`, the individual in whose place the animal's
        prediction was; `nearest`, the individual whose label of this bodypart is nearest to the
        predicted point. Without a prediction, the values that describe it are NaN or None.
    """
    tables = []
    for column, poses in evaluation.poses.items():
        tables.append(_animals(column, poses, data, settings))
        if column in evaluation.unique:
            tables.append(_unique(column, evaluation.unique[column], data, settings))
    tables = [table for table in tables if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*COLUMNS])


def animal_counts(evaluation: Evaluation, data: PoseData, settings: Any) -> dict[str, dict]:
    """Count the animals found in each split: {split: {labelled, found, missed, extra}}.

    An animal is found when a prediction was matched with it, as in the metrics; predictions that
    were matched with none are extra.
    """
    counts = {}
    for column, poses in evaluation.poses.items():
        pairs, match = _matched(column, poses, data, settings)
        labelled = pairs.labelled.any(axis=2)
        found = int((labelled & (match >= 0)).sum())
        predicted = int(np.isfinite(pairs.score).sum())
        # Of a single animal, the prediction counts in a frame that has a label.
        if is_single_animal(data, settings):
            predicted = found
        counts[column] = {
            "labelled": int(labelled.sum()),
            "found": found,
            "missed": int(labelled.sum()) - found,
            "extra": predicted - found,
        }
    return counts


def _animals(column: str, poses: np.ndarray, data: PoseData, settings: Any) -> pd.DataFrame:
    project = data.project
    kept = compared_bodyparts(project.bodyparts, settings.comparison_bodyparts)
    pairs, match = _matched(column, poses, data, settings)
    return _records(
        column, pairs, match, _names(column, data), [project.bodyparts[k] for k in kept],
        project.individuals,
    )  # fmt: skip


def _unique(column: str, poses: np.ndarray, data: PoseData, settings: Any) -> pd.DataFrame:
    project = data.project
    kept = compared_bodyparts(project.unique_bodyparts, settings.comparison_bodyparts)
    rows = _rows(column, data)
    pairs = pair_poses(
        by_row(rows, data.labels.unique[rows][:, None, kept]),
        by_row(rows, poses[:, :, kept]),
        len(kept),
    )
    match = matched_individuals(pairs, single_animal=True)
    bodyparts = [project.unique_bodyparts[k] for k in kept]
    table = _records(column, pairs, match, _names(column, data), bodyparts, [UNIQUE])
    return table.assign(size=np.nan, normalized_error=np.nan)


def _matched(
    column: str, poses: np.ndarray, data: PoseData, settings: Any
) -> tuple[PosePairs, np.ndarray]:
    """Labels and predictions of a split, and which belong together."""
    kept = compared_bodyparts(data.project.bodyparts, settings.comparison_bodyparts)
    rows = _rows(column, data)
    labels = data.labels.keypoints[rows][:, :, kept]
    pairs = pair_poses(by_row(rows, labels), by_row(rows, poses[:, :, kept]), len(kept))
    return pairs, matched_individuals(pairs, is_single_animal(data, settings))


def _rows(column: str, data: PoseData) -> list[int]:
    return list(getattr(data.split, split_of(column)))


def _names(column: str, data: PoseData) -> np.ndarray:
    return np.array([data.labels.names[row] for row in _rows(column, data)], dtype=object)


def _records(
    column: str,
    pairs: PosePairs,
    match: np.ndarray,
    frames: np.ndarray,
    bodyparts: list[str],
    individuals: Any,
) -> pd.DataFrame:
    """Return the records of labels (F, n, k) of which (f, i) was predicted as `match[f, i]`."""
    frame, animal, bodypart = np.nonzero(pairs.labelled)
    further = range(len(individuals) + 1, pairs.poses.shape[1] + 1)
    names = np.array([*individuals, *(f"animal {n}" for n in further), None], dtype=object)
    place = match[frame, animal]
    label = pairs.truth[frame, animal, bodypart]
    point, confidence = np.full((len(frame), 2), np.nan), np.full(len(frame), np.nan)
    found = place >= 0
    where = frame[found], place[found], bodypart[found]
    point[found], confidence[found] = pairs.poses[where], pairs.confidence[where]
    confidence[np.isnan(point[:, 0])] = np.nan
    error = np.linalg.norm(label - point, axis=1)
    several = pairs.labelled.sum(axis=-1) >= MIN_KEYPOINTS
    size = np.where(several, box_sides(pairs.truth).max(axis=-1, initial=0.0), np.nan)
    size = size[frame, animal]
    with np.errstate(divide="ignore", invalid="ignore"):
        normalized = np.where((error == 0) & np.isfinite(size), 0.0, error / size)
    near = _nearest(pairs, frame, animal, bodypart, point)
    return pd.DataFrame(
        {
            "split": column,
            "frame": frames[frame],
            "individual": names[animal],
            "bodypart": np.array(bodyparts, dtype=object)[bodypart],
            "label_x": label[:, 0],
            "label_y": label[:, 1],
            "x": point[:, 0],
            "y": point[:, 1],
            "confidence": confidence,
            "error": error,
            "size": size,
            "normalized_error": normalized,
            "predicted_as": names[place],
            "nearest": names[near],
        }
    )


def _nearest(
    pairs: PosePairs,
    frame: np.ndarray,
    animal: np.ndarray,
    bodypart: np.ndarray,
    point: np.ndarray,
) -> np.ndarray:
    """The individual whose label is nearest to each point (N,); its own of equals, -1 for none."""
    if not len(animal):
        return animal
    labels = pairs.truth[frame, :, bodypart]
    distance = np.nan_to_num(np.linalg.norm(labels - point[:, None], axis=-1), nan=np.inf)
    own = distance[np.arange(len(animal)), animal]
    near = np.where(own <= distance.min(axis=1), animal, distance.argmin(axis=1))
    return np.where(np.isnan(point[:, 0]), -1, near)
