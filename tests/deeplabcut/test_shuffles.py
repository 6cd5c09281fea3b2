"""Shuffles handmade here; those of the real DeepLabCut are in tests/interop."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlcexp.deeplabcut.shuffles import read_shuffle
from dlcexp.errors import ConfigError, ProjectError
from dlcexp.project import open_project

# The merged table lists the videos in another order than our labels do.
ROWS = [("labeled-data", video, f"img{i}.png") for video in ("v10", "v2") for i in range(3)]


def name(row: int) -> str:
    return "/".join(ROWS[row])


def make_project(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    (root / "config.yaml").write_text("Task: t\nscorer: me\ndate: Nov24\nbodyparts: [nose]\n")
    return root


def make_shuffle(
    root: Path, content: Any, shuffle: int = 1, percent: int = 66, iteration: int = 0
) -> Path:
    folder = root / f"training-datasets/iteration-{iteration}/UnaugmentedDataSet_tNov24"
    folder.mkdir(parents=True, exist_ok=True)
    columns = pd.MultiIndex.from_product(
        [["me"], ["nose"], ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    table = pd.DataFrame(np.ones((len(ROWS), 2)), pd.MultiIndex.from_tuples(ROWS), columns)
    table.to_hdf(folder / "CollectedData_me.h5", key="df_with_missing", mode="w")
    path = folder / f"Documentation_data-t_{percent}shuffle{shuffle}.pickle"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return path


def documentation(train: Sequence[int], test: Sequence[int]) -> list[Any]:
    data = [{"image": ROWS[0], "size": (3, 10, 10), "joints": np.array([[0, 1.5, 2]])}]
    return [data, np.array(train), np.array(test), np.float64(0.66)]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_rows_become_names_of_the_merged_table(tmp_path: Path, protocol: int) -> None:
    root = make_project(tmp_path)
    make_shuffle(root, pickle.dumps(documentation([5, 0, 2, 3], [4, 1]), protocol))
    frames = read_shuffle(open_project(root))
    assert frames.train == (name(5), name(0), name(2), name(3))
    assert frames.test == (name(4), name(1))
    assert name(5) == "labeled-data/v2/img2.png"


def test_numpy_1_pickles_are_read(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    raw = pickle.dumps(documentation([5, 0], [4]), 2).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in raw
    make_shuffle(root, raw)
    assert read_shuffle(open_project(root)).test == (name(4),)


def test_fill_up_rows_are_no_frames(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    make_shuffle(root, documentation([0, 1, -1, -1], [2]))
    assert read_shuffle(open_project(root)).train == (name(0), name(1))


def test_iteration_and_fraction_choose_the_file(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    make_shuffle(root, documentation([0], [1]), percent=50)
    make_shuffle(root, documentation([0], [2]), percent=29)
    make_shuffle(root, documentation([0], [3]), percent=29, iteration=1)
    project = open_project(root)
    assert read_shuffle(project, trainset_fraction=0.5).test == (name(1),)
    # int(100 * 0.29) is 28 and DeepLabCut writes 29 or 28; what is named is within one percent.
    assert read_shuffle(project, trainset_fraction=0.29).test == (name(2),)
    assert read_shuffle(project, iteration=1).test == (name(3),)
    with pytest.raises(ConfigError, match=r"0\.29, 0\.5") as caught:
        read_shuffle(project)
    assert caught.value.key == "split.trainset_fraction"
    with pytest.raises(ConfigError, match=r"0\.8.* 0\.29, 0\.5"):
        read_shuffle(project, trainset_fraction=0.8)


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    with pytest.raises(ConfigError, match=r"^split: .*training-datasets.*split=fraction"):
        read_shuffle(open_project(root))
    make_shuffle(root, documentation([0], [1]), shuffle=1)
    make_shuffle(root, documentation([0], [1]), shuffle=12)
    with pytest.raises(ConfigError, match=r"\b2\b.*\b1, 12\b") as caught:
        read_shuffle(open_project(root), 2)
    assert caught.value.key == "split.shuffle"
    with pytest.raises(ConfigError, match=r"\b0\b") as caught:
        read_shuffle(open_project(root), iteration=3)
    assert caught.value.key == "split.iteration"


class Malicious:
    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.made,)


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    make_shuffle(root, [[Malicious(tmp_path / "made")], [0], [1], 0.5])
    with pytest.raises(ProjectError, match=r"mkdir"):
        read_shuffle(open_project(root))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no pickle", [1, 2], documentation([0], [99]), [[], ["a"], [1], 0.5]],
    ids=["empty", "text", "too short", "row out of range", "words for rows"],
)
def test_a_broken_shuffle_is_named(tmp_path: Path, content: Any) -> None:
    root = make_project(tmp_path)
    path = make_shuffle(root, content)
    with pytest.raises(ProjectError) as caught:
        read_shuffle(open_project(root))
    assert path.name in str(caught.value)
