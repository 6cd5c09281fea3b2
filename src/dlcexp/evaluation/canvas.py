"""How pictures are written, and how much room text takes in them.

Their layouts are worked out in inches: matplotlib finds one by drawing everything three times.
"""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from dlcexp.files import replacing

DPI, POINTS_PER_INCH = 120, 72
# Quick to write; the files are a tenth larger than at best.
_PNG = {"compress_level": 2}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; what lies outside of it is cut off."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, pil_kwargs=_PNG)


def text_inches(texts: Iterable[str], size: float) -> float:
    """Width of the longest of some lines of text, in a font of `size` points."""
    font = FontProperties(size=size)
    widths = (text_to_path.get_text_width_height_descent(text, font, False)[0] for text in texts)
    return max(widths, default=0.0) / POINTS_PER_INCH
