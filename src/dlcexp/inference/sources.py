"""The kinds of `source`: images, folders of images, videos, patterns."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from dlcexp.data.cache import Image, read_image
from dlcexp.errors import ConfigError, ProjectError, UserError, nearest
from dlcexp.files import expanded, names_in
from dlcexp.inference.video import Video
from dlcexp.project.frames import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".mpeg", ".mpg", ".mpv", ".m4v", ".wmv"}
)

# What makes a path a pattern.
_PATTERN = frozenset("*?[")


class Source(ABC):
    """Frames in order, from one place.

    Attributes:
        path: the video, or the folder of the images.
        names: of the frames, as the rows of a table are called: numbers in a video.
    """

    path: Path

    @property
    @abstractmethod
    def files(self) -> Sequence[Path]:
        """The video, or the image of each frame."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str | int]:
        """The name of each frame."""

    @abstractmethod
    def frame_path(self, number: int) -> Path:
        """Return a path for a frame: that of the image; in a video one that only names it."""

    @abstractmethod
    def read(self, start: int = 0) -> Iterator[Image | None]:
        """Yield the frames from `start` on, uint8 (height, width, 3) RGB; None if unreadable."""

    @abstractmethod
    def check(self) -> None:
        """Refuse frames that cannot be read, where that is known before reading.

        Raises:
            ProjectError: names the file.
        """

    @abstractmethod
    def by_path(self, poses: np.ndarray) -> dict[str, np.ndarray]:
        """Return poses (frames, ...) by the path of the image, or of the video for all frames."""

    def __len__(self) -> int:
        return len(self.names)


class ImageSource(Source):
    """Image files, in their order.

    Args:
        images: their paths; at least one.
    """

    def __init__(self, images: Sequence[Path]) -> None:
        self.images = list(images)
        self.path = self.images[0].parent

    @property
    def files(self) -> Sequence[Path]:
        """The images."""
        return self.images

    @property
    def names(self) -> Sequence[str | int]:
        """The file name of each, with as many folders as make them unique."""
        return [image.as_posix() for image in self.images] if self._mixed else self._file_names

    def frame_path(self, number: int) -> Path:
        """Return the image."""
        return self.images[number]

    def read(self, start: int = 0) -> Iterator[Image | None]:
        """Decode one after the other."""
        for image in self.images[start:]:
            try:
                yield read_image(image)
            except ProjectError:
                yield None

    def check(self) -> None:
        """Decode what is suspicious, an empty or missing file, for its message."""
        for image in self.images:
            if not image.is_file() or not image.stat().st_size:
                read_image(image)

    def by_path(self, poses: np.ndarray) -> dict[str, np.ndarray]:
        """Return one entry per image."""
        return {str(image): pose for image, pose in zip(self.images, poses, strict=True)}

    @cached_property
    def _file_names(self) -> list[str]:
        return [image.name for image in self.images]

    @cached_property
    def _mixed(self) -> bool:
        return len({image.parent for image in self.images}) > 1


class VideoSource(Source):
    """A video.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def video(self) -> Video:
        """The opened video.

        Raises:
            ProjectError: it cannot be read.
        """
        return Video(self.path)

    @property
    def files(self) -> Sequence[Path]:
        """The video alone."""
        return [self.path]

    @property
    def names(self) -> Sequence[str | int]:
        """0, 1, 2, ..."""
        return range(self.video.frames)

    def frame_path(self, number: int) -> Path:
        """Return `video.mp4/000012`."""
        return self.path / f"{number:06d}"

    def read(self, start: int = 0) -> Iterator[Image | None]:
        """Decode in order."""
        return self.video.read(start)

    def check(self) -> None:
        """Open it."""
        _ = self.video

    def by_path(self, poses: np.ndarray) -> dict[str, np.ndarray]:
        """Return the video, all of its frames."""
        return {str(self.path): poses}


def find_sources(source: str | Path | Iterable[str | Path]) -> list[Source]:
    """Return the images of `source` as one, then each of its videos, each file once.

    Args:
        source: an image, a video, a folder, a pattern such as `videos/*.mp4`, or several of them.

    Raises:
        UserError: there is no image and no video, or not the one that is named.
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    files = list(dict.fromkeys(file for each in given for file in _files(expanded(each))))
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if not images and not videos:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
        shown = ", ".join(repr(str(each)) for each in given)
        raise UserError(f"source: no image or video in {shown or 'nothing'} ({kinds}).")
    return [*([ImageSource(images)] if images else []), *map(VideoSource, videos)]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.iterdir() if not each.name.startswith("."))
    if _PATTERN.intersection(str(path)) and not path.exists():
        root = Path(path.anchor or ".")
        return sorted(root.glob(str(path.relative_to(path.anchor))))
    if not path.exists():
        hint = nearest(path.name, names_in(path.parent))
        raise ConfigError("source", f"there is no {str(path)!r}.{hint}")
    return [path]
