"""Poses of the animals in image files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from dlcexp.config.build import allowing
from dlcexp.config.menu import effective_menu
from dlcexp.data.augmentation import build_pipeline
from dlcexp.data.cache import shared_cache
from dlcexp.data.dataset import PoseDataset
from dlcexp.deeplabcut.labels import Labels
from dlcexp.deeplabcut.project import IMAGE_SUFFIXES
from dlcexp.errors import UserError
from dlcexp.evaluation.predict import predict_frames
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
    with allowing(run.cfg.allow_targets):
        model = run.model(snapshot).to(device)
        poses = predict_frames(model, _frames(run.cfg, images), device)
    return {str(image): pose for image, pose in zip(images, poses, strict=True)}


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


def _frames(cfg: Any, images: list[Path]) -> PoseDataset:
    """The images as frames without labels, through the inference pipeline of the run."""
    tree: Any = OmegaConf.to_container(cfg)
    data, metadata = tree["data"], tree["metadata"]
    individuals, bodyparts = metadata["num_individuals"], metadata["num_bodyparts"]
    labels = Labels(
        names=tuple(map(str, images)),
        images=tuple(images),
        folders=tuple(image.parent.name for image in images),
        keypoints=np.full((len(images), individuals, bodyparts, 2), np.nan),
        unique=np.full((len(images), metadata["num_unique_bodyparts"], 2), np.nan),
    )
    pipeline = build_pipeline(
        effective_menu(data, "inference"),
        bodyparts=metadata["bodyparts"],
        unique_bodyparts=metadata["unique_bodyparts"],
        training=False,
        colormode=data["colormode"],
    )
    return PoseDataset(
        labels,
        range(len(images)),
        pipeline,
        with_center_keypoints=tree["with_center_keypoints"],
        seed=tree["seed"],
        # An image is read once here; a cache would only hold memory.
        cache=shared_cache(0),
    )
