"""A page from its template: style, scripts and pictures inside, nothing to be fetched."""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cv2
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

# No picture is wider than that many pixels.
_WIDEST, _QUALITY = 900, 80


@dataclass(frozen=True)
class Picture:
    """An image as a data URI."""

    caption: str
    source: str
    width: int
    height: int


def render(template: str, **values: Any) -> str:
    """Render the whole page as HTML, plotly's script inside.

    Args:
        template: a file next to this one; it extends `base.html.jinja`.
        values: what the template asks for; text in them never becomes markup.
    """
    from plotly.offline import get_plotlyjs

    loader = PackageLoader("dlcexp.reports", "")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def source(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0])

    return environment.get_template(template).render(
        written=f"{datetime.now():%Y-%m-%d %H:%M}",
        style=source("page.css"),
        script=source("page.js"),
        plotly=Markup(get_plotlyjs()),
        **values,
    )


def embedded_picture(image: NDArray[Any], caption: str) -> Picture:
    """Make an image small enough for a page.

    Args:
        image: uint8 (h, w, 3), BGR as OpenCV has it.
        caption: what it shows.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _WIDEST / width)
    size = (round(width * scale), round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".webp", small, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    data = base64.b64encode(encoded.tobytes()).decode()
    return Picture(caption, f"data:image/webp;base64,{data}", *size)
