"""Poses of the animals in image files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import nn

from dlcexp.config.build import allowing
from dlcexp.data.loading import FrameData
from dlcexp.data.splits import Split
from dlcexp.deeplabcut.labels import Labels
from dlcexp.deeplabcut.project import IMAGE_SUFFIXES
from dlcexp.errors import SnapshotError, UserError
from dlcexp.evaluation.boxes import find_boxes
from dlcexp.evaluation.predict import predict_crops, predict_frames
from dlcexp.training.hardware import choose_hardware
from dlcexp.training.run import Run


def predict(
    run: Run | str | Path,
    source: str | Path | Iterable[str | Path],
    *,
    snapshot: Path | None = None,
) -> dict[str, np.ndarray]:
    """Find the animals in images.

    Args:
        run: a finished run, or its folder.
        source: an image, a folder of images, or several paths of images.
        snapshot: weights to use; None: the best of the run.

    Returns:
        {path of the image: float32 (individuals, bodyparts, 3)}: x and y in px of the image,
        confidence; NaN where no further individual was found.

    Raises:
        UserError: there are no images.
        ProjectError: an image cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    images = _images(source)
    device = choose_hardware(run.cfg).device
    data = _unlabelled(run.cfg, images)
    with allowing(run.cfg.allow_targets):
        model = run.model(snapshot).to(device)
        if data.top_down:
            poses = _top_down(run, model, data, device)
        else:
            poses = predict_frames(model, data.frames("test"), device)
    return {str(image): pose for image, pose in zip(images, poses, strict=True)}


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


def _unlabelled(cfg: DictConfig, images: list[Path]) -> FrameData:
    """The images as frames without labels."""
    metadata = cfg.metadata
    individuals, bodyparts = metadata.num_individuals, metadata.num_bodyparts
    labels = Labels(
        names=tuple(map(str, images)),
        images=tuple(images),
        folders=tuple(image.parent.name for image in images),
        keypoints=np.full((len(images), individuals, bodyparts, 2), np.nan),
        unique=np.full((len(images), metadata.num_unique_bodyparts, 2), np.nan),
    )
    return FrameData(
        cfg,
        labels,
        Split(train=(), test=tuple(range(len(images)))),
        bodyparts=metadata.bodyparts,
        unique_bodyparts=metadata.unique_bodyparts,
    )
