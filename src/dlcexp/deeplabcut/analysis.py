"""Poses of a video or of images in the files that DeepLabCut's own analysis leaves.

`<video><scorer>.h5` and `.csv` hold the poses; `_meta.pickle`, `_full.pickle` and, with several
animals, `_assemblies.pickle` hold what DeepLabCut's tracking and plots read in addition.
"""

import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlcexp.deeplabcut.snapshots import is_best, snapshot_epoch
from dlcexp.files import replacing
from dlcexp.project import Project
from dlcexp.vocabulary import LABEL_TABLE, UNIQUE

if TYPE_CHECKING:
    import pandas as pd

# In the fourth column of an assembled keypoint: no identity was predicted.
_NO_IDENTITY = -1.0


def scorer_name(
    net_type: str, project: str, shuffle: int, snapshot: Path, detector: Path | None = None
) -> str:
    """Return DeepLabCut's name of the origin of predictions.

    `DLC_Resnet50_mouseNov24shuffle1_snapshot_best-42`.

    Args:
        net_type: as in `pytorch_config.yaml`.
        project: `Task` and `date` of the config.yaml, one after the other.
        shuffle: number of the shuffle.
        snapshot, detector: files of the weights.
    """
    net = "".join(part.capitalize() for part in net_type.split("_"))
    found_by = f"_detector_{_snapshot_id(detector)}" if detector else ""
    return f"DLC_{net}_{project}shuffle{shuffle}{found_by}_snapshot_{_snapshot_id(snapshot)}"


def _snapshot_id(path: Path) -> str:
    return f"{'best-' if is_best(path) else ''}{snapshot_epoch(path)}"


