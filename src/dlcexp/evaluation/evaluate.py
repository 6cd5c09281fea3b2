"""Score a model on the frames of an experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
import torch

from dlcexp.data.conditional_crops import Conditions
from dlcexp.data.dataset import SampleDataset
from dlcexp.data.loading import PoseData
from dlcexp.data.splits import SplitName
from dlcexp.evaluation.detected_boxes import Boxes, evaluate_detector
from dlcexp.evaluation.metrics import evaluate_poses, mean_pose_error
from dlcexp.evaluation.model_poses import predict_crops, predict_heads
from dlcexp.runs.metric_names import BY_LABELS, GT_BOXES, GT_CONDITIONS, by_split
from dlcexp.vocabulary import BODYPART, IDENTITY, UNIQUE_BODYPART


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The predictions of a model in the frames of each split, and their scores.

    A top-down model is scored end to end under the name of the split, and on ground-truth boxes
    under `test_gt_boxes` and `train_gt_boxes`. A conditional one is scored with the conditions of
    the experiment under the name of the split, and with conditions drawn from the labels under
    `test_gt_conditions` and `train_gt_conditions`.

    Attributes:
        metrics: {split: {metric: value}}; see `evaluate_poses`, and `rmse_mean_pose` (px), the
            error of always predicting the mean of the training poses.
        poses: {split: float32 (frames, individuals, bodyparts, 3)}: px of the original image,
            confidence.
        names: {split: names of its frames}.
        detector: {split: {metric: value}} of a detector; see `evaluate_detector`.
        boxes: {split: {row of the labels: (m, 5)}} boxes that were found: x, y, width, height px,
            score.
        conditions: {split: {row of the labels: (m, bodyparts, 3)}} poses that conditional crops
            were cut by: x, y px, score.
        unique: {split: float32 (frames, 1, unique bodyparts, 3)}, as `poses`, where the model
            finds them.
        seconds: {split: time from images in memory or on disk to poses}.
        records: every labelled keypoint with its prediction, see `pose_records`; empty while a
            network trains.
    """

    metrics: dict[str, dict[str, float]]
    poses: dict[str, np.ndarray]
    names: dict[str, tuple[str, ...]]
    detector: dict[str, dict[str, float]] = field(default_factory=dict)
    boxes: dict[str, Boxes] = field(default_factory=dict)
    conditions: dict[str, Conditions] = field(default_factory=dict)
    unique: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    records: pd.DataFrame = field(default_factory=pd.DataFrame)

    def update(self, part: "Evaluation", suffix: str) -> None:
        """Take in the poses of `part` and their scores, the names of splits with a suffix."""
        for split in part.metrics:
            self.metrics[f"{split}{suffix}"] = part.metrics[split]
            self.poses[f"{split}{suffix}"] = part.poses[split]
            self.names[f"{split}{suffix}"] = part.names[split]
            self.seconds[f"{split}{suffix}"] = part.seconds[split]
            if split in part.unique:
                self.unique[f"{split}{suffix}"] = part.unique[split]

    def records_of(self, column: str) -> pd.DataFrame:
        """Return the records of a split, by the name under which it was scored."""
        return self.records[self.records.split == column] if len(self.records) else self.records

    def column(self, split: str) -> str | None:
        """Return the name under which a split was scored, end to end if so; None if not scored."""
        names = (split, *(f"{split}{suffix}" for suffix in BY_LABELS))
        return next((name for name in names if name in self.metrics), None)


def images_per_second(evaluation: Evaluation) -> float | None:
    """Return test frames per second from image to poses, detection included; None without any."""
    column = evaluation.column("test")
    if column is None or not evaluation.seconds.get(column):
        return None
    return len(evaluation.names[column]) / evaluation.seconds[column]


def flatten(evaluation: Evaluation) -> dict[str, float]:
    """Return all scores: `test.rmse` and the like, `detector.test.mAP@50:95` of a detector."""
    detector = by_split(evaluation.detector)
    return {
        **by_split(evaluation.metrics),
        **{f"detector.{name}": value for name, value in detector.items()},
    }


