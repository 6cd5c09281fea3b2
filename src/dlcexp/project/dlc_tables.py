"""The label tables of a DeepLabCut project, `CollectedData_*.h5` and `.csv`, as arrays."""

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import ProjectError, nearest
from dlcexp.project.frames import frame_name, video_folders
from dlcexp.project.hdf_tables import read_hdf
from dlcexp.project.model import Labels, Project
from dlcexp.project.usable import usable_labels
from dlcexp.text import first_line, listed
from dlcexp.vocabulary import LABELED_DATA, LABELS, UNIQUE

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_SHOWN = 3


def load_dlc_labels(project: Project) -> Labels:
    """Read the label files of a DeepLabCut project; see `dlcexp.project.load_labels`."""
    tables = {file: read_table(file) for file in _label_files(project)}
    if not tables:
        raise ProjectError(
            f"{project.root / LABELED_DATA}: no folder in it holds labels "
            f"({LABELS}{project.scorer}.h5 or .csv)."
        )
    scorers = {file: _scorer(table, file, project) for file, table in tables.items()}
    own = [file for file in tables if scorers[file] == project.scorer in file.stem]
    for file in [file for file in tables if own and file not in own]:
        logger.warning(
            "%s: has labels of %s and not of %s, the scorer in config.yaml; left out, as by "
            "DeepLabCut", file, scorers[file], project.scorer,
        )  # fmt: skip
    videos = [_read_video(file, tables[file], scorers[file], project) for file in own or tables]
    return usable_labels(_join(videos), project)


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
    if not table.size:
        raise ProjectError(f"{path}: holds no frames.")
    return table


def _label_files(project: Project) -> list[Path]:
    """Return a label file for each video that `video_sets` names, as DeepLabCut reads them.

    Where none of those has labels, all folders with labels count.
    """
    found = {
        folder: file
        for folder in video_folders(project.root)
        if (file := _label_file(folder, project))
    }
    named = [folder for folder in found if folder.name in project.videos]
    unnamed = [folder.name for folder in found if named and folder not in named]
    if unnamed:
        logger.warning(
            "%s: video_sets does not name %s; its frames are left out, as by DeepLabCut",
            project.source, listed(unnamed),
        )  # fmt: skip
    return [found[folder] for folder in named or found]


def _label_file(folder: Path, project: Project) -> Path | None:
    """Return the label file of the project's scorer, else the only other one; h5 before csv."""
    files = sorted(
        path
        for suffix in ("h5", "csv")
        for path in folder.glob(f"{LABELS}*.{suffix}")
        if not path.name.startswith(".")
    )
    stems = {path.stem for path in files}
    wanted = f"{LABELS}{project.scorer}"
    if wanted not in stems and len(stems) > 1:
        raise ProjectError(
            f"{folder}: has labels of several scorers ({', '.join(sorted(stems))}), and none of "
            f"{project.scorer!r}, the scorer in config.yaml.{nearest(wanted, stems)}"
        )
    files = [path for path in files if path.stem == wanted or wanted not in stems]
    return max(files, key=lambda path: path.suffix == ".h5", default=None)


def _scorer(table: "pd.DataFrame", path: Path, project: Project) -> str:
    """Return the scorer whose labels a table holds.

    Raises:
        ProjectError: it holds those of several, and which are right cannot be known.
    """
    names = table.columns.get_level_values(0).astype(str)
    labelled = names[table.notna().any()].unique()
    if len(labelled) > 1:
        raise ProjectError(f"{path}: has labels of several scorers ({listed(labelled)}); keep one.")
    if len(labelled):
        return str(labelled[0])
    return project.scorer if project.scorer in names else str(names[0])


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
    if not header[0]:
        raise ValueError("its first line is empty")
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


