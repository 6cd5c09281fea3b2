"""Score a model on the frames of an experiment."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from dlcexp.data.loading import PoseData
from dlcexp.evaluation.metrics import evaluate_poses, mean_pose_error
from dlcexp.evaluation.predict import predict_heads

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "test")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model finds in the frames of each split, and how good that is.

    Attributes:
        metrics: {split: {metric: value}}; see `evaluate_poses`, and `rmse_mean_pose` (px), the
            error of always predicting the mean of the training poses.
        poses: {split: float32 (frames, individuals, bodyparts, 3)}: px of the original image,
            confidence.
        names: {split: names of its frames}.
    """

    metrics: dict[str, dict[str, float]]
    poses: dict[str, np.ndarray]
    names: dict[str, tuple[str, ...]]

    def to_json(self) -> str:
        """The metrics as JSON; NaN (nothing to average) is null."""
        plain = {
            split: {key: value if math.isfinite(value) else None for key, value in scores.items()}
            for split, scores in self.metrics.items()
        }
        return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def evaluate_model(
    model: torch.nn.Module,
    data: PoseData,
    cfg: Any,
    device: torch.device | str,
    *,
    splits: Sequence[SplitName] = SPLITS,
    batch_size: int = 1,
    progress: bool = False,
) -> Evaluation:
    """Predict the frames of each split and score them as `cfg.evaluation` says.

    Args:
        model: a `PoseModel` on `device`; its training mode is as before afterwards.
        data: project, labels and split.
        cfg: the resolved tree.
        splits: which frames.
        batch_size: frames at once, as far as their sizes are equal.
        progress: draw a bar, if there is a terminal.
    """
    metrics: dict[str, dict[str, float]] = {}
    poses: dict[str, np.ndarray] = {}
    names: dict[str, tuple[str, ...]] = {}
    for split in splits:
        heads = predict_heads(
            model,
            data.frames(split),
            device,
            batch_size=batch_size,
            description=f"evaluating {split} frames" if progress else "",
        )
        empty = np.zeros((0, len(data.project.individuals), len(data.project.bodyparts), 3))
        poses[split] = heads.get("bodypart", empty.astype(np.float32))
        names[split] = tuple(data.labels.names[i] for i in getattr(data.split, split))
        metrics[split] = score_split(data, cfg.evaluation, split, poses[split], heads)
    return Evaluation(metrics, poses, names)


def score_split(
    data: PoseData,
    settings: Any,
    split: SplitName,
    poses: np.ndarray,
    heads: Mapping[str, np.ndarray],
) -> dict[str, float]:
    """Metrics of one split.

    Args:
        data: project, labels and split.
        settings: `cfg.evaluation`; `comparison_bodyparts` restricts labels and predictions to
            these bodyparts before anything is matched or scored.
        split: which frames.
        poses: predictions (frames, n, k, 3) in px of the original images.
        heads: may hold `unique_bodypart` (frames, 1, u, 3).
    """
    rows = list(getattr(data.split, split))
    training = list(data.split.train)
    kept = _selected(data.project.bodyparts, settings.comparison_bodyparts)
    unique_kept = _selected(data.project.unique_bodyparts, settings.comparison_bodyparts)
    labels = data.labels.keypoints[:, :, kept]
    unique_labels = data.labels.unique[:, None, unique_kept]
    unique = heads.get("unique_bodypart")
    scores = evaluate_poses(
        _by_row(rows, labels[rows]),
        _by_row(rows, poses[:, :, kept]),
        bodyparts=[data.project.bodyparts[k] for k in kept],
        pcutoff=settings.pcutoff,
        oks_sigma=settings.oks_sigma,
        oks_bbox_margin=settings.oks_bbox_margin,
        pck_thresholds=settings.pck_thresholds,
        single_animal=not (data.project.multianimal or settings.force_multi_animal),
        unique_bodyparts=[data.project.unique_bodyparts[k] for k in unique_kept],
        unique_ground_truth=_by_row(rows, unique_labels[rows]) if unique is not None else None,
        unique_predictions=_by_row(rows, unique[:, :, unique_kept]) if unique is not None else None,
    )
    reference = mean_pose_error(labels[training], labels[rows])
    return {**scores, "rmse_mean_pose": reference}


def _selected(bodyparts: Sequence[str], comparison: str | Sequence[str]) -> list[int]:
    """Positions of the bodyparts to be compared."""
    wanted = bodyparts if comparison == "all" else comparison
    return [k for k, bodypart in enumerate(bodyparts) if bodypart in wanted]


def _by_row(rows: Sequence[int], frames: np.ndarray) -> dict[str, np.ndarray]:
    return {str(row): frame for row, frame in zip(rows, frames, strict=True)}
