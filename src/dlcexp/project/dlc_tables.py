"""The label tables of a DeepLabCut project, `CollectedData_*.h5` and `.csv`, as arrays."""

import csv
import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import ProjectError, nearest
from dlcexp.project.frames import LABELED_DATA, frame_name, keep_existing, video_folders
from dlcexp.project.hdf_tables import read_hdf
from dlcexp.project.model import Labels, Project
from dlcexp.text import first_line, listed

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

# The individual under which DeepLabCut files the bodyparts that exist once in a frame.
_UNIQUE = "single"
_SHOWN = 3


def load_dlc_labels(project: Project) -> Labels:
    """Read the label files of a DeepLabCut project; see `dlcexp.project.load_labels`."""
    files = [
        file for folder in video_folders(project.root) if (file := _label_file(folder, project))
    ]
    if not files:
        raise ProjectError(
            f"{project.root / LABELED_DATA}: no folder in it holds labels "
            f"(CollectedData_{project.scorer}.h5 or .csv)."
        )
    return keep_existing(_join([_read_video(file, project) for file in files]), project)


def read_table(path: Path) -> "pd.DataFrame":
    """Read a label table; column levels: scorer, [individuals,] bodyparts, coords, all as text.

    Raises:
        ProjectError: the file is broken, empty, or no label table.
    """
    if path.is_file() and not path.stat().st_size:
        raise ProjectError(f"{path}: is empty.")
    table = read_hdf(path) if path.suffix.lower() == ".h5" else _read_csv(path)
    if table.columns.nlevels not in (3, 4):
        raise ProjectError(
            f"{path}: is not a label table; its columns have {table.columns.nlevels} levels and not"
            " scorer, (individuals,) bodyparts, coords."
        )
    if not len(table):
        raise ProjectError(f"{path}: holds no frames.")
    return table


def _label_file(folder: Path, project: Project) -> Path | None:
    """Return the label file of the project's scorer, else the only other one; h5 before csv."""
    files = sorted(
        path
        for suffix in ("h5", "csv")
        for path in folder.glob(f"CollectedData_*.{suffix}")
        if not path.name.startswith(".")
    )
    stems = {path.stem for path in files}
    wanted = f"CollectedData_{project.scorer}"
    if wanted not in stems and len(stems) > 1:
        raise ProjectError(
            f"{folder}: has labels of several scorers ({', '.join(sorted(stems))}), and none of "
            f"{project.scorer!r}, the scorer in config.yaml.{nearest(wanted, stems)}"
        )
    files = [path for path in files if path.stem == wanted or wanted not in stems]
    return max(files, key=lambda path: path.suffix == ".h5", default=None)


def _read_csv(path: Path) -> "pd.DataFrame":
    """Read a csv with three or four header lines and the frame in one column or in three."""
    try:
        return _parse_csv(path)
    except (ValueError, OSError, csv.Error) as error:
        raise ProjectError(f"{path}: cannot be read as labels: {first_line(error)}") from error


def _parse_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    with path.open(encoding="utf-8-sig", newline="") as file:
        head = list(islice(csv.reader(file), 4))
    first = [line[0] if line else "" for line in head]
    if "coords" not in first:
        raise ValueError("its first lines are not scorer, (individuals,) bodyparts, coords")
    header = head[: first.index("coords") + 1]
    # The header leaves the columns of the index empty, but for the first.
    width = next((i for i, cell in enumerate(header[0][1:], start=1) if cell), len(header[0]))

    def read(columns: range, **kinds: Any) -> pd.DataFrame:
        table: pd.DataFrame = pd.read_csv(
            path, header=None, skiprows=len(header), usecols=columns, encoding="utf-8-sig", **kinds
        )
        return table

    # Names are read as text: a video may be called 007, or NA. Frames of a video have numbers.
    rows = read(range(width), dtype=str, keep_default_na=False)
    numbered = width == 1 and rows[0].str.isdecimal().all()
    index = pd.Index(rows[0].astype(int) if numbered else rows[0])
    return pd.DataFrame(
        read(range(width, len(header[0])), low_memory=False).to_numpy(),
        pd.MultiIndex.from_frame(rows) if width > 1 else index,
        pd.MultiIndex.from_arrays([line[width:] for line in header], names=first[: len(header)]),
    )


