"""Frames of a video, each in its place whatever the file has lost."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from dlcexp.data.cache import Image
from dlcexp.errors import ProjectError


class Video:
    """A video whose frames are numbered by their time stamps.

    The container lists the time stamp of every frame, damaged ones included. A frame that cannot
    be decoded is therefore known to be missing, and never shifts those behind it. Where time
    stamps are missing or stand twice, frames are numbered as they come.

    Args:
        path: the file.

    Attributes:
        frames: how many the container lists.
        fps: frames per second, on average.
        size: (width, height) px, as shown.

    Raises:
        ProjectError: the file is missing, holds no video, or is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise ProjectError(f"{path}: holds no video.")
                stream = container.streams.video[0]
                packets = container.demux(stream)
                stamps = [each.pts for each in packets if each.size and not each.is_discard]
                self.fps = float(stream.average_rate or stream.guessed_rate or 25)
                width, height = stream.codec_context.width, stream.codec_context.height
        except (av.error.FFmpegError, OSError) as error:
            raise ProjectError(f"{path}: cannot be read as a video ({_reason(error)}).") from error
        self.frames = len(stamps)
        known = [stamp for stamp in stamps if stamp is not None]
        self._stamps = sorted(known) if len(set(known)) == self.frames else None
        self.size = (width, height)
        first = next((image for image in self.read() if image is not None), None)
        if first is None:
            raise ProjectError(f"{path}: none of its {self.frames} frames can be decoded.")
        self.size = (first.shape[1], first.shape[0])

    def read(self, start: int = 0) -> Iterator[Image | None]:
        """Yield the frames from `start` on, uint8 (height, width, 3) RGB; None if unreadable."""
        due = start
        for number, frame in self._decoded(start):
            if number < due or number >= self.frames:
                continue
            yield from [None] * (number - due)
            yield None if frame.is_corrupt else _as_shown(frame)
            due = number + 1
        yield from [None] * (self.frames - due)

    def _decoded(self, start: int) -> Iterator[tuple[int, VideoFrame]]:
        """Decodable frames with their numbers, from one at or before `start` on."""
        numbers: dict[int | None, int] = {
            stamp: number for number, stamp in enumerate(self._stamps or [])
        }
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if self._stamps and 0 < start < self.frames:
                container.seek(self._stamps[start], stream=stream)
            count = 0
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                for frame in frames:
                    number = count if self._stamps is None else numbers.get(frame.pts)
                    count += 1
                    if number is not None:
                        yield number, frame


def _as_shown(frame: VideoFrame) -> Image:
    """Return the frame as RGB, rotated as the file prescribes for display."""
    image: Image = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
