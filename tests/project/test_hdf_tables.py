"""Tables of pandas in HDF5 files: equal to what pandas reads, and nothing in them is run."""

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tables

from dlcexp.errors import ProjectError
from dlcexp.project.hdf_tables import read_hdf

COLUMNS = pd.MultiIndex.from_product(
    [["me"], ["m1", "m2"], ["nose", "taïl"], ["x", "y"]],
    names=["scorer", "individuals", "bodyparts", "coords"],
)
ROWS = {
    "levels": pd.MultiIndex.from_tuples([("labeled-data", "v", f"img{i}.png") for i in range(3)]),
    "paths": pd.Index([f"labeled-data/v/img{i}.png" for i in range(3)]),
    "numbers": pd.RangeIndex(3),
}
KEY = "df_with_missing"


def sample(rows: str = "levels") -> pd.DataFrame:
    values = np.arange(24.0).reshape(3, 8)
    values[1, :2] = np.nan
    return pd.DataFrame(values, ROWS[rows], COLUMNS)


def written(path: Path, table: pd.DataFrame, layout: str = "fixed") -> Path:
    table.to_hdf(path, key=KEY, mode="w", format=layout)
    return path


@pytest.mark.parametrize(
    ("rows", "layout"),
    [(rows, "fixed") for rows in ROWS] + [("paths", "table"), ("numbers", "table")],
)
def test_a_table_is_what_pandas_wrote(tmp_path: Path, rows: str, layout: str) -> None:
    path = written(tmp_path / "x.h5", sample(rows), layout)
    expected = {"check_index_type": False, "check_column_type": False}
    pd.testing.assert_frame_equal(read_hdf(path), sample(rows), **expected)


def test_columns_of_several_types_keep_their_order(tmp_path: Path) -> None:
    table = sample()
    table[("me", "m1", "taïl", "x")] = [1, 2, 3]
    read = read_hdf(written(tmp_path / "x.h5", table))
    assert list(read.columns) == list(COLUMNS)
    np.testing.assert_array_equal(read.to_numpy(), table.to_numpy())


@pytest.mark.parametrize("name", ["openfield", "flies13"])
def test_real_tables_are_what_pandas_reads(name: str, request: pytest.FixtureRequest) -> None:
    for path in request.getfixturevalue(name).glob("labeled-data/*/*.h5"):
        read, expected = read_hdf(path), pd.read_hdf(path)
        assert list(read.index) == list(expected.index)
        assert list(read.columns) == list(expected.columns)
        assert read.columns.names == expected.columns.names
        np.testing.assert_array_equal(read.to_numpy(), expected.to_numpy())


class Command:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_no_pickle_in_an_attribute_is_run(tmp_path: Path) -> None:
    path, trap = written(tmp_path / "x.h5", sample()), tmp_path / "trap"
    with tables.open_file(path, "a") as file:
        for node in file.walk_nodes():
            node._v_attrs.note = Command(trap)
    read = read_hdf(path)
    np.testing.assert_array_equal(read.to_numpy(), sample().to_numpy())
    assert not trap.exists()
    pd.read_hdf(path)
    assert trap.exists()  # the file is one that does


@pytest.mark.parametrize("name", ["non_index_axes", "info", "table/values_block_0_kind"])
def test_no_pickled_names_of_columns_are_run(tmp_path: Path, name: str) -> None:
    path, trap = written(tmp_path / "x.h5", sample("paths"), "table"), tmp_path / "trap"
    with h5py.File(path, "a") as file:
        node, _, attribute = f"{KEY}/{name}".rpartition("/")
        file[node].attrs[attribute] = np.void(pickle.dumps([Command(trap)], protocol=0))
    with pytest.raises(ProjectError, match=r"x\.h5: holds a pickled .*mkdir.*Remove the \.h5"):
        read_hdf(path)
    assert not trap.exists()


@pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning")
def test_objects_are_refused_in_favour_of_the_csv(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5", sample().astype(object))
    sample().to_csv(tmp_path / "x.csv")
    with pytest.raises(ProjectError, match=r"x\.h5: .*Remove the \.h5 to use x\.csv"):
        read_hdf(path)


def test_two_tables_in_a_file_are_refused_as_by_deeplabcut(tmp_path: Path) -> None:
    path = written(tmp_path / "x.h5", sample())
    sample().to_hdf(path, key="more", mode="a")
    with pytest.raises(ProjectError, match=f"2 tables .{KEY}, more."):
        read_hdf(path)
