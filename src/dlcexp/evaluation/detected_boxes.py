"""Boxes that a detector puts around animals, and how good they are."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from dlcexp.data.dataset import Sample
from dlcexp.data.loading import PoseData
from dlcexp.data.splits import SplitName
from dlcexp.evaluation.model_poses import in_evaluation, to_original, with_progress

# Row of the labels to boxes (m, 5): x, y, width, height in px of the original image, score.
Boxes = dict[int, np.ndarray]

# Mean average precision as COCO measures it, in percent.
DETECTOR_METRICS = ("mAP@50:95", "mAP@50")


def evaluate_detector(
    detector: torch.nn.Module,
    data: PoseData,
    device: torch.device | str,
    *,
    splits: Sequence[SplitName] | None = None,
    progress: bool = False,
) -> tuple[dict[str, dict[str, float]], dict[str, Boxes]]:
    """Find the animals in the frames of each split, and score the boxes.

    As many boxes of a frame are scored as it can have animals: those that the pose model gets.

    Args:
        detector: a `Detector` on `device`; its training mode is as before afterwards.
        data: project, labels and split.
        device: where to compute.
        splits: which frames; None: all parts of the split.
        progress: draw a bar, if there is a terminal.

    Returns:
        {split: {metric: percent}} with the names of `DETECTOR_METRICS`, NaN where no frame has a
        labelled animal; {split: boxes}.
    """
    scores: dict[str, dict[str, float]] = {}
    boxes: dict[str, Boxes] = {}
    for split in splits or data.split.parts:
        description = f"detecting animals in {split} frames" if progress else ""
        frames = data.detector_frames(split)
        boxes[split] = find_boxes(
            detector, frames, device, len(data.project.individuals), description
        )
        scores[split] = box_precision(data, boxes[split])
    return scores, boxes


def find_boxes(
    detector: torch.nn.Module,
    frames: Dataset[Sample],
    device: torch.device | str,
    max_animals: int,
    description: str = "",
) -> Boxes:
    """Find the best boxes of each frame, in px of the original image, best first.

    Args:
        detector: a `Detector` on `device`; its training mode is as before afterwards.
        frames: whole frames through the inference pipeline.
        device: where to compute.
        max_animals: most boxes to keep in a frame.
        description: label of a progress bar, drawn on a terminal only; empty: no bar.
    """
    found: Boxes = {}
    with in_evaluation(detector):
        for sample in with_progress(frames, description):
            (result,) = detector(sample["image"][None].to(device))
            boxes = result["boxes"][:max_animals].cpu().double().numpy()
            scores = result["scores"][:max_animals].cpu().double().numpy()
            corner = to_original(boxes[:, :2], sample)
            size = boxes[:, 2:] * sample["scale"].numpy()
            found[int(sample["index"])] = np.concatenate([corner, size, scores[:, None]], axis=1)
    return found


def box_precision(data: PoseData, boxes: Boxes) -> dict[str, float]:
    """Compute the mean average precision of boxes in percent, as pycocotools does."""
    if not boxes:
        return dict.fromkeys(DETECTOR_METRICS, np.nan)
    from torchmetrics.detection import MeanAveragePrecision

    # The first of several processes evaluates alone: there is no process to synchronise with.
    metric = MeanAveragePrecision(box_format="xywh", sync_on_compute=False)
    for row, found in boxes.items():
        labelled = data.ground_truth_boxes(row)
        truth = torch.from_numpy(labelled[np.isfinite(labelled).all(axis=1)])
        metric.update(
            [
                {
                    "boxes": torch.from_numpy(found[:, :4]),
                    "scores": torch.from_numpy(found[:, 4]),
                    "labels": torch.zeros(len(found), dtype=torch.int64),
                }
            ],
            [{"boxes": truth, "labels": torch.zeros(len(truth), dtype=torch.int64)}],
        )
    result = metric.compute()
    # torchmetrics returns -1 where there is nothing to be found.
    values = [float(result[name]) for name in ("map", "map_50")]
    percent = [100 * value if value >= 0 else np.nan for value in values]
    return dict(zip(DETECTOR_METRICS, percent, strict=True))
