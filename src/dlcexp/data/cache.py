"""Decoded images, kept in memory within a budget and shared by all data sets of the process."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import ProjectError

Image = NDArray[np.uint8]


def read_image(path: Path) -> Image:
    """Decode an image as uint8 (height, width, 3) RGB.

    Grey images get three equal channels, transparency is dropped, 16 bits become 8, and the
    orientation in the EXIF header is applied: all as in the OpenCV call that DeepLabCut makes.

    Raises:
        ProjectError: the file is missing, unreadable or no image.
    """
    try:
        # Not cv2.imread: on Windows it cannot open names outside the system's code page.
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise ProjectError(f"{path}: cannot be read ({error.strerror or error}).") from error
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except cv2.error as error:
        raise ProjectError(f"{path}: broken image ({error.err}).") from error
    if image is None:
        size = f"{content.size} bytes that no image format knows" if content.size else "empty"
        raise ProjectError(f"{path}: not an image, or broken ({size}).")
    return np.ascontiguousarray(image[..., ::-1], dtype=np.uint8)


class ImageCache:
    """Images by path, the least recently used dropped first; safe to use from several threads.

    A file that changed on disk (time or size) is decoded again. Images are read-only arrays.

    Args:
        budget: bytes of decoded images to keep at most; 0 keeps none.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.bytes = 0
        self._images: OrderedDict[tuple[str, int, int], Image] = OrderedDict()
        self._lock = Lock()

    def __call__(self, path: Path) -> Image:
        """The image at `path`, uint8 (height, width, 3) RGB, read-only.

        Raises:
            ProjectError: as `read_image`.
        """
        if not self.budget:
            return read_image(path)
        try:
            status = path.stat()
        except OSError as error:
            raise ProjectError(f"{path}: cannot be read ({error.strerror or error}).") from error
        key = (str(path), status.st_mtime_ns, status.st_size)
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
                return self._images[key]
        image = read_image(path)  # outside the lock, so that threads decode side by side
        image.flags.writeable = False
        self._keep(key, image)
        return image

    def limit(self, budget: int) -> None:
        """Change the budget, and drop what no longer fits."""
        with self._lock:
            self.budget = budget
            self._shrink()

    def share_out(self, processes: int) -> None:
        """Keep a share of the budget, behind a new lock, in each of several forked processes."""
        self._lock = Lock()
        self.limit(self.budget // processes)

    def _keep(self, key: tuple[str, int, int], image: Image) -> None:
        with self._lock:
            if key not in self._images and image.nbytes <= self.budget:
                self._images[key] = image
                self.bytes += image.nbytes
                self._shrink()

    def _shrink(self) -> None:
        while self.bytes > self.budget:
            _, image = self._images.popitem(last=False)
            self.bytes -= image.nbytes

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle as the shared cache of the new process, which is empty if it is not forked."""
        return shared_cache, (self.budget,)


class DecodedImages(ImageCache):
    """Images that are in memory already, such as frames of a video.

    Args:
        images: by the path under which data sets ask for them.
    """

    def __init__(self, images: Mapping[Path, Image]) -> None:
        super().__init__(0)
        self._decoded = images

    def __call__(self, path: Path) -> Image:
        """The image of that path."""
        return self._decoded[path]


_shared = ImageCache(0)


def shared_cache(budget: int) -> ImageCache:
    """Return the cache that all runs in this process share; its budget is the latest caller's."""
    _shared.limit(budget)
    return _shared