def _read_video(path: Path, project: Project) -> Labels:
    """Labels of one video folder; the images need not exist."""
    table = read_table(path)
    if (table.columns.nlevels == 4) != project.multianimal:
        several = "several animals" if table.columns.nlevels == 4 else "one animal"
        raise ProjectError(
            f"{path}: has labels of {several}, and {project.source} has multianimalproject: "
            f"{str(project.multianimal).lower()}."
        )
    columns = _Columns(table, path, project)
    columns.check()
    folder = path.parent.name
    names = [frame_name(row, folder) for row in table.index]
    kept = _first_of_each(names, path)
    animals = [columns.points(animal, project.bodyparts) for animal in project.individuals]
    return Labels(
        names=tuple(names[i] for i in kept),
        images=tuple(path.parent / PurePosixPath(names[i]).name for i in kept),
        folders=(folder,) * len(kept),
        keypoints=np.stack(animals, axis=1)[kept],
        unique=columns.points(_UNIQUE, project.unique_bodyparts)[kept],
    )


class _Columns:
    """The columns of one label table, by individual, bodypart and coordinate."""

    def __init__(self, table: "pd.DataFrame", path: Path, project: Project) -> None:
        self._path, self._project = path, project
        self._values = _numbers(table, path)
        keys = [tuple(map(str, column)) for column in table.columns]
        scorers = {key[0] for key in keys}
        scorer = project.scorer if project.scorer in scorers else keys[0][0]
        animal = () if project.multianimal else project.individuals
        self._place = {
            (*animal, *key[1:]): index for index, key in enumerate(keys) if key[0] == scorer
        }

    def points(self, individual: str, bodyparts: Sequence[str]) -> NDArray[np.float64]:
        """Return (frames, bodyparts, 2) px of one individual; NaN without a column or number."""
        points = np.full((len(self._values), len(bodyparts), 2), np.nan)
        for part, bodypart in enumerate(bodyparts):
            for axis, coordinate in enumerate("xy"):
                place = self._place.get((individual, bodypart, coordinate))
                if place is not None:
                    points[:, part, axis] = self._values[:, place]
        # A point with one coordinate is not a label.
        points[~np.isfinite(points).all(axis=-1)] = np.nan
        return points

    def check(self) -> None:
        """Refuse a table that has none of the bodyparts; name what does not match config.yaml."""
        project = self._project
        known = (*project.bodyparts, *project.unique_bodyparts)
        found = list(dict.fromkeys(key[1] for key in self._place))
        missing = [name for name in known if name not in found]
        unknown = [name for name in found if name not in known]
        if len(missing) == len(known):
            raise ProjectError(
                f"{self._path}: labels {', '.join(found)}, and {project.source} names the "
                f"bodyparts {', '.join(known)}.{nearest(known[0], found)}"
            )
        self._warn(missing, "has no column for %s; unlabelled there")
        self._warn(unknown, "has columns for %s, not named in config.yaml; ignored")
        animals = dict.fromkeys(key[0] for key in self._place)
        strangers = [name for name in animals if name not in (*project.individuals, _UNIQUE)]
        self._warn(strangers, "has animals %s, not named in config.yaml; ignored")

    def _warn(self, names: Sequence[str], problem: str) -> None:
        if names:
            logger.warning(f"%s: {problem}", self._path, ", ".join(names))


def _numbers(table: "pd.DataFrame", path: Path) -> NDArray[np.float64]:
    try:
        return table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ProjectError(f"{path}: has a label that is not a number: {error}.") from None


def _first_of_each(names: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Rows to keep: the first of each frame, with a warning where a frame is listed twice."""
    first = sorted({name: row for row, name in reversed(list(enumerate(names)))}.values())
    if len(first) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        logger.warning(
            "%s: %d frames are listed more than once, the first row counts: %s",
            path, len(twice), listed(twice, _SHOWN),
        )  # fmt: skip
    return np.array(first, dtype=np.int64)


def _join(videos: Sequence[Labels]) -> Labels:
    def chain(field: str) -> tuple[Any, ...]:
        return tuple(item for video in videos for item in getattr(video, field))

    return Labels(
        names=chain("names"),
        images=chain("images"),
        folders=chain("folders"),
        keypoints=np.concatenate([video.keypoints for video in videos]),
        unique=np.concatenate([video.unique for video in videos]),
    )
