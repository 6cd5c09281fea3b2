"""Pictures of single frames: what was labelled and what the model found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, withStroke

from dlcexp.evaluation.canvas import DPI, text_inches
from dlcexp.evaluation.ranking import assign

# The picture's longer side; larger views are shrunk before they are drawn.
VIEW_INCHES = 7.0
# Around the picture: room for numbers of pixels, two lines of title, and marks of the legend.
LEFT_INCHES, BOTTOM_INCHES, TOP_INCHES, LEGEND_INCHES = 0.45, 0.35, 0.5, 0.75
TITLE_SIZE = LEGEND_SIZE = 8.5
LEGEND_ROW_INCHES = 0.18
# Air around labels and predictions, as a fraction of what they span, and the least view in px.
AIR = 0.25
MIN_VIEW = 160
LEGEND_ROWS = 26
INDIVIDUAL_COLOURS = ("#ffffff", "#ffd400", "#00e5ff", "#ff5cf4", "#7dff5c", "#ff9352")
_OUTLINE = [withStroke(linewidth=3.2, foreground="black"), Normal()]


@dataclass(frozen=True, eq=False)
class Example:
    """One frame to be drawn.

    Attributes:
        image: uint8 (h, w, 3) RGB.
        truth: (n, k, 2) px, NaN where unlabelled.
        poses: (m, k, 3) px and confidence, NaN where absent.
        title: text above it.
        names: text next to each of the m poses; none where a name is empty.
        boxes: (m, 5) x, y, width, height px and score of a detector.
    """

    image: np.ndarray
    truth: np.ndarray
    poses: np.ndarray
    title: str
    names: Sequence[str]
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 5)))


@dataclass(frozen=True)
class Skeleton:
    """Properties shared by all pictures of a project."""

    bodyparts: Sequence[str]
    links: Sequence[tuple[str, str]]
    pcutoff: float

    @property
    def colours(self) -> np.ndarray:
        """One colour for each bodypart (k, 4), of the map that DeepLabCut uses too."""
        return colormaps["rainbow"](np.linspace(0, 1, max(len(self.bodyparts), 1)))


def draw_example(example: Example, skeleton: Skeleton) -> Figure:
    """Draw labels as crosses, predictions as dots (rings below pcutoff), and lines between them.

    The view is cut to where labels and predictions are.
    """
    left, top, right, bottom = _view(example)
    picture = example.image[top:bottom, left:right]
    scale = min(1.0, VIEW_INCHES * DPI / max(picture.shape[:2]))
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    inches = VIEW_INCHES / max(right - left, bottom - top)
    size = (inches * (right - left), inches * (bottom - top))
    signs = _signs(skeleton)
    figure, axes = _frame(size, example.title, [str(sign.get_label()) for sign in signs])
    axes.imshow(picture, extent=(left, right, bottom, top), interpolation="bilinear")
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.tick_params(labelsize=7, colors="0.4")
    axes.set_title(example.title, fontsize=TITLE_SIZE, loc="left")
    _draw_boxes(axes, example.boxes)
    _draw_animals(axes, example, skeleton)
    _draw_errors(axes, example)
    _draw_keypoints(axes, example, skeleton)
    figure.legend(handles=signs, loc="upper right", fontsize=LEGEND_SIZE, frameon=False)
    return figure


def _frame(size: tuple[float, float], title: str, labels: Sequence[str]) -> tuple[Figure, Axes]:
    """Return a figure with a place of `size` inches, and room for all that stands around it."""
    width, height = size
    beside = LEGEND_INCHES + text_inches(labels, LEGEND_SIZE)
    above = text_inches(title.split("\n"), TITLE_SIZE) + 0.1
    whole_width = LEFT_INCHES + max(width + beside, above)
    legend_height = LEGEND_ROW_INCHES * len(labels) + TOP_INCHES
    whole_height = max(TOP_INCHES + height + BOTTOM_INCHES, legend_height)
    figure = Figure(figsize=(whole_width, whole_height))
    FigureCanvasAgg(figure)
    bottom = whole_height - TOP_INCHES - height
    across = (LEFT_INCHES / whole_width, width / whole_width)
    up = (bottom / whole_height, height / whole_height)
    return figure, figure.add_axes((across[0], up[0], across[1], up[1]))


def _view(example: Example) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of the image to show, px."""
    height, width = example.image.shape[:2]
    corners = [example.boxes[:, :2], example.boxes[:, :2] + example.boxes[:, 2:4]]
    keypoints = [example.truth.reshape(-1, 2), example.poses[..., :2].reshape(-1, 2)]
    points = np.concatenate([*keypoints, *corners])
    points = points[np.isfinite(points).all(axis=1)]
    size = np.array([width, height])
    points = np.clip(points, 0, size) if len(points) else np.array([[0, 0], size])
    low, high = points.min(axis=0), points.max(axis=0)
    side = np.maximum((high - low) * (1 + 2 * AIR), MIN_VIEW)
    # No narrower than two to one, so that pictures are alike.
    side = np.minimum(np.maximum(side, side.max() / 2), size)
    start = np.clip((low + high - side) / 2, 0, size - side)
    left, top = np.floor(start).astype(int)
    right, bottom = np.ceil(start + side).astype(int)
    return int(left), int(top), int(min(right, width)), int(min(bottom, height))


