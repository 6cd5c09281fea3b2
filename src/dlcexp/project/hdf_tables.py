"""Tables that pandas wrote into HDF5 files, read without running anything that a file holds.

PyTables, which pandas reads them with, unpickles attributes and arrays of objects, and a pickle can
run code. Here a table is read from its plain arrays; the names of columns in the layout `table`,
which are pickled, from pickles of lists, texts and numbers only. DeepLabCut has written both
layouts of pandas: `fixed`, the default of `to_hdf`, and `table`.
"""

import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import ProjectError
from dlcexp.text import listed

if TYPE_CHECKING:
    import h5py
    import pandas as pd

# A compressed array is at most so many times as large as its file, where both are intact.
_MOST_COMPRESSED = 1000


class _PickleError(Exception):
    """Raised by content that only unpickling can read."""


def read_hdf(path: Path) -> "pd.DataFrame":
    """Read the only table of a file.

    Raises:
        ProjectError: it is damaged, holds no table or several, or Python objects.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return _only_table(file, path)
    except ProjectError:
        raise
    except _PickleError as error:
        csv = path.with_suffix(".csv")
        instead = f"to use {csv.name}" if csv.is_file() else "and export the labels as .csv"
        raise ProjectError(
            f"{path}: holds {error}, and unpickling can run code. Remove the .h5 {instead}."
        ) from None
    except Exception as error:  # HDF5 and pandas raise more than two dozen types on broken files
        raise ProjectError(
            f"{path}: is not an HDF5 file with a table of pandas, or is damaged."
        ) from error


def _only_table(file: "h5py.File", path: Path) -> "pd.DataFrame":
    names = [name for name, node in file.items() if "pandas_type" in node.attrs]
    if len(names) != 1:
        raise ProjectError(f"{path}: holds {len(names)} tables ({listed(names)}) instead of one.")
    group = file[names[0]]
    return _read_table(group) if "table" in group else _read_fixed(group)


def _read_fixed(group: "h5py.Group") -> "pd.DataFrame":
    """Read an axis of columns, one of rows, and blocks of columns that have one type."""
    import pandas as pd

    rows, blocks = _axis(group, "axis1"), []
    for number in range(int(group.attrs["nblocks"])):
        values = group[f"block{number}_values"]
        block = _array(values) if "transposed" in values.attrs else _array(values).T
        blocks.append(pd.DataFrame(block, rows, _axis(group, f"block{number}_items")))
    if len(blocks) == 1:
        return blocks[0]
    columns = _axis(group, "axis0")
    return pd.concat(blocks, axis=1)[columns] if blocks else pd.DataFrame(None, rows, columns)


def _axis(group: "h5py.Group", name: str) -> "pd.Index[Any]":
    """Read the names along an axis, of one level or of several, which are filed by number."""
    import pandas as pd

    if name in group:
        names: pd.Index[Any] = pd.Index(_array(group[name]))
        return names
    numbers = range(int(group.attrs[f"{name}_nlevels"]))
    levels = [group[f"{name}_level{number}"] for number in numbers]
    return pd.MultiIndex(
        levels=[pd.Index(_array(level)) for level in levels],
        codes=[_array(group[f"{name}_label{number}"]).tolist() for number in numbers],
        names=[_level_name(level.attrs["name"]) for level in levels],
    )


def _level_name(stored: Any) -> str | None:
    """Return the name of a level; that of one without is a pickled None."""
    name = stored.decode() if isinstance(stored, bytes) else str(stored)
    return None if name == "N." else name


def _read_table(group: "h5py.Group") -> "pd.DataFrame":
    """Read a record for each row: its name, and the values of a few blocks of columns."""
    import pandas as pd

    table = group["table"]
    records = _checked(table)[:]
    blocks, columns = [], []
    for name in records.dtype.names[1:]:
        blocks.append(records[name].reshape(len(records), -1))
        columns += _plain(table.attrs[f"{name}_kind"])
    ((axis, order),) = _plain(group.attrs["non_index_axes"])
    names = _plain(group.attrs["info"]).get(axis, {}).get("names")
    rows = pd.Index(_decoded(records[records.dtype.names[0]]))
    header = pd.MultiIndex.from_tuples(columns, names=names)
    frame: pd.DataFrame = pd.DataFrame(np.concatenate(blocks, axis=1), rows, header)[order]
    return frame


def _array(dataset: "h5py.Dataset") -> NDArray[Any]:
    """Return an array; pandas files an empty one as one value with the shape."""
    array = _decoded(_checked(dataset)[...])
    return array if "shape" not in dataset.attrs else np.empty(0, array.dtype)


def _checked(dataset: "h5py.Dataset") -> "h5py.Dataset":
    """Refuse an array of objects, and one larger than its file can hold."""
    fields = dataset.dtype.fields or {"": (dataset.dtype,)}
    if any(field[0].base.kind not in "biufS" for field in fields.values()):
        raise _PickleError("Python objects")
    if dataset.nbytes > _MOST_COMPRESSED * Path(dataset.file.filename).stat().st_size:
        raise ValueError(f"{dataset.nbytes:,} bytes cannot come from this file")
    return dataset


def _decoded(array: NDArray[Any]) -> NDArray[Any]:
    return np.char.decode(array, "utf-8").astype(object) if array.dtype.kind == "S" else array


class _Unpickler(pickle._Unpickler):
    """Makes lists, tuples, dictionaries, texts and numbers; anything else is refused.

    The implementation in Python: a damaged pickle makes that in C allocate gigabytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        raise _PickleError(f"a pickled {module}.{name}")


def _plain(pickled: bytes) -> Any:
    return _Unpickler(io.BytesIO(bytes(pickled))).load()