def evaluate_model(
    model: torch.nn.Module,
    data: PoseData,
    cfg: Any,
    device: torch.device | str,
    *,
    splits: Sequence[SplitName] | None = None,
    boxes: Mapping[str, Boxes] | None = None,
    conditions: Mapping[str, Conditions] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Predict the frames of each split and score them with the settings `cfg.evaluation`.

    Args:
        model: a `PoseModel` on `device`; its training mode is as before afterwards.
        data: project, labels and split.
        cfg: the resolved tree.
        splits: which frames; None: all parts of the split.
        boxes: top-down, boxes of the animals; None: those around the labels.
        conditions: conditional top-down, poses of the animals; None: drawn from the labels.
        progress: draw a bar, if there is a terminal.
    """
    metrics: dict[str, dict[str, float]] = {}
    poses: dict[str, np.ndarray] = {}
    names: dict[str, tuple[str, ...]] = {}
    unique: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    for split in splits or data.split.parts:
        rows = getattr(data.split, split)
        if boxes is not None:
            frames: SampleDataset = data.crops(boxes[split])
        elif conditions is not None:
            frames = data.conditional_crops(conditions[split])
        else:
            frames = data.frames(split)
        description = f"evaluating {split} frames" if progress else ""
        started = monotonic()
        if data.top_down:
            size = (len(data.project.individuals), len(data.project.bodyparts))
            heads = {BODYPART: predict_crops(model, frames, rows, size, device, description)}
        else:
            heads = predict_heads(model, frames, device, description=description)
        seconds[split] = monotonic() - started
        empty = np.zeros((0, len(data.project.individuals), len(data.project.bodyparts), 3))
        poses[split] = heads.get(BODYPART, empty.astype(np.float32))
        names[split] = tuple(data.labels.names[i] for i in rows)
        if UNIQUE_BODYPART in heads:
            unique[split] = heads[UNIQUE_BODYPART]
        identity = IDENTITY in cfg.model.heads
        metrics[split] = score_split(
            data, cfg.evaluation, split, poses[split], heads, identity=identity
        )
    return Evaluation(metrics, poses, names, unique=unique, seconds=seconds)


def evaluate_top_down(
    model: torch.nn.Module | None,
    detector: torch.nn.Module | None,
    data: PoseData,
    cfg: Any,
    device: torch.device | str,
    *,
    progress: bool = False,
) -> Evaluation:
    """Score a detector, a pose model on the boxes of the labels, and the two together.

    Args:
        model: the pose model on `device`, if there is one.
        detector: the detector on `device`, if there is one.
        data: project, labels and split.
        cfg: the resolved tree.
        device: where to compute.
        progress: draw a bar, if there is a terminal.
    """
    whole = Evaluation({}, {}, {})
    detection = 0.0  # seconds per frame
    if detector is not None:
        started = monotonic()
        scores, found = evaluate_detector(detector, data, device, progress=progress)
        whole.detector.update(scores)
        whole.boxes.update(found)
        detection = (monotonic() - started) / max(1, sum(map(len, found.values())))
    if model is None:
        return whole
    ways: dict[str, Mapping[str, Boxes] | None] = {"": whole.boxes, GT_BOXES: None}
    for suffix, boxes in ways.items() if detector is not None else [(GT_BOXES, None)]:
        part = evaluate_model(model, data, cfg, device, boxes=boxes, progress=progress)
        whole.update(part, suffix)
        if boxes is not None:
            for split, names in part.names.items():
                whole.seconds[split] += detection * len(names)
    return whole


def evaluate_conditional(
    model: torch.nn.Module,
    data: PoseData,
    cfg: Any,
    device: torch.device | str,
    *,
    conditions: Mapping[str, Conditions] | None,
    progress: bool = False,
) -> Evaluation:
    """Score a conditional model with the conditions of the experiment, and with drawn ones.

    Args:
        model: the pose model on `device`.
        data: project, labels and split.
        cfg: the resolved tree.
        device: where to compute.
        conditions: {split: conditions}; None where the experiment has none.
        progress: draw a bar, if there is a terminal.
    """
    whole = Evaluation({}, {}, {}, conditions=dict(conditions or {}))
    ways = {"": conditions} if conditions else {}
    for suffix, given in (ways | {GT_CONDITIONS: None}).items():
        part = evaluate_model(model, data, cfg, device, conditions=given, progress=progress)
        whole.update(part, suffix)
    return whole


def score_split(
    data: PoseData,
    settings: Any,
    split: SplitName,
    poses: np.ndarray,
    heads: Mapping[str, np.ndarray],
    *,
    identity: bool = False,
) -> dict[str, float]:
    """Compute the metrics of one split.

    Args:
        data: project, labels and split.
        settings: `cfg.evaluation`; `comparison_bodyparts` restricts labels and predictions to
            these bodyparts before anything is matched or scored.
        split: which frames.
        poses: predictions (frames, n, k, 3) in px of the original images.
        heads: may hold `unique_bodypart` (frames, 1, u, 3).
        identity: whether the model identifies individuals.
    """
    rows = list(getattr(data.split, split))
    training = list(data.split.train)
    kept = compared_bodyparts(data.project.bodyparts, settings.comparison_bodyparts)
    unique_kept = compared_bodyparts(data.project.unique_bodyparts, settings.comparison_bodyparts)
    labels = data.labels.keypoints[:, :, kept]
    unique_labels = data.labels.unique[:, None, unique_kept]
    unique = heads.get(UNIQUE_BODYPART)
    scores = evaluate_poses(
        by_row(rows, labels[rows]),
        by_row(rows, poses[:, :, kept]),
        bodyparts=[data.project.bodyparts[k] for k in kept],
        pcutoff=settings.pcutoff,
        oks_sigma=settings.oks_sigma,
        oks_bbox_margin=settings.oks_bbox_margin,
        pck_thresholds=settings.pck_thresholds,
        single_animal=is_single_animal(data, settings),
        unique_bodyparts=[data.project.unique_bodyparts[k] for k in unique_kept],
        unique_ground_truth=by_row(rows, unique_labels[rows]) if unique is not None else None,
        unique_predictions=by_row(rows, unique[:, :, unique_kept]) if unique is not None else None,
        with_identity=identity,
    )
    reference = mean_pose_error(labels[training], labels[rows])
    return {**scores, "rmse_mean_pose": reference}


def is_single_animal(data: PoseData, settings: Any) -> bool:
    """Return whether the only prediction is that of the only animal, however far from it."""
    return not (data.project.multianimal or settings.force_multi_animal)


def compared_bodyparts(bodyparts: Sequence[str], comparison: str | Sequence[str]) -> list[int]:
    """Return positions of the bodyparts that `evaluation.comparison_bodyparts` leaves."""
    wanted = bodyparts if comparison == "all" else comparison
    return [k for k, bodypart in enumerate(bodyparts) if bodypart in wanted]


def by_row(rows: Sequence[int], frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return poses of frames under the number of their row of the labels."""
    return {str(row): frame for row, frame in zip(rows, frames, strict=True)}