def _draw_boxes(axes: Axes, boxes: np.ndarray) -> None:
    """Draw the box of each animal in its colour, with the score that the detector gives it."""
    for individual, (x, y, width, height, score) in enumerate(boxes):
        colour = INDIVIDUAL_COLOURS[individual % len(INDIVIDUAL_COLOURS)]
        outline = Rectangle((x, y), width, height, fill=False, color=colour, linestyle="--")
        axes.add_patch(outline)
        axes.annotate(
            f"{score:.2f}",
            (x + width, y + height),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            fontsize=7,
            color=colour,
            path_effects=_OUTLINE,
            annotation_clip=True,
        )


def _draw_animals(axes: Axes, example: Example, skeleton: Skeleton) -> None:
    """Draw the skeleton of each predicted animal in its colour, and its name."""
    place = {name: k for k, name in enumerate(skeleton.bodyparts)}
    links = [(place[a], place[b]) for a, b in skeleton.links if a in place and b in place]
    for individual, (pose, name) in enumerate(zip(example.poses, example.names, strict=True)):
        colour = INDIVIDUAL_COLOURS[individual % len(INDIVIDUAL_COLOURS)]
        for a, b in links:
            axes.plot(pose[[a, b], 0], pose[[a, b], 1], color=colour, linewidth=1.1, alpha=0.75)
        found = pose[np.isfinite(pose[:, 0])]
        if name and len(found):
            corner = found[:, :2].min(axis=0)
            axes.annotate(
                f"{name}: {found[:, 2].mean():.2f}",
                corner,
                xytext=(-4, 6),
                textcoords="offset points",
                fontsize=8,
                color=colour,
                path_effects=_OUTLINE,
                annotation_clip=True,
            )


def _draw_errors(axes: Axes, example: Example) -> None:
    """Draw a dotted line from each label to the prediction of its animal."""
    for animal, prediction in zip(*assign(example.truth, example.poses), strict=True):
        ends = np.stack([example.truth[animal], example.poses[prediction, :, :2]])
        axes.plot(*ends.transpose(2, 0, 1), color="red", linewidth=1.2, linestyle=":", zorder=3)


def _draw_keypoints(axes: Axes, example: Example, skeleton: Skeleton) -> None:
    for k, colour in enumerate(skeleton.colours):
        x, y, confidence = example.poses[:, k].T
        sure = confidence >= skeleton.pcutoff
        dot: Mapping[str, Any] = {"s": 34, "zorder": 4, "linewidths": 1.0}
        axes.scatter(x[sure], y[sure], color=[colour], edgecolors="white", **dot)
        hollow = {**dot, "linewidths": 1.6}
        axes.scatter(x[~sure], y[~sure], facecolors="none", edgecolors=[colour], **hollow)
        labels = example.truth[:, k]
        axes.plot(
            *labels.T,
            "+",
            color=colour,
            markersize=9,
            markeredgewidth=1.5,
            zorder=5,
            path_effects=_OUTLINE,
        )


def _signs(skeleton: Skeleton) -> list[Line2D]:
    """For the legend: what the signs mean, then the colours of the bodyparts."""
    cutoff = f"{skeleton.pcutoff:g}"
    sign: Mapping[str, Any] = {"color": "0.3", "linestyle": "none"}
    handles = [
        Line2D([], [], marker="+", markersize=9, markeredgewidth=1.5, label="label", **sign),
        Line2D([], [], marker="o", markersize=6, label=f"predicted, ≥ {cutoff}", **sign),
        Line2D(
            [], [], marker="o", markersize=6, mfc="none", label=f"predicted, < {cutoff}", **sign
        ),
        Line2D([], [], color="red", linewidth=1.2, linestyle=":", label="error"),
    ]
    shown = list(zip(skeleton.bodyparts, skeleton.colours, strict=False))[:LEGEND_ROWS]
    for bodypart, colour in shown:
        handles.append(
            Line2D([], [], marker="s", markersize=6, color=colour, linestyle="none", label=bodypart)
        )
    left_out = len(skeleton.bodyparts) - len(shown)
    if left_out > 0:
        handles.append(Line2D([], [], linestyle="none", label=f"and {left_out} more"))
    return handles
