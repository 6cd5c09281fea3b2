"""Poses of the animals in image files."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dlcexp.config.build import allowing
from dlcexp.config.composition import modified, quoted
from dlcexp.data.loading import FrameData, unlabelled_frames
from dlcexp.deeplabcut.project import IMAGE_SUFFIXES
from dlcexp.errors import ConfigError, SnapshotError, UserError, nearest
from dlcexp.evaluation.boxes import find_boxes
from dlcexp.evaluation.predict import predict_crops, predict_heads
from dlcexp.training.conditions import ConditionSource, condition_source
from dlcexp.training.hardware import choose_hardware
from dlcexp.training.run import Run


def predict(
    run: Run | str | Path,
    source: str | Path | Iterable[str | Path],
    *,
    snapshot: Path | None = None,
    conditions: str | int | Path | None = None,
    head: str = "bodypart",
) -> dict[str, np.ndarray]:
    """Find the animals in images.

    Args:
        run: a finished run, or its folder.
        source: an image, a folder of images, or several paths of images.
        snapshot: weights to use; None: the best of the run.
        conditions: conditional top-down, what tells of the animals, in place of the run's own:
            a bottom-up run folder, the number of a shuffle, or a file that has these images.
        head: "unique_bodypart" for the bodyparts that belong to no individual.

    Returns:
        {path of the image: float32 (individuals, bodyparts, 3)}: x and y in px of the image,
        confidence; NaN where no further individual was found. In a project with identity, each
        animal is in the place of its individual. (1, unique bodyparts, 3) for that head.

    Raises:
        UserError: there are no images, or the model has no such head.
        ProjectError: an image cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if conditions is not None:
        run = replace(run, cfg=modified(run.cfg, [f"conditions={quoted(conditions)}"]))
    _check_head(run, head)
    images = _images(source)
    device = choose_hardware(run.cfg).device
    data = unlabelled_frames(run.cfg, images)
    with allowing(run.cfg.allow_targets):
        given = condition_source(run.cfg)
        model = run.model(snapshot).to(device)
        if data.conditional:
            poses = _conditional(run, model, data, given, device)
        elif data.top_down:
            poses = _top_down(run, model, data, device)
        else:
            poses = predict_heads(model, data.frames("test"), device)[head]
    return {str(image): pose for image, pose in zip(images, poses, strict=True)}


def _check_head(run: Run, head: str) -> None:
    finding = [name for name in run.cfg.model.heads if name != "identity"]
    if head not in finding:
        raise UserError(
            f"head: the model has no {head!r} that finds keypoints; it has {', '.join(finding)}."
            f"{nearest(head, finding)}"
        )


def _top_down(
    run: Run, model: nn.Module, data: FrameData, device: torch.device
) -> NDArray[np.float32]:
    """Poses (images, individuals, bodyparts, 3) of the animals that the detector finds.

    Raises:
        SnapshotError: the run has no detector.
    """
    detector = run.detector(device)
    if detector is None:
        raise SnapshotError(
            f"{run.folder} has no detector to find the animals with: train one "
            "(train.stages=[detector]), or take one over (detector.snapshot=PATH)."
        )
    individuals, bodyparts = data.labels.keypoints.shape[1:3]
    boxes = find_boxes(detector, data.detector_frames("test"), device, individuals)
    size = (individuals, bodyparts)
    return predict_crops(model, data.crops(boxes), data.split.test, size, device)


def _conditional(
    run: Run,
    model: nn.Module,
    data: FrameData,
    source: ConditionSource | None,
    device: torch.device,
) -> NDArray[np.float32]:
    """Poses (images, individuals, bodyparts, 3) of the animals that the conditions tell of.

    Raises:
        ConfigError: the run has no conditions.
    """
    if source is None:
        raise ConfigError(
            "conditions",
            f"{run.folder} was trained without, and a conditional model needs poses to start from. "
            "Give conditions=, a bottom-up run folder, the number of a shuffle or a file.",
        )
    given = source.conditions(data, data.split.test, device)
    size = data.labels.keypoints.shape[1:3]
    return predict_crops(model, data.conditional_crops(given), data.split.test, size, device)


def _images(source: str | Path | Iterable[str | Path]) -> list[Path]:
    if not isinstance(source, str | Path):
        images = [Path(path).expanduser() for path in source]
    else:
        path = Path(source).expanduser()
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        images = [image for image in inside if image.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise UserError(
            f"source: no image in {str(source)!r} ({', '.join(sorted(IMAGE_SUFFIXES))})."
        )
    return images
