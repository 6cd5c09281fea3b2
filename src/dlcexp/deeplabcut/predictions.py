"""Predicted poses in DeepLabCut's files: tables (.h5, .csv) of one or several animals, and JSON.

A table has the columns of a label table and a likelihood for each point. The JSON is what
DeepLabCut takes as conditions: `{"labeled-data/video/img.png": poses}`, with poses as a list of
animals, of bodyparts, of x, y, score.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlcexp.config.schema import PREDICTION_FILES
from dlcexp.errors import ProjectError
from dlcexp.project.dlc_tables import read_table
from dlcexp.vocabulary import UNIQUE

_FRAME_NUMBER = re.compile(r"\D*0*(\d+)")


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predicted poses of a file.

    Attributes:
        source: the file.
        bodyparts: their names; None where the file does not have them.
        poses: path of an image, with forward slashes and as the file has it, or number of the
            frame in a video, to (animals, bodyparts, 3): x px, y px, score; NaN where missing.
    """

    source: Path
    bodyparts: tuple[str, ...] | None
    poses: Mapping[str | int, NDArray[np.float64]]

    def of(self, name: str) -> NDArray[np.float64] | None:
        """Return poses in an image, by its path with forward slashes; None if there are none.

        The image is found by the longest end that its path shares with one in the file, which must
        be a whole path for one of them, such as `video/img.png`. In the file of a video it is
        found by its number (`img0012.png`), if its folder bears the name of the video.
        """
        parts = PureWindowsPath(name).parts
        for start in range(len(parts)):
            found = self._by_end.get(parts[start:])
            if found is not None:
                return self.poses[found]
        return self._of_video(parts)

    @cached_property
    def _by_end(self) -> dict[tuple[str, ...], str | int]:
        named = [(key, PureWindowsPath(key).parts) for key in self.poses if isinstance(key, str)]
        # Absolute paths, or those of another folder, are known by video and image.
        ends: dict[tuple[str, ...], str | int] = {path[-2:]: key for key, path in named if path[2:]}
        return ends | {path: key for key, path in named}

    def _of_video(self, parts: Sequence[str]) -> NDArray[np.float64] | None:
        number = _FRAME_NUMBER.match(Path(parts[-1]).stem)
        if number is None or len(parts) < 2:
            return None
        if self.source.stem != parts[-2] and not self.source.stem.startswith(f"{parts[-2]}DLC_"):
            return None
        return self.poses.get(int(number[1]))


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file, or raise a `ProjectError`."""
    if path.suffix.lower() not in PREDICTION_FILES:
        allowed = ", ".join(PREDICTION_FILES)
        raise ProjectError(f"{path}: is not a file of predictions ({allowed}).")
    if not path.is_file():
        raise ProjectError(f"{path}: there is no such file.")
    return _read_json(path) if path.suffix.lower() == ".json" else _read_poses(path)


def _read_json(path: Path) -> Predictions:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        poses: dict[str | int, NDArray[np.float64]] = {}
        for name, animals in content.items():
            array = np.asarray(animals, dtype=float)
            array = array.reshape(0, 0, 3) if array.size == 0 else array
            if array.ndim != 3 or array.shape[2] != 3:
                raise ValueError(f"{name} has the shape {array.shape}")
            poses[name] = array
    except (ValueError, TypeError) as error:
        raise ProjectError(
            f"{path}: cannot be read as predictions: {error}. It must be "
            '{"labeled-data/video/img.png": [[[x, y, score], ... of each bodypart], ... animal]}.'
        ) from error
    return Predictions(path, None, poses)


def _read_poses(path: Path) -> Predictions:
    table = read_table(path)
    keys = [tuple(map(str, column))[1:] for column in table.columns]
    if table.columns.nlevels == 3:
        keys = [("", *key) for key in keys]
    if not any(key[2] == "likelihood" for key in keys):
        raise ProjectError(f"{path}: has no likelihood; it holds labels and not predictions.")
    individuals = list(dict.fromkeys(key[0] for key in keys if key[0] != UNIQUE))
    bodyparts = list(dict.fromkeys(key[1] for key in keys if key[0] != UNIQUE))
    places = {key: place for place, key in enumerate(keys)}
    try:
        values = table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ProjectError(f"{path}: has a prediction that is not a number: {error}.") from None
    shape = (len(table), len(individuals), len(bodyparts), 3)
    poses = np.full(shape, np.nan)
    for animal, individual in enumerate(individuals):
        for part, bodypart in enumerate(bodyparts):
            for axis, coordinate in enumerate(("x", "y", "likelihood")):
                place = places.get((individual, bodypart, coordinate))
                if place is not None:
                    poses[:, animal, part, axis] = values[:, place]
    names = [_name(row) for row in table.index]
    return Predictions(path, tuple(bodyparts), dict(zip(names, poses, strict=True)))


def _name(row: Any) -> str | int:
    if isinstance(row, tuple):
        return "/".join(map(str, row))
    return int(row) if isinstance(row, int | np.integer) else str(row).replace("\\", "/")
