"""Writing of pictures, and the room that text takes in them.

Their layouts are worked out in inches: matplotlib finds one by drawing everything three times.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

from dlcexp.files import replacing

DPI, POINTS_PER_INCH = 120, 72
# Quick to write; the files are a tenth larger than at best.
_PNG = {"compress_level": 2}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; what lies outside of it is cut off."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, pil_kwargs=_PNG)


def figure_pixels(figure: Figure) -> NDArray[np.uint8]:
    """Return a figure as it would be saved, uint8 (h, w, 3), BGR as OpenCV has it."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., 2::-1]


def text_inches(texts: Iterable[str], size: float) -> float:
    """Return the width of the longest of some lines of text, in a font of `size` points."""
    font = FontProperties(size=size)
    widths = (text_to_path.get_text_width_height_descent(text, font, False)[0] for text in texts)
    return max(widths, default=0.0) / POINTS_PER_INCH