def _read_video(path: Path, table: "pd.DataFrame", scorer: str, project: Project) -> Labels:
    """Labels of one video folder; the images need not exist."""
    if (table.columns.nlevels == 4) != project.multianimal:
        several = "several animals" if table.columns.nlevels == 4 else "one animal"
        raise ProjectError(
            f"{path}: has labels of {several}, and {project.source} has multianimalproject: "
            f"{str(project.multianimal).lower()}."
        )
    columns = _Columns(table, path, scorer, project)
    columns.check()
    folder = path.parent.name
    names = [frame_name(row, folder) for row in table.index]
    animals = [columns.points(animal, project.bodyparts) for animal in project.individuals]
    keypoints = np.stack(animals, axis=1)
    unique = columns.points(UNIQUE, project.unique_bodyparts)
    points = np.concatenate([keypoints.reshape(len(names), -1), unique.reshape(len(names), -1)], 1)
    labelled: NDArray[np.bool_] = np.any(np.isfinite(points), axis=1)
    kept = _rows_of_frames(names, labelled, columns.labelled, path)
    return Labels(
        names=tuple(names[i] for i in kept),
        images=tuple(path.parent / PurePosixPath(names[i]).name for i in kept),
        folders=(folder,) * len(kept),
        keypoints=keypoints[kept],
        unique=unique[kept],
    )


class _Columns:
    """The columns of a scorer in one label table, by individual, bodypart and coordinate.

    Attributes:
        labelled: (frames,) True if any column of the table has a number.
    """

    def __init__(self, table: "pd.DataFrame", path: Path, scorer: str, project: Project) -> None:
        self._path, self._project = path, project
        self._values = _numbers(table, path)
        self.labelled: NDArray[np.bool_] = np.any(np.isfinite(self._values), axis=1)
        keys = [tuple(map(str, column)) for column in table.columns]
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
        """Refuse a table that has none of the bodyparts, or labels of other individuals.

        DeepLabCut refuses the latter, too: the animals in those frames would count as background.
        Of bodyparts, name the ones that do not match config.yaml.
        """
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
        strangers = {
            key[0]: None
            for key, place in self._place.items()
            if key[0] not in (*project.individuals, UNIQUE)
            and np.isfinite(self._values[:, place]).any()
        }
        if strangers:
            hint = nearest(next(iter(strangers)), project.individuals)
            raise ProjectError(
                f"{self._path}: has labels of the individuals {', '.join(strangers)}, and "
                f"{project.source} names {', '.join(project.individuals)}.{hint}"
            )

    def _warn(self, names: Sequence[str], problem: str) -> None:
        if names:
            logger.warning(f"%s: {problem}", self._path, ", ".join(names))


def _numbers(table: "pd.DataFrame", path: Path) -> NDArray[np.float64]:
    try:
        return table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ProjectError(f"{path}: has a label that is not a number: {error}.") from None


def _rows_of_frames(
    names: Sequence[str], labelled: NDArray[np.bool_], with_any: NDArray[np.bool_], path: Path
) -> NDArray[np.int64]:
    """Return a row for each frame: of several, the first with labels.

    Frames whose labels are all ignored are left out, since they are not frames without animals.

    Args:
        names: of the frames.
        labelled: rows with a label that counts.
        with_any: rows with any number.
        path: of the table.
    """
    chosen: dict[str, int] = {}
    for row in np.argsort(~labelled, kind="stable").tolist():
        chosen.setdefault(names[row], row)
    if len(chosen) < len(names):
        counts = Counter(names)
        twice = [name for name in chosen if counts[name] > 1]
        logger.warning(
            "%s: %d frames are listed more than once, the first row with labels counts: %s",
            path, len(twice), listed(twice, _SHOWN),
        )  # fmt: skip
    rows = np.array(sorted(chosen.values()), dtype=np.int64)
    ignored = with_any[rows] & ~labelled[rows]
    if ignored.any():
        logger.warning(
            "%s: %d frames are left out, because all of their labels are ignored: %s",
            path, ignored.sum(), listed((names[row] for row in rows[ignored]), _SHOWN),
        )  # fmt: skip
    return rows[~ignored]


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