@dataclass(frozen=True, eq=False)
class Analysis:
    """The poses in the frames of one source.

    Attributes:
        scorer: see `scorer_name`.
        names: of the frames: numbers of a video, or paths of images.
        bodyparts, unique_bodyparts, individuals: names.
        multianimal: whether the project is; then the table names the individuals.
        poses: (frames, individuals, bodyparts, 3) x, y px, confidence; NaN where absent.
        unique: (frames, unique bodyparts, 3).
        with_identity: whether an animal is in the place of its individual.
    """

    scorer: str
    names: Sequence[str | int]
    bodyparts: Sequence[str]
    unique_bodyparts: Sequence[str]
    individuals: Sequence[str]
    multianimal: bool
    poses: NDArray[np.float32]
    unique: NDArray[np.float32]
    with_identity: bool = False

    def table(self) -> "pd.DataFrame":
        """Return one row per frame; its columns are those of `point_columns`."""
        import pandas as pd

        frames = len(self.poses)
        values = [self.poses.reshape(frames, -1), self.unique.reshape(frames, -1)]
        columns = point_columns(self.scorer, self, ("x", "y", "likelihood"))
        return pd.DataFrame(np.concatenate(values, axis=1), list(self.names), columns)

    def write(self, stem: Path, *, csv: bool, meta: Mapping[str, Any]) -> list[Path]:
        """Write every file, each whole or not at all, the table last, with `csv` also as text.

        All names begin with `stem`, which includes the scorer; `meta` is content of
        `_meta.pickle` in addition to the names.
        """
        path = stem.with_name(f"{stem.name}.h5")
        path.unlink(missing_ok=True)  # never with the metadata of another
        table = self.table()
        written = [self._pickle(stem, "meta", {"data": {**meta, **self._named()}})]
        written.append(self._pickle(stem, "full", self._detections()))
        if self.multianimal:
            written.append(self._pickle(stem, "assemblies", self._assemblies()))
        if csv:
            text = stem.with_name(f"{stem.name}.csv")
            with replacing(text) as temporary:
                table.to_csv(temporary)
            written.append(text)
        with replacing(path) as temporary:
            # Not in the format "table": what pandas 3 writes so, DeepLabCut's cannot read.
            table.to_hdf(temporary, key=LABEL_TABLE, mode="w")
        return [*written, path]

    def _named(self) -> dict[str, Any]:
        return {
            "Scorer": self.scorer,
            "nframes": len(self.poses),
            "individuals": list(self.individuals),
            "bodyparts": list(self.bodyparts),
            "unique_bodyparts": list(self.unique_bodyparts),
        }

    def _detections(self) -> dict[str, Any]:
        """Return each frame's points by bodypart, whichever animal they are of."""
        joints = [*self.bodyparts, *self.unique_bodyparts]
        digits = math.ceil(math.log10(max(len(self.poses), 2)))
        content: dict[str, Any] = {
            "metadata": {
                "nms radius": None,
                "minimal confidence": None,
                "sigma": 1,
                "PAFgraph": None,
                "PAFinds": np.zeros(0, dtype=int),
                "all_joints": [[number] for number in range(len(joints))],
                "all_joints_names": joints,
                "nframes": len(self.poses),
                "key_str_width": digits,
            }
        }
        for number, (poses, unique) in enumerate(zip(self.poses, self.unique, strict=True)):
            points = [*np.swapaxes(_present(poses), 0, 1), *unique[:, None]]
            content[f"frame{number:0{digits}d}"] = {
                "coordinates": ([point[:, :2] for point in points],),
                "confidence": [point[:, 2:] for point in points],
                "costs": None,
            }
        return content

    def _assemblies(self) -> dict[Any, Any]:
        """Each frame's animals (n, bodyparts, 4): x, y px, confidence, identity (none: -1)."""
        content: dict[Any, Any] = {
            UNIQUE: {number: unique for number, unique in enumerate(self.unique) if len(unique)}
        }
        places = np.arange(self.poses.shape[1]) if self.with_identity else _NO_IDENTITY
        shape = (*self.poses.shape[1:3], 1)
        identity = np.broadcast_to(np.reshape(places, (-1, 1, 1)), shape).astype(np.float32)
        for number, poses in enumerate(self.poses):
            animals = _present(np.concatenate([poses, identity], axis=-1))
            if len(animals):
                content[number] = animals
        return content

    def _pickle(self, stem: Path, kind: str, content: Any) -> Path:
        path = _pickled(stem, kind)
        with replacing(path) as temporary, temporary.open("wb") as file:
            pickle.dump(content, file, pickle.HIGHEST_PROTOCOL)
        return path


def read_meta(stem: Path) -> dict[str, Any]:
    """Return the content of `_meta.pickle`; empty where there is none that holds plain values."""
    try:
        with _pickled(stem, "meta").open("rb") as file:
            content = _Plain(file).load()["data"]
    except (OSError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


class _Plain(pickle.Unpickler):
    """Reads plain values only: a pickle may run any code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not a plain value")


def _pickled(stem: Path, kind: str) -> Path:
    return stem.with_name(f"{stem.name}_{kind}.pickle")


def point_columns(
    scorer: str, names: "Analysis | Project", coordinates: Sequence[str]
) -> "pd.MultiIndex":
    """Return the columns of a table of points: scorer, [individuals,] bodyparts, coords."""
    import pandas as pd

    owners = [(animal, part) for animal in names.individuals for part in names.bodyparts]
    owners += [(UNIQUE, part) for part in names.unique_bodyparts]
    start = 0 if names.multianimal else 1
    columns = [(scorer, *owner[start:], each) for owner in owners for each in coordinates]
    levels = ["scorer", *("individuals", "bodyparts")[start:], "coords"]
    return pd.MultiIndex.from_tuples(columns, names=levels)


def _present(poses: NDArray[Any]) -> NDArray[Any]:
    """Return the animals (n, bodyparts, 3 or 4) of which there is any point."""
    present: NDArray[Any] = poses[np.isfinite(poses[..., :2]).any(axis=(1, 2))]
    return present
