"""Pictures of augmented training batches with the labels and targets of the pose model."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from dlcexp.config.build import allowing, build
from dlcexp.data.loading import PoseData
from dlcexp.files import replacing

logger = logging.getLogger(__name__)

# Inches of one picture in the grid, and most pictures in a row.
_SIDE = 2.6
_COLUMNS = 8
_DPI = 110


def browse(cfg: DictConfig, path: Path, batches: int = 1) -> Path:
    """Draw the first training batches of an experiment.

    The first row shows the augmented images with their labels; conditional top-down also the pose
    that is to be corrected, as crosses. Below is, for each target map, its largest value over all
    channels on top of the image.

    Args:
        cfg: the validated, resolved tree.
        path: the picture.
        batches: how many batches of the first epoch.

    Returns:
        `path`.

    Raises:
        ConfigError: no training frame has a labelled animal.
        ProjectError: an image cannot be read.
    """
    logger.info("reading the project and building the model")
    with allowing(cfg.get("allow_targets") or []):
        torch.manual_seed(int(cfg.seed))
        data = PoseData(cfg)
        model = build(cfg.model, key="model").eval()
        loader = data.train_loader()
        pictures = []
        logger.info("augmenting images")
        for number, batch in zip(range(batches), loader, strict=False):
            conditions = [batch["conditions"]] if "conditions" in batch else []
            with torch.no_grad():
                targets = model.targets(model(batch["image"], *conditions), batch)
            maps = dict(_maps(targets))
            to_image = loader.dataset.pipeline.to_image  # type: ignore[attr-defined]
            for place, image in enumerate(batch["image"]):
                labels = {name: batch[name][place].numpy() for name in _LABELS if name in batch}
                shown = {name: map_[place] for name, map_ in maps.items()}
                pictures.append((to_image(image.numpy()), labels, shown))
            logger.info("batch %d of %d", number + 1, batches)
    logger.info("drawing %d images into %s", len(pictures), path)
    _draw(pictures, list(data.bodyparts), list(data.unique_bodyparts), path)
    return path


# Keys of a batch that are points.
_LABELS = ("keypoints", "keypoints_unique", "conditions")


def _maps(targets: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Largest absolute value over the channels of each target map: (b, h, w).

    The distributions of SimCC over x and over y (b, k, bins) are shown as (b, k, bins).
    """
    for name, value in targets.items():
        if isinstance(value, Mapping):
            yield from _maps(value, f"{prefix}{name}." if name != "target" else prefix)
        elif name == "target" and isinstance(value, Tensor) and value.ndim >= 3:
            values = value.detach().float().abs()
            yield prefix.rstrip("."), (values.amax(dim=1) if value.ndim == 4 else values).numpy()


def _draw(
    pictures: list[tuple[NDArray[Any], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]],
    bodyparts: list[str],
    unique_bodyparts: list[str],
    path: Path,
) -> None:
    columns = min(_COLUMNS, len(pictures))
    names = list(pictures[0][2])
    bands = -(-len(pictures) // columns)
    rows = bands * (1 + len(names))
    figure = Figure((columns * _SIDE, rows * _SIDE + 0.6), dpi=_DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    colours = colormaps["rainbow"](np.linspace(0, 1, max(len(bodyparts), 1)))
    for number, (image, labels, maps) in enumerate(pictures):
        band, column = divmod(number, columns)
        top = band * (1 + len(names))
        _image(axes[top, column], image, labels, colours)
        for below, name in enumerate(names, start=1):
            _map(axes[top + below, column], image, maps[name], name if column == 0 else "")
    handles = [
        axes[0, 0].plot([], [], "o", color=colour, label=name)[0]
        for name, colour in zip(bodyparts, colours, strict=True)
    ]
    if unique_bodyparts:
        label = ", ".join(unique_bodyparts)
        handles += axes[0, 0].plot([], [], "ws", markeredgecolor="black", label=label)
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=7, frameon=False)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _image(
    axis: Axes, image: NDArray[Any], labels: dict[str, NDArray[Any]], colours: NDArray[Any]
) -> None:
    axis.imshow(image)
    for animal in labels["keypoints"]:
        points = animal[: len(colours)]  # without the centre
        x, y, seen = points[:, 0], points[:, 1], points[:, 2] > 0
        axis.scatter(x[seen], y[seen], s=14, c=colours[seen], linewidths=0.5, edgecolors="black")
    x, y, seen = labels["keypoints_unique"].T
    axis.scatter(x[seen > 0], y[seen > 0], s=14, c="white", marker="s", edgecolors="black")
    for given in labels.get("conditions", ()):
        x, y, seen = given[:, 0], given[:, 1], given[:, 2] > 0
        axis.scatter(x[seen], y[seen], s=22, c=colours[seen], marker="x", linewidths=1)
    axis.set_xlim(-0.5, image.shape[1] - 0.5)
    axis.set_ylim(image.shape[0] - 0.5, -0.5)


def _map(axis: Axes, image: NDArray[Any], values: NDArray[Any], name: str) -> None:
    height, width = image.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    # A target map has the aspect of its image; a distribution of SimCC has not.
    is_map = abs(values.shape[1] / values.shape[0] - width / height) < 0.1 * width / height
    if is_map:
        axis.imshow(image.mean(axis=-1), cmap="gray", extent=extent)
    strength = values / max(float(values.max()), 1e-9)
    alpha = 0.25 + 0.65 * strength if is_map else None
    axis.imshow(values, cmap="magma", extent=extent, alpha=alpha, interpolation="nearest")
    axis.set_title(name, fontsize=8, loc="left")
