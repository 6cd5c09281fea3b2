"""A video with the poses drawn into it."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from dlcexp.data.cache import Image
from dlcexp.files import replacing
from dlcexp.inference.video import Video

# Radius of a point and width of a link, as fractions of the shorter side.
_RADIUS = 1 / 130
_LINK = 1 / 400
_LINK_COLOUR = (235, 235, 235)
# libx264's measure of quality: visually lossless.
_QUALITY = "18"


class PoseDrawing:
    """Draws poses into frames, a colour for each keypoint.

    Args:
        keypoints: how many an individual has.
        links: pairs of keypoints to connect.
        pcutoff: confidence from which a keypoint is drawn.
    """

    def __init__(self, keypoints: int, links: Sequence[tuple[int, int]], pcutoff: float) -> None:
        self.links = links
        self.pcutoff = pcutoff
        colours = colormaps["rainbow"](np.linspace(0, 1, max(keypoints, 1)))[:, :3]
        self.colours = [tuple(map(int, 255 * colour)) for colour in colours]

    def __call__(self, image: Image, poses: NDArray[np.float32]) -> None:
        """Draw poses (individuals, keypoints, 3) into an image uint8 (h, w, 3) RGB."""
        side = min(image.shape[:2])
        radius, width = max(2, round(side * _RADIUS)), max(1, round(side * _LINK))
        for pose in poses:
            sure = np.isfinite(pose).all(axis=-1) & (pose[:, 2] >= self.pcutoff)
            points = [(round(float(x)), round(float(y))) for x, y in np.nan_to_num(pose[:, :2])]
            for start, end in self.links:
                if sure[start] and sure[end]:
                    cv2.line(image, points[start], points[end], _LINK_COLOUR, width, cv2.LINE_AA)
            for number in np.flatnonzero(sure):
                cv2.circle(
                    image, points[number], radius, self.colours[number], cv2.FILLED, cv2.LINE_AA
                )


def write_labelled_video(
    video: Video,
    poses: NDArray[np.float32],
    drawing: PoseDrawing,
    path: Path,
    advance: Callable[[int], Any] = lambda frames: None,
) -> None:
    """Write a copy of a video with poses drawn into it; a black frame where one is unreadable.

    Args:
        poses: (frames, individuals, keypoints, 3).
        path: an .mp4, H.264.
        advance: called with the number of frames that were drawn since.
    """
    width, height = video.size
    even = (width - width % 2, height - height % 2)  # as H.264 in its common form demands
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", Fraction(video.fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = *even, "yuv420p"
        stream.options = {"crf": _QUALITY, "preset": "veryfast"}
        for image, found in zip(video.read(), poses, strict=True):
            frame = np.zeros((height, width, 3), np.uint8) if image is None else image
            drawing(frame, found)
            frame = np.ascontiguousarray(frame[: even[1], : even[0]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            advance(1)
        container.mux(stream.encode())
