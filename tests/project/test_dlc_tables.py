"""Label tables in every form DeepLabCut has written them, and broken ones."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlcexp.errors import ProjectError
from dlcexp.project import Labels, load_labels, open_project

FRAMES = ("img01.png", "img02.png", "img10.png")
CONFIGS = {
    "single": "Task: t\nscorer: me\ndate: d\nbodyparts: [nose, tail]\n",
    "multi": "Task: t\nscorer: me\ndate: d\nmultianimalproject: true\nindividuals: [m1, m2]\n"
    "uniquebodyparts: [corner]\nmultianimalbodyparts: [nose, tail]\nbodyparts: MULTI!\n",
}
COLUMNS = {
    "single": [("nose",), ("tail",)],
    "multi": [("m1", "nose"), ("m1", "tail"), ("m2", "nose"), ("m2", "tail"), ("single", "corner")],
}


def table(
    kind: str, folder: str = "v", layout: str = "levels", parts: Any = None, scorer: str = "me"
) -> pd.DataFrame:
    """Labels 0, 1, 2, ... in reading order, except that the first point of frame 2 is missing."""
    columns = [(scorer, *part, axis) for part in parts or COLUMNS[kind] for axis in "xy"]
    names = ["scorer", *(["individuals"] if kind == "multi" else []), "bodyparts", "coords"]
    values = np.arange(len(FRAMES) * len(columns), dtype=float).reshape(len(FRAMES), -1)
    values[1, :2] = np.nan
    rows = [("labeled-data", folder, name) for name in FRAMES]
    slash = {"slash": "/", "backslash": "\\"}
    index = (
        pd.MultiIndex.from_tuples(rows)
        if layout == "levels"
        else pd.Index([slash[layout].join(row) for row in rows])
    )
    return pd.DataFrame(values, index, pd.MultiIndex.from_tuples(columns, names=names))


def write(
    frame: pd.DataFrame, root: Path, folder: str = "v", suffix: str = "h5", scorer: str = "me"
) -> Path:
    path = root / "labeled-data" / folder / f"CollectedData_{scorer}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in FRAMES:
        (path.parent / name).touch()
    if suffix == "h5":
        frame.to_hdf(path, key="df_with_missing", mode="w")
    else:
        frame.to_csv(path)
    return path


def load(root: Path, kind: str, more: str = "") -> Labels:
    (root / "config.yaml").write_text(CONFIGS[kind] + more)
    return load_labels(open_project(root))


@pytest.mark.parametrize("suffix", ["h5", "csv"])
@pytest.mark.parametrize("layout", ["levels", "slash", "backslash"])
def test_single_animal_tables_of_every_layout(tmp_path: Path, layout: str, suffix: str) -> None:
    write(table("single", layout=layout), tmp_path, suffix=suffix)
    labels = load(tmp_path, "single")
    assert labels.names == tuple(f"labeled-data/v/{name}" for name in FRAMES)
    assert labels.images == tuple((tmp_path / name).resolve() for name in labels.names)
    assert labels.folders == ("v", "v", "v")
    assert labels.unique.shape == (3, 0, 2)
    expected = [[[[0, 1], [2, 3]]], [[[np.nan, np.nan], [6, 7]]], [[[8, 9], [10, 11]]]]
    np.testing.assert_array_equal(labels.keypoints, expected)
    assert (labels.boxes, labels.absent) == (None, ())


@pytest.mark.parametrize("suffix", ["h5", "csv"])
@pytest.mark.parametrize("layout", ["levels", "slash", "backslash"])
def test_multi_animal_tables_of_every_layout(tmp_path: Path, layout: str, suffix: str) -> None:
    write(table("multi", layout=layout), tmp_path, suffix=suffix)
    labels = load(tmp_path, "multi")
    assert labels.keypoints.shape == (3, 2, 2, 2)
    np.testing.assert_array_equal(labels.keypoints[0], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]])
    np.testing.assert_array_equal(labels.unique[:, 0], [[8, 9], [18, 19], [28, 29]])
    assert np.isnan(labels.keypoints[1, 0, 0]).all()


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("layout", ["levels", "slash"])
def test_a_csv_whose_first_frames_have_no_labels_keeps_them(
    tmp_path: Path, layout: str, kind: str
) -> None:
    frame = table(kind, layout=layout)
    frame.iloc[:2] = np.nan
    write(frame, tmp_path, suffix="csv")
    labels = load(tmp_path, kind)
    assert [Path(name).name for name in labels.names] == list(FRAMES)
    assert np.isfinite(labels.keypoints).any((1, 2, 3)).tolist() == [False, False, True]
    assert np.nanmax(labels.keypoints[2]) == frame.iloc[2].max() - 2 * (kind == "multi")


def test_columns_are_found_by_name_not_by_place(tmp_path: Path) -> None:
    write(table("multi", parts=[*reversed(COLUMNS["multi"])]), tmp_path)
    labels = load(tmp_path, "multi")
    np.testing.assert_array_equal(labels.keypoints[0, 0], [[8, 9], [6, 7]])
    np.testing.assert_array_equal(labels.unique[0, 0], [0, 1])


def test_folders_come_in_natural_order_without_hidden_ones(tmp_path: Path) -> None:
    for folder in ("v10", "v2", ".old"):
        write(table("single", folder), tmp_path, folder)
    for folder in ("no labels", "v2_labeled"):
        (tmp_path / "labeled-data" / folder).mkdir()
    labels = load(tmp_path, "single")
    assert labels.folders == ("v2",) * 3 + ("v10",) * 3


def test_the_videos_are_those_of_video_sets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("v1", "v2", "v3_labeled"):
        write(table("single", folder), tmp_path, folder)
    sets = "video_sets:\n  'C:\\videos\\v1.mp4': {crop: 1}\n  /videos/v3_labeled.avi: {crop: 1}\n"
    labels = load(tmp_path, "single", sets)
    assert labels.folders == ("v1",) * 3 + ("v3_labeled",) * 3
    assert "video_sets does not name v2;" in caplog.text
    assert (
        load(tmp_path, "single", "video_sets:\n  gone.mp4: {crop: 1}\n").folders[3:6] == ("v2",) * 3
    )


def test_the_h5_file_is_preferred_to_the_csv(tmp_path: Path) -> None:
    write(table("single"), tmp_path)
    write(table("single") + 1000, tmp_path, suffix="csv")
    assert load(tmp_path, "single").keypoints[0, 0, 0, 0] == 0


def test_a_renamed_scorer_or_folder_does_not_matter(tmp_path: Path) -> None:
    write(table("single", "old name", scorer="you"), tmp_path, scorer="you")
    labels = load(tmp_path, "single")
    assert labels.names[0] == "labeled-data/v/img01.png"
    assert labels.keypoints[0, 0, 1, 1] == 3


def test_of_several_scorers_the_project_decides(tmp_path: Path) -> None:
    write(table("single", scorer="him") + 1000, tmp_path, scorer="him")
    write(table("single"), tmp_path)
    assert load(tmp_path, "single").keypoints[0, 0, 0, 0] == 0
    write(table("single"), tmp_path, scorer="her")
    (tmp_path / "labeled-data/v/CollectedData_me.h5").unlink()
    with pytest.raises(ProjectError, match=r"CollectedData_her, .*_him"):
        load(tmp_path, "single")


def test_absent_images_are_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(table("single", "a"), tmp_path, "a")
    write(table("single", "b"), tmp_path, "b")
    for name in ("a/img02.png", "b/img01.png"):
        (tmp_path / "labeled-data" / name).unlink()
    with caplog.at_level(logging.WARNING):
        labels = load(tmp_path, "single")
    assert labels.absent == ("labeled-data/a/img02.png", "labeled-data/b/img01.png")
    assert len(labels) == len(labels.keypoints) == len(labels.unique) == len(labels.folders) == 4
    np.testing.assert_array_equal(labels.keypoints[:, 0, 1, 0], [2, 10, 6, 10])
    assert len(caplog.records) == 1
    assert "2 of 6" in caplog.text
    assert labels.absent[0] in caplog.text


def test_a_frame_without_labels_stays(tmp_path: Path) -> None:
    frame = table("multi")
    frame.iloc[2] = np.nan
    write(frame, tmp_path)
    labels = load(tmp_path, "multi")
    assert len(labels) == 3
    assert np.isnan(labels.keypoints[2]).all()


def test_half_a_point_is_no_point(tmp_path: Path) -> None:
    frame = table("single")
    frame.iloc[0, 0], frame.iloc[2, 3] = np.nan, np.inf
    write(frame, tmp_path)
    keypoints = load(tmp_path, "single").keypoints
    assert np.isnan(keypoints[0, 0, 0]).all()
    assert np.isnan(keypoints[2, 0, 1]).all()


def test_columns_that_do_not_match_the_config_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = [("m1", "nose"), ("m1", "ear"), ("single", "corner")]
    write(table("multi", parts=parts), tmp_path)
    with caplog.at_level(logging.WARNING):
        labels = load(tmp_path, "multi")
    assert np.isnan(labels.keypoints[:, 1]).all()
    np.testing.assert_array_equal(labels.keypoints[0, 0], [[0, 1], [np.nan, np.nan]])
    messages = [record.getMessage() for record in caplog.records]
    assert any("tail" in message for message in messages)
    assert any("ear" in message for message in messages)


@pytest.mark.parametrize("others", [["x1", "x2"], ["m1", "m3"]])
def test_labels_of_individuals_not_in_the_config_are_refused(
    tmp_path: Path, others: list[str]
) -> None:
    parts = [(name, "nose") for name in others]
    frame = table("multi", parts=parts)
    write(frame, tmp_path)
    with pytest.raises(ProjectError, match=rf"individuals .*{others[1]}, and .* names m1, m2"):
        load(tmp_path, "multi")
    if "m1" in others:
        frame.iloc[:, 2:] = np.nan
        write(frame, tmp_path)
        assert np.isfinite(load(tmp_path, "multi").keypoints[0, 0, 0]).all()


def test_labels_of_another_scorer_are_left_out_if_there_are_some_of_the_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(table("single", "v1"), tmp_path, "v1")
    write(table("single", "v2", scorer="you"), tmp_path, "v2", scorer="you")
    write(table("single", "v3", scorer="you"), tmp_path, "v3")
    assert load(tmp_path, "single").folders == ("v1",) * 3
    assert caplog.text.count("has labels of you and not of me") == 2


def test_labels_of_two_scorers_in_one_table_are_refused(tmp_path: Path) -> None:
    mine, yours = table("single"), table("single", scorer="you")
    write(pd.concat([mine.iloc[:2], yours.iloc[2:]]), tmp_path)
    with pytest.raises(ProjectError, match=r"several scorers .me, you.; keep one"):
        load(tmp_path, "single")


def test_a_frame_whose_labels_are_all_ignored_does_not_train_as_one_without_animals(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(table("single", parts=[("nose",), ("ear",)]), tmp_path)  # frame 2 has the ear only
    assert [name[-9:] for name in load(tmp_path, "single").names] == ["img01.png", "img10.png"]
    assert "all of their labels are ignored: labeled-data/v/img02.png" in caplog.text


def test_a_frame_listed_twice_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = table("single")
    write(pd.concat([frame, frame.iloc[:1] + 500]), tmp_path)
    labels = load(tmp_path, "single")
    assert len(labels) == 3
    assert labels.keypoints[0, 0, 0, 0] == 0
    assert "img01.png" in caplog.text


def test_of_a_frame_listed_twice_the_row_with_labels_counts(tmp_path: Path) -> None:
    frame = table("single")
    write(pd.concat([frame.iloc[:1] * np.nan, frame]), tmp_path)
    labels = load(tmp_path, "single")
    assert labels.names == tuple(f"labeled-data/v/{name}" for name in FRAMES)
    assert labels.keypoints[0, 0, 1, 1] == 3


def test_labels_of_the_other_kind_of_project_are_refused(tmp_path: Path) -> None:
    write(table("multi"), tmp_path)
    with pytest.raises(ProjectError, match="CollectedData"):
        load(tmp_path, "single")
    write(table("single"), tmp_path)
    with pytest.raises(ProjectError, match="CollectedData"):
        load(tmp_path, "multi")


def test_labels_of_other_bodyparts_are_refused(tmp_path: Path) -> None:
    write(table("single", parts=[("nosee",), ("foot",)]), tmp_path)
    with pytest.raises(ProjectError, match=r"nosee, foot.*'nosee'"):
        load(tmp_path, "single")


def test_a_project_without_labels_or_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="labeled-data"):
        load(tmp_path, "single")
    write(table("single"), tmp_path)
    for name in FRAMES:
        (tmp_path / "labeled-data" / "v" / name).unlink()
    with pytest.raises(ProjectError, match=r"\b3\b"):
        load(tmp_path, "single")


BROKEN = {
    "nothing.h5": b"",
    "a large-file pointer.h5": b"version https://git-lfs.github.com/spec/v1\n",
    "nothing.csv": b"",
    "words.csv": b"not,a\nlabel,table\n",
    "header only.csv": b"scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n",
    "words for numbers.csv": b"scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\nimg01.png,left,2\n",
    "binary.csv": b"\xff\xfe\x00\x81",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_label_file_is_named(tmp_path: Path, name: str) -> None:
    path = write(table("single"), tmp_path, suffix=name.rpartition(".")[2])
    path.write_bytes(BROKEN[name])
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, "single")
    assert str(path.resolve()) in str(caught.value)


def test_an_h5_file_without_a_table_is_named(tmp_path: Path) -> None:
    path = write(table("single"), tmp_path)
    with pd.HDFStore(str(path), mode="w"):
        pass
    with pytest.raises(ProjectError, match=re.escape(str(path.resolve()))):
        load(tmp_path, "single")


@pytest.mark.parametrize("name", ["openfield", "flies13"])
def test_real_labels_equal_the_csv_read_line_by_line(
    name: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(name)
    labels = load_labels(open_project(root))
    place = {frame: index for index, frame in enumerate(labels.names)}
    rows = 0
    for path in sorted(root.glob("labeled-data/*/*.csv")):
        for line in path.read_text().splitlines():
            if not line.startswith("labeled-data"):
                continue
            cells = line.replace("/", ",").split(",")
            expected = [float(cell) if cell else np.nan for cell in cells[3:]]
            found = labels.keypoints[place["/".join(cells[:3])]].reshape(-1)
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            rows += 1
    assert rows == len(labels) == {"openfield": 116, "flies13": 120}[name]
