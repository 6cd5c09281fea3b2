"""The frames and labels that train are those of the real DeepLabCut, whatever a project looks like.

What DeepLabCut refuses, we refuse.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from dlcexp.errors import ProjectError
from dlcexp.project import load_labels, open_project

FRAMES, SIDE = 4, 100
SETTINGS = {
    "Task": "t", "scorer": "me", "date": "Nov30", "identity": False, "engine": "pytorch",
    "start": 0, "stop": 1, "numframes2pick": 20, "skeleton": [], "skeleton_color": "black",
    "pcutoff": 0.6, "dotsize": 8, "alphavalue": 0.7, "colormap": "rainbow",
    "TrainingFraction": [0.5], "iteration": 0, "default_net_type": "resnet_50",
    "default_augmenter": "albumentations", "snapshotindex": -1, "batch_size": 8, "cropping": False,
    "x1": 0, "x2": 640, "y1": 277, "y2": 624, "corner2move2": [50, 50], "move2corner": True,
}  # fmt: skip
ONE = {"multianimalproject": False, "bodyparts": ["a", "b", "c"]}
TWO = {
    "multianimalproject": True,
    "individuals": ["m1", "m2"],
    "uniquebodyparts": [],
    "multianimalbodyparts": ["a", "b", "c"],
    "bodyparts": "MULTI!",
}


def table(video: str, animals: tuple[str, ...] = (), scorer: str = "me") -> pd.DataFrame:
    levels = [[scorer], *([animals] if animals else []), ["a", "b", "c"], ["x", "y"]]
    names = ["scorer", *(["individuals"] if animals else []), "bodyparts", "coords"]
    columns = pd.MultiIndex.from_product(levels, names=names)
    values = np.arange(float(FRAMES * len(columns))).reshape(FRAMES, -1) % 90 + 5
    rows = [("labeled-data", video, f"img{frame}.png") for frame in range(FRAMES)]
    return pd.DataFrame(values, pd.MultiIndex.from_tuples(rows), columns)


class Maker:
    """Makes projects: `videos` stand in video_sets."""

    def __init__(self, root: Path, kind: dict[str, Any], *videos: str) -> None:
        self.root = root
        root.mkdir()
        sets = {f"/videos/{video}.mp4": {"crop": "0, 100, 0, 100"} for video in videos}
        config = {**SETTINGS, **kind, "project_path": str(root), "video_sets": sets}
        (root / "config.yaml").write_text(yaml.safe_dump(config))

    def add(self, video: str, labels: pd.DataFrame, scorer: str = "me") -> Path:
        folder = self.root / "labeled-data" / video
        folder.mkdir(parents=True, exist_ok=True)
        for frame in range(FRAMES):
            image = np.full((SIDE, SIDE, 3), 20 * frame, np.uint8)
            assert cv2.imwrite(str(folder / f"img{frame}.png"), image)
        path = folder / f"CollectedData_{scorer}.h5"
        labels.to_hdf(path, key="df_with_missing", mode="w")
        return path


def one_video(root: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    labels = table("v1")
    changed = change(labels)
    Maker(root, ONE, "v1").add("v1", labels if changed is None else changed)


def videos_of_video_sets(root: Path) -> None:
    maker = Maker(root, ONE, "v1", "v3_labeled", "gone")
    for video in ("v1", "v2", "v3_labeled"):
        maker.add(video, table(video))


def no_video_of_video_sets(root: Path) -> None:
    maker = Maker(root, ONE, "gone")
    for video in ("v1", "v3_labeled"):
        maker.add(video, table(video))


def a_file_of_a_second_scorer(root: Path) -> None:
    maker = Maker(root, ONE, "v1", "v2")
    maker.add("v1", table("v1"))
    maker.add("v2", table("v2", scorer="you"), scorer="you")


def labels_of_a_second_scorer(root: Path) -> None:
    maker = Maker(root, ONE, "v1", "v2")
    maker.add("v1", table("v1"))
    maker.add("v2", table("v2", scorer="you"))


def a_frame_twice_first_empty(root: Path) -> None:
    one_video(root, lambda labels: pd.concat([labels.iloc[:1] * np.nan, labels]))


def an_empty_frame(root: Path) -> None:
    def change(labels: pd.DataFrame) -> None:
        labels.iloc[1] = np.nan

    one_video(root, change)


def half_a_point(root: Path) -> None:
    def change(labels: pd.DataFrame) -> None:
        labels.iloc[1, 0] = np.nan

    one_video(root, change)


def labels_outside_of_the_image(root: Path) -> None:
    def change(labels: pd.DataFrame) -> None:
        labels.iloc[0, :2] = 2519, 50
        labels.iloc[1, 2:4] = -3, 4
        labels.iloc[2] = [100, 50, 99.9, 99.9, 50, 100]

    one_video(root, change)


def an_individual_without_labels(root: Path) -> None:
    labels = table("v1", ("m1", "m2", "m3"))
    labels.iloc[:, 12:] = np.nan
    Maker(root, TWO, "v1").add("v1", labels)


def renamed_individuals(root: Path) -> None:
    maker = Maker(root, TWO, "v1", "v2")
    maker.add("v1", table("v1", ("m1", "m2")))
    maker.add("v2", table("v2", ("x1", "x2")))


def one_individual_more(root: Path) -> None:
    maker = Maker(root, TWO, "v1", "v2")
    maker.add("v1", table("v1", ("m1", "m2")))
    maker.add("v2", table("v2", ("m1", "m3")))


def two_scorers_row_under_row(root: Path) -> None:
    second = table("v1", scorer="you")
    one_video(root, lambda labels: pd.concat([labels.iloc[:2], second.iloc[2:]]))


def two_tables(root: Path) -> None:
    path = Maker(root, ONE, "v1").add("v1", table("v1"))
    table("v1").to_hdf(path, key="more", mode="a")


def a_key_twice(root: Path) -> None:
    Maker(root, ONE, "v1").add("v1", table("v1"))
    with (root / "config.yaml").open("a") as file:
        file.write("bodyparts: [a, b]\n")


READ = (
    videos_of_video_sets,
    no_video_of_video_sets,
    a_file_of_a_second_scorer,
    labels_of_a_second_scorer,
    a_frame_twice_first_empty,
    an_empty_frame,
    half_a_point,
    labels_outside_of_the_image,
    an_individual_without_labels,
)
REFUSED = (
    renamed_individuals,
    one_individual_more,
    two_tables,
    a_key_twice,
)


def test_frames_and_labels_are_those_of_deeplabcut(deeplabcut: Any, tmp_path: Path) -> None:
    roots = [tmp_path / make.__name__ for make in READ]
    for make, root in zip(READ, roots, strict=True):
        make(root)
    theirs = deeplabcut("list_frames", *roots)
    for root in roots:
        labels = load_labels(open_project(root))
        points = labels.keypoints.reshape(len(labels), -1, 2)
        ours = {
            name: sorted(each[np.isfinite(each).all(axis=1)].tolist())
            for name, each in zip(labels.names, points, strict=True)
        }
        expected = {name: sorted(each) for name, each in theirs[root.name].items()}
        assert ours == expected, root.name


def test_projects_that_deeplabcut_refuses_are_refused(deeplabcut: Any, tmp_path: Path) -> None:
    roots = [tmp_path / make.__name__ for make in REFUSED]
    for make, root in zip(REFUSED, roots, strict=True):
        make(root)
    theirs = deeplabcut("list_frames", *roots)
    for root in roots:
        assert "Error" in str(theirs[root.name]), root.name
        with pytest.raises(ProjectError):
            load_labels(open_project(root))


def test_rows_of_two_scorers_are_refused(tmp_path: Path) -> None:
    """DeepLabCut reads them in one project and ends with an error in another."""
    two_scorers_row_under_row(tmp_path / "project")
    with pytest.raises(ProjectError):
        load_labels(open_project(tmp_path / "project"))
