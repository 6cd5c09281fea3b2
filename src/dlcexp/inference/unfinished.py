"""Poses found so far, kept next to the result so that a stopped job resumes where it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlcexp.files import write_text
from dlcexp.inference.stream import Chunk

_NUMBER = np.dtype("<f4")


class Unfinished:
    """An append-only file of one row per frame, and a description of what it was made with.

    A row is 1 for a readable frame or 0, then the poses of each head. A row that a kill cut off is
    written again; rows made with a different description are deleted.

    Args:
        path: of the file; its description is next to it.
        made_with: what the poses depend on, as plain values.
        shapes: {head: shape of the poses in a frame}.
    """

    def __init__(
        self, path: Path, made_with: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self.path = path
        self.shapes = shapes
        self._description = path.with_suffix(".json")
        self._width = 1 + sum(int(np.prod(shape)) for shape in shapes.values())
        text = json.dumps(made_with, sort_keys=True, indent=1)
        if not self._is_of(text):
            self.remove()
            write_text(self._description, text)

    @property
    def frames(self) -> int:
        """Number of frames that are done."""
        return self._size // (self._width * _NUMBER.itemsize)

    def append(self, chunk: Chunk) -> None:
        """Add the poses of the frames that follow."""
        rows = [chunk.readable[:, None].astype(_NUMBER)]
        rows += [chunk.poses[head].reshape(len(rows[0]), -1) for head in self.shapes]
        with self.path.open("ab") as file:
            file.truncate(self.frames * self._width * _NUMBER.itemsize)
            file.write(np.concatenate(rows, axis=1).astype(_NUMBER).tobytes())

    def all(self) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float32]]]:
        """Return which frames were readable, (frames,), and poses {head: (frames, ...)}."""
        numbers = np.fromfile(self.path, _NUMBER) if self.path.is_file() else np.zeros(0, _NUMBER)
        rows = numbers[: self.frames * self._width].reshape(-1, self._width)
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()])[:-1]
        parts = np.split(rows[:, 1:], ends, axis=1)
        return rows[:, 0] > 0, {
            head: part.reshape(-1, *shape)
            for (head, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def remove(self) -> None:
        """Delete both files: the job is done, or begins again."""
        self.path.unlink(missing_ok=True)
        self._description.unlink(missing_ok=True)

    @property
    def _size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def _is_of(self, text: str) -> bool:
        try:
            return self._description.read_text(encoding="utf-8") == text
        except (OSError, UnicodeDecodeError):
            return False
