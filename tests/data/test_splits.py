"""Splits: what every way keeps, and what each promises of its own."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlcexp.data.splits import (
    AllSplit,
    DLCShuffleSplit,
    FractionSplit,
    KFoldSplit,
    Split,
    VideoSplit,
)
from dlcexp.errors import ConfigError
from dlcexp.project import Labels, Project, open_project

FOLDERS = ("a",) * 20 + ("b",) * 10 + ("c",) * 10
UNLABELLED = {3, 25, 39}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "config.yaml").write_text("Task: t\nscorer: me\ndate: d\nbodyparts: [nose]\n")
    return open_project(tmp_path)


def make_labels(folders: tuple[str, ...] = FOLDERS, unlabelled: set[int] = UNLABELLED) -> Labels:
    names = tuple(f"labeled-data/{folder}/img{i}.png" for i, folder in enumerate(folders))
    keypoints = np.ones((len(names), 2, 3, 2))
    keypoints[sorted(unlabelled)] = np.nan
    keypoints[0, :, 1:] = np.nan
    return Labels(names, tuple(map(Path, names)), folders, keypoints, np.empty((len(names), 0, 2)))


SPLITS: dict[str, Any] = {
    "fraction": FractionSplit(),
    "small fraction": FractionSplit(0.001),
    "large fraction": FractionSplit(0.999, stratify=True),
    "stratified": FractionSplit(0.7, stratify=True),
    "fold": KFoldSplit(fold=4),
    "stratified fold": KFoldSplit(stratify=True),
    "video": VideoSplit(["b", "c"]),
    "fraction, val": FractionSplit(val_fraction=0.2),
    "stratified, small val": FractionSplit(0.7, stratify=True, val_fraction=0.001),
    "fold, large val": KFoldSplit(fold=2, val_fraction=0.999),
    "video, val videos": VideoSplit("b", val="c"),
    "video, val": VideoSplit("b", val_fraction=0.2),
}


@pytest.mark.parametrize("name", SPLITS)
def test_every_split_is_sorted_disjoint_and_tests_labelled_frames_only(
    name: str, project: Project
) -> None:
    split = SPLITS[name](make_labels(), project)
    assert split.train
    assert split.test
    assert bool(split.val) == (", " in name)
    assert len({*split.train, *split.val, *split.test}) == sum(
        map(len, (split.train, split.val, split.test))
    )
    assert set(split.train) - UNLABELLED
    assert not {*split.test, *split.val} & UNLABELLED
    for indices in (split.train, split.val, split.test):
        assert list(indices) == sorted(indices)
        assert all(type(index) is int for index in indices)


def test_all_labelled_frames_test_and_none_trains(project: Project) -> None:
    labels = make_labels()
    split = AllSplit()(labels, project)
    assert split.train == ()
    assert set(split.test) == set(range(len(labels))) - UNLABELLED


def test_all_frames_train_and_none_tests(project: Project) -> None:
    split = AllSplit(train=True)(make_labels(), project)
    assert split.train == tuple(range(len(FOLDERS)))
    assert split.parts == ("train",)


@pytest.mark.parametrize(("fraction", "test"), [(0.8, 7), (0.5, 18), (0.95, 2)])
@pytest.mark.parametrize("stratify", [False, True])
def test_a_fraction_of_the_labelled_frames_trains(
    project: Project, fraction: float, test: int, stratify: bool
) -> None:
    split = FractionSplit(fraction, stratify=stratify)(make_labels(), project)
    assert len(split.test) == test
    assert len(split.train) + len(split.test) == len(FOLDERS)


@pytest.mark.parametrize(("fraction", "val"), [(0.1, 3), (0.5, 15), (1e-3, 1)])
@pytest.mark.parametrize("stratify", [False, True])
def test_validation_frames_are_a_part_of_those_that_would_train(
    project: Project, fraction: float, val: int, stratify: bool
) -> None:
    labels = make_labels()
    without = FractionSplit(stratify=stratify)(labels, project)
    split = FractionSplit(stratify=stratify, val_fraction=fraction)(labels, project)
    assert split.test == without.test
    assert set(split.train) | set(split.val) == set(without.train)
    assert len(split.val) == val


def test_validation_frames_differ_by_seed_and_by_fold(project: Project) -> None:
    labels = make_labels()
    drawn = {FractionSplit(seed=seed, val_fraction=0.2)(labels, project).val for seed in range(4)}
    assert len(drawn) == 4
    folds = [KFoldSplit(4, fold, val_fraction=0.2)(labels, project).val for fold in range(4)]
    assert len(set(folds)) == 4


def test_stratified_validation_takes_the_same_share_of_every_folder(project: Project) -> None:
    labels = make_labels(unlabelled=set())
    split = FractionSplit(0.8, stratify=True, val_fraction=0.25)(labels, project)
    assert Counter(FOLDERS[i] for i in split.val) == {"a": 4, "b": 2, "c": 2}


def test_whole_videos_validate_and_their_unlabelled_frames_do_not_train(project: Project) -> None:
    labels = make_labels()
    split = VideoSplit("b", val=["c"])(labels, project)
    assert {labels.folders[i] for i in split.val} == {"c"}
    assert {labels.folders[i] for i in split.train} == {"a"}
    assert len(split.val) == 9


@pytest.mark.parametrize("stratify", [False, True])
def test_fewer_training_frames_are_among_more_and_the_others_stay(
    project: Project, stratify: bool
) -> None:
    labels = make_labels()
    kinds = {"stratify": stratify, "val_fraction": 0.2}
    whole = FractionSplit(**kinds)(labels, project)
    found = [
        FractionSplit(**kinds, train_frames=count)(labels, project) for count in (3, 6, 12, 24)
    ]
    assert [len(split.train) for split in found] == [3, 6, 12, 24]
    for fewer, more in zip(found, [*found[1:], whole], strict=True):
        assert set(fewer.train) < set(more.train)
        assert (fewer.test, fewer.val) == (whole.test, whole.val)
    assert set(found[-1].train) == set(whole.train) - UNLABELLED
    if stratify:
        assert set(Counter(FOLDERS[i] for i in found[1].train)) == {"a", "b", "c"}


def test_every_split_takes_a_number_of_training_frames(project: Project) -> None:
    labels = make_labels()
    for split in (KFoldSplit(train_frames=5), VideoSplit("b", val="c", train_frames=5)):
        assert len(split(labels, project).train) == 5


def test_the_seed_decides_and_0_is_one(project: Project) -> None:
    labels = make_labels()
    splits = [FractionSplit(seed=seed)(labels, project) for seed in (0, 0, 1, 42)]
    assert splits[0] == splits[1]
    assert len({split.test for split in splits}) == 3


def test_stratified_means_the_same_share_of_every_folder(project: Project) -> None:
    labels = make_labels(unlabelled=set())
    for seed in range(5):
        split = FractionSplit(0.8, seed=seed, stratify=True)(labels, project)
        assert Counter(FOLDERS[i] for i in split.test) == {"a": 4, "b": 2, "c": 2}
        fold = KFoldSplit(5, seed % 5, stratify=True)(labels, project)
        assert Counter(FOLDERS[i] for i in fold.test) == {"a": 4, "b": 2, "c": 2}


@pytest.mark.parametrize("stratify", [False, True])
def test_over_all_folds_every_labelled_frame_tests_once(project: Project, stratify: bool) -> None:
    labels = make_labels()
    splits = [KFoldSplit(5, fold, stratify=stratify)(labels, project) for fold in range(5)]
    tested = [index for split in splits for index in split.test]
    assert sorted(tested) == sorted(set(range(len(FOLDERS))) - UNLABELLED)
    assert {len(split.test) for split in splits} == {7, 8}


def test_whole_videos_test_and_their_unlabelled_frames_do_not_train(project: Project) -> None:
    labels = make_labels()
    split = VideoSplit("b")(labels, project)
    assert {labels.folders[i] for i in split.test} == {"b"}
    assert {labels.folders[i] for i in split.train} == {"a", "c"}
    assert len(split.test) == 9


def test_unique_bodyparts_count_as_labels(project: Project) -> None:
    plain = make_labels(("a", "a"), {0, 1})
    unique = np.ones((2, 1, 2))
    labels = Labels(plain.names, plain.images, plain.folders, plain.keypoints, unique)
    assert len(FractionSplit()(labels, project).test) == 1


MISTAKES: dict[str, tuple[Any, str, str]] = {
    "fraction 1": (lambda: FractionSplit(1), "split.train_fraction", "0 and 1"),
    "fraction 80": (lambda: FractionSplit(80), "split.train_fraction", "80"),
    "one part": (lambda: KFoldSplit(1), "split.k", "2"),
    "fold k": (lambda: KFoldSplit(5, 5), "split.fold", "split.k=5"),
    "fold -1": (lambda: KFoldSplit(5, -1), "split.fold", "-1"),
    "no video": (lambda: VideoSplit([]), "split.test", "split.test"),
    "video twice": (lambda: VideoSplit(["a", "b"], val="b"), "split.val", "b: tests already"),
    "two ways": (lambda: VideoSplit("a", "b", 0.1), "split.val_fraction", "split.val names"),
    "train 0": (lambda: FractionSplit(train_frames=0), "split.train_frames", "at least 1"),
    "val 0": (lambda: FractionSplit(val_fraction=0), "split.val_fraction", "0 and 1"),
    "val 1": (lambda: KFoldSplit(val_fraction=1), "split.val_fraction", "0 and 1"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_wrong_value_is_named_with_its_key(case: str) -> None:
    build, key, message = MISTAKES[case]
    with pytest.raises(ConfigError) as caught:
        build()
    assert caught.value.key == key
    assert message in str(caught.value)


def test_what_the_project_cannot_give_is_named(project: Project) -> None:
    labels = make_labels(("video1", "video2"), set())
    with pytest.raises(ConfigError, match=r"vidoe1.* video1, video2.*'video1'"):
        VideoSplit("vidoe1")(labels, project)
    with pytest.raises(ConfigError, match=r"^split\."):
        VideoSplit(["video1", "video2"])(labels, project)
    with pytest.raises(ConfigError, match=r"^split\."):
        VideoSplit(["video1"])(make_labels(("video1", "video2", "video2"), {0}), project)
    with pytest.raises(ConfigError, match=r"^split\.val: .*vidoe2.*'video2'"):
        VideoSplit("video1", val="vidoe2")(labels, project)
    with pytest.raises(ConfigError, match=r"^split.*train"):
        VideoSplit("video1", val="video2")(labels, project)
    with pytest.raises(ConfigError, match=r"^split\.val: .*no labelled frame to val"):
        VideoSplit("video1", val="video3")(
            make_labels(("video1", "video2", "video3"), {2}), project
        )
    with pytest.raises(ConfigError, match=r"^split\.train_frames: 30 .* 29 labelled frames"):
        FractionSplit(train_frames=30)(make_labels(unlabelled={0, 1, 2, 3}), project)
    with pytest.raises(ConfigError, match=r"^split\.val_fraction: .*1 labelled training frame "):
        FractionSplit(0.5, val_fraction=0.5)(labels, project)
    with pytest.raises(ConfigError, match=r"^split\.k: .*5.* 2 "):
        KFoldSplit(5)(labels, project)
    with pytest.raises(ConfigError, match=r"^split.*\b1\b"):
        FractionSplit()(make_labels(("a",), set()), project)


def test_a_deeplabcut_shuffle_is_matched_by_name(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    labels = make_labels()
    rows = [*reversed(labels.names), "labeled-data/gone/img0.png"]
    folder = project.root / "training-datasets/iteration-0/UnaugmentedDataSet_td"
    folder.mkdir(parents=True)
    columns = pd.MultiIndex.from_product(
        [["me"], ["nose"], ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    table = pd.DataFrame(np.ones((len(rows), 2)), rows, columns)
    table.to_hdf(folder / "CollectedData_me.h5", key="df_with_missing", mode="w")
    test = [len(FOLDERS) - 1 - index for index in (3, 8, 5)] + [len(FOLDERS)]
    train = [len(FOLDERS) - 1 - index for index in (30, 7)]
    content = [[], np.array(train), np.array(test), 0.5]
    (folder / "Documentation_data-t_50shuffle3.pickle").write_bytes(pickle.dumps(content))
    # 3 has no label, the last row is of a frame that is gone.
    assert DLCShuffleSplit(3)(labels, project) == Split((7, 30), (5, 8))
    with_val = DLCShuffleSplit(3, val_fraction=0.5)(labels, project)
    assert (with_val.test, {*with_val.train, *with_val.val}) == ((5, 8), {7, 30})
    assert len(with_val.val) == 1
    assert "labeled-data/gone/img0.png" in caplog.text
