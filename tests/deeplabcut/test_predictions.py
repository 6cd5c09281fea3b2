"""Predictions are read from every form in which DeepLabCut keeps them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlcexp.deeplabcut.predictions import read_predictions
from dlcexp.errors import ProjectError

BODYPARTS = ["nose", "tail"]
COORDS = ["x", "y", "likelihood"]
NAMES = ["labeled-data/v/img03.png", "labeled-data/v/img10.png"]
POSES = np.arange(2 * 2 * 2 * 3, dtype=float).reshape(2, 2, 2, 3)
TUPLES = pd.MultiIndex.from_tuples([tuple(name.split("/")) for name in NAMES])


def columns(**levels: list[str]) -> pd.MultiIndex:
    return pd.MultiIndex.from_product(levels.values(), names=list(levels))


def several(index: Any = TUPLES) -> pd.DataFrame:
    """Two animals; the table of DeepLabCut's evaluation, and with numbers that of a video."""
    levels = columns(scorer=["DLC"], individuals=["a", "b"], bodyparts=BODYPARTS, coords=COORDS)
    return pd.DataFrame(POSES.reshape(2, -1), index, levels)


def single() -> pd.DataFrame:
    levels = columns(scorer=["DLC"], bodyparts=BODYPARTS, coords=COORDS)
    return pd.DataFrame(POSES[:, 0].reshape(2, -1), TUPLES, levels)


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".h5":
        table.to_hdf(path, key="df_with_missing", mode="w")
    else:
        table.to_csv(path)
    return path


@pytest.mark.parametrize("suffix", [".h5", ".csv"])
def test_a_table_of_several_animals(tmp_path: Path, suffix: str) -> None:
    found = read_predictions(write(several(), tmp_path / f"p{suffix}"))
    assert found.bodyparts == ("nose", "tail")
    np.testing.assert_array_equal(found.of(NAMES[1]), POSES[1])


@pytest.mark.parametrize("suffix", [".h5", ".csv"])
def test_a_table_of_one_animal(tmp_path: Path, suffix: str) -> None:
    found = read_predictions(write(single(), tmp_path / f"p{suffix}"))
    np.testing.assert_array_equal(found.of(NAMES[0]), POSES[0, :1])


def test_unique_bodyparts_are_no_animal(tmp_path: Path) -> None:
    table = several()
    table[("DLC", "single", "corner", "x")] = 1.0
    found = read_predictions(write(table, tmp_path / "p.h5"))
    assert found.bodyparts == ("nose", "tail")
    assert found.of(NAMES[0]).shape == (2, 2, 3)


@pytest.mark.parametrize("suffix", [".h5", ".csv"])
def test_images_are_known_by_the_end_of_their_path(tmp_path: Path, suffix: str) -> None:
    paths = ["C:\\mouse\\labeled-data\\v\\img03.png", "C:\\mouse\\labeled-data\\w\\img03.png"]
    found = read_predictions(write(several(paths), tmp_path / f"p{suffix}"))
    np.testing.assert_array_equal(found.of("/data/labeled-data/v/img03.png"), POSES[0])
    np.testing.assert_array_equal(found.of("/data/labeled-data/w/img03.png"), POSES[1])
    assert found.of("/data/labeled-data/x/img03.png") is None
    by_name = read_predictions(write(several(["img03.png", "b.png"]), tmp_path / f"q{suffix}"))
    np.testing.assert_array_equal(by_name.of("/somewhere/img03.png"), POSES[0])


@pytest.mark.parametrize("suffix", [".h5", ".csv"])
def test_frames_of_a_video_are_known_by_number(tmp_path: Path, suffix: str) -> None:
    table = several([3, 10])
    found = read_predictions(write(table, tmp_path / f"vDLC_Resnet50_el{suffix}"))
    np.testing.assert_array_equal(found.of("labeled-data/v/img0010.png"), POSES[1])
    assert found.of("labeled-data/v/img0011.png") is None
    assert found.of("labeled-data/w/img0010.png") is None
    longer = read_predictions(write(table, tmp_path / f"v1DLC_Resnet50_el{suffix}"))
    assert longer.of("labeled-data/v/img0010.png") is None


def test_the_json_that_deeplabcut_takes(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({NAMES[0]: POSES[0].tolist(), NAMES[1]: []}))
    found = read_predictions(path)
    assert found.bodyparts is None
    np.testing.assert_array_equal(found.of(f"/data/{NAMES[0]}"), POSES[0])
    assert len(found.of(NAMES[1])) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "[[1]]", r"p\.json"),
        ("p.json", '{"a.png": [[1, 2]]}', r"a\.png.*\(1, 2\)"),
        ("p.json", "{", r"p\.json"),
        ("p.csv", "x,y\n1,2\n", r"p\.csv"),
        ("p.txt", "", r"p\.txt"),
        (None, "", r"nothing\.h5"),
    ],
)
def test_what_is_no_prediction_is_refused(
    tmp_path: Path, name: str | None, content: str, message: str
) -> None:
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(ProjectError, match=message):
        read_predictions(tmp_path / (name or "nothing.h5"))


def test_labels_are_no_predictions(tmp_path: Path) -> None:
    table = single().drop(columns=[("DLC", part, "likelihood") for part in BODYPARTS])
    with pytest.raises(ProjectError, match=r"p\.h5"):
        read_predictions(write(table, tmp_path / "p.h5"))
