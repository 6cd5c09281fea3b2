"""Splits of frames into training, validation and test: classes that the group `split` chooses from.

Validation frames are taken out of the training frames, if that is asked for: they choose snapshots
and recipes, so that test frames do not. A frame without any label neither tests nor validates, and
there is a frame to train and one to test, except for `split=all`.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import ConfigError, nearest
from dlcexp.project import Labels, Project

logger = logging.getLogger(__name__)

SplitName = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Split:
    """Indices into `Labels`, each sorted; no index is in two parts."""

    train: tuple[int, ...]
    test: tuple[int, ...]
    val: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[SplitName, ...]:
        """The parts that are scored; validation frames only where there are some."""
        return ("train", "val", "test") if self.val else ("train", "test")


class FractionSplit:
    """A random fraction of the frames trains, the others test.

    Args:
        train_fraction: between 0 and 1; at least one frame stays on either side.
        seed: seed of the shuffling.
        stratify: take the same fraction of each video folder.
        val_fraction: part of the training frames that validates in place of training.
    """

    def __init__(
        self,
        train_fraction: float = 0.8,
        seed: int = 42,
        stratify: bool = False,
        val_fraction: float | None = None,
    ) -> None:
        if not 0 < train_fraction < 1:
            raise ConfigError(
                "split.train_fraction", f"must be between 0 and 1, not {train_fraction}."
            )
        self.train_fraction = train_fraction
        self.seed = seed
        self.stratify = stratify
        self.validation = RandomValidation(val_fraction, seed, stratify)

    def __call__(self, labels: Labels, project: Project) -> Split:
        order = _shuffled(labels, self.seed, self.stratify)
        wanted = round(len(order) * (1 - self.train_fraction))
        count = min(max(wanted, 1), len(order) - 1)
        return self.validation(_split(labels, _evenly(order, count)), labels)


class KFoldSplit:
    """One of `k` parts of the frames tests; over all folds every labelled frame tests once.

    Args:
        k: number of parts.
        fold: which part tests, from 0.
        seed: seed of the shuffling.
        stratify: deal the frames of each video folder evenly to the parts.
        val_fraction: part of the training frames that validates in place of training.
    """

    def __init__(
        self,
        k: int = 5,
        fold: int = 0,
        seed: int = 42,
        stratify: bool = False,
        val_fraction: float | None = None,
    ) -> None:
        if k < 2:
            raise ConfigError("split.k", f"must be at least 2, not {k}.")
        if not 0 <= fold < k:
            raise ConfigError("split.fold", f"must be from 0 to {k - 1} (split.k={k}), not {fold}.")
        self.k = k
        self.fold = fold
        self.seed = seed
        self.stratify = stratify
        self.validation = RandomValidation(val_fraction, seed, stratify)

    def __call__(self, labels: Labels, project: Project) -> Split:
        order = _shuffled(labels, self.seed, self.stratify)
        if len(order) < self.k:
            raise ConfigError("split.k", f"{self.k} is more than the {len(order)} labelled frames.")
        return self.validation(_split(labels, order[self.fold :: self.k]), labels)


class VideoSplit:
    """Whole videos test, others validate if that is asked for, and the rest trains.

    Args:
        test: one or more folders of `labeled-data`.
        val: folders that validate; None or [] for none.
        val_fraction: in place of `val`, part of the training frames that validates.
        seed: seed of the drawing of these.
    """

    def __init__(
        self,
        test: str | Sequence[str],
        val: str | Sequence[str] | None = None,
        val_fraction: float | None = None,
        seed: int = 42,
    ) -> None:
        self.test, self.val = _names(test), _names(val or [])
        if not self.test:
            raise ConfigError("split.test", "names no folder.")
        if both := sorted(set(self.test) & set(self.val)):
            raise ConfigError("split.val", f"{', '.join(both)}: tests already.")
        if self.val and val_fraction is not None:
            raise ConfigError("split.val_fraction", "must be null where split.val names folders.")
        self.validation = RandomValidation(val_fraction, seed)

    def __call__(self, labels: Labels, project: Project) -> Split:
        parts = {"split.test": self.test, "split.val": self.val}
        inside = {key: _inside(names, labels, key) for key, names in parts.items()}
        labelled = _labelled(labels)
        test, val = (np.intersect1d(rows, labelled) for rows in inside.values())
        for key, rows in (("split.test", test), ("split.val", val)):
            if parts[key] and not len(rows):
                part = key.removeprefix("split.")
                raise ConfigError(
                    key, f"{', '.join(parts[key])}: leaves no labelled frame to {part}."
                )
        if len(test) + len(val) == len(labelled):
            names = ", ".join(self.test + self.val)
            raise ConfigError("split.test", f"{names}: leaves no labelled frame to train.")
        # A frame without labels in one of these videos must not train either: it is that video's.
        unlabelled = np.setdiff1d(np.concatenate(list(inside.values())), labelled)
        split = _split(labels, test, val, leave_out=unlabelled)
        return self.validation(split, labels)


class AllSplit:
    """Every labelled frame tests: to evaluate a model that was trained elsewhere."""

    def __call__(self, labels: Labels, project: Project) -> Split:
        return Split((), tuple(map(int, _labelled(labels))))


class DLCShuffleSplit:
    """The split of an existing DeepLabCut shuffle; frames labelled since are in neither part.

    Args:
        shuffle: its number.
        iteration: of the project; None: that of its `config.yaml`.
        trainset_fraction: training fraction of the shuffle; None: whichever there is.
        val_fraction: part of the training frames that validates in place of training.
        seed: seed of the drawing of these.
    """

    def __init__(
        self,
        shuffle: int = 1,
        iteration: int | None = None,
        trainset_fraction: float | None = None,
        val_fraction: float | None = None,
        seed: int = 42,
    ) -> None:
        self.shuffle = shuffle
        self.iteration = iteration
        self.trainset_fraction = trainset_fraction
        self.validation = RandomValidation(val_fraction, seed)

    def __call__(self, labels: Labels, project: Project) -> Split:
        from dlcexp.deeplabcut.shuffles import read_shuffle

        frames = read_shuffle(project, self.shuffle, self.iteration, self.trainset_fraction)
        place = {name: index for index, name in enumerate(labels.names)}
        gone = [n for n in frames.train + frames.test if n not in place and n not in labels.absent]
        if gone:
            logger.warning(
                "shuffle %d: %d of its frames are not labelled any more and left out: %s%s",
                self.shuffle, len(gone), ", ".join(gone[:3]), ", ..." if len(gone) > 3 else "",
            )  # fmt: skip
        train = {place[name] for name in frames.train if name in place}
        test = {place[name] for name in frames.test if name in place} & set(_labelled(labels))
        if not train or not test:
            raise ConfigError(
                "split.shuffle",
                f"shuffle {self.shuffle} leaves no frame to {'test' if train else 'train'}.",
            )
        split = Split(tuple(sorted(map(int, train))), tuple(sorted(map(int, test))))
        return self.validation(split, labels)


class RandomValidation:
    """Takes validation frames out of the training frames, at random.

    Args:
        fraction: of the labelled training frames, between 0 and 1; at least one frame stays on
            either side. None takes none.
        seed: of the drawing.
        stratify: take the same fraction of each video folder.
    """

    def __init__(self, fraction: float | None, seed: int, stratify: bool = False) -> None:
        if fraction is not None and not 0 < fraction < 1:
            raise ConfigError("split.val_fraction", f"must be between 0 and 1, not {fraction}.")
        self.fraction = fraction
        self.seed = seed
        self.stratify = stratify

    def __call__(self, split: Split, labels: Labels) -> Split:
        """Return the split with validation frames."""
        if self.fraction is None:
            return split
        labelled = np.intersect1d(split.train, _labelled(labels))
        if len(labelled) < 2:
            raise ConfigError(
                "split.val_fraction",
                f"of {len(labelled)} labelled training frame{'s' * (len(labelled) != 1)} none can "
                "validate; set it to null.",
            )
        # Not the seed alone: it has drawn the test frames already.
        random = np.random.default_rng([self.seed, len(split.test)])
        order = _in_folders(random.permutation(labelled), labels, self.stratify)
        wanted = round(len(order) * self.fraction)
        drawn = _evenly(order, min(max(wanted, 1), len(order) - 1))
        val = tuple(sorted(map(int, drawn)))
        return Split(tuple(row for row in split.train if row not in val), split.test, val)


def _names(folders: str | Sequence[str]) -> list[str]:
    return [folders] if isinstance(folders, str) else [str(name) for name in folders]


def _inside(names: Sequence[str], labels: Labels, key: str) -> NDArray[np.intp]:
    """Return the frames of video folders, or raise a `ConfigError` where there is no such one."""
    known = list(dict.fromkeys(labels.folders))
    for name in names:
        if name not in known:
            raise ConfigError(
                key,
                f"there is no video folder {name!r}; the project has {', '.join(known)}."
                f"{nearest(name, known)}",
            )
    return np.flatnonzero([folder in names for folder in labels.folders])


def _labelled(labels: Labels) -> NDArray[np.intp]:
    """Frames with at least one label."""
    points = np.isfinite(labels.keypoints).any(axis=(1, 2, 3))
    return np.flatnonzero(points | np.isfinite(labels.unique).any(axis=(1, 2)))


def _shuffled(labels: Labels, seed: int, by_folder: bool) -> NDArray[np.intp]:
    """The labelled frames in random order; or folder after folder, in random order within each."""
    labelled = _labelled(labels)
    if len(labelled) < 2:
        raise ConfigError("split", f"needs two labelled frames; the project has {len(labelled)}.")
    return _in_folders(np.random.default_rng(seed).permutation(labelled), labels, by_folder)


def _in_folders(order: NDArray[np.intp], labels: Labels, by_folder: bool) -> NDArray[np.intp]:
    """Return frames folder after folder, each in the order given, if that is asked for."""
    if not by_folder:
        return order
    return order[np.argsort(np.array(labels.folders)[order], kind="stable")]


def _evenly(order: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return evenly spaced picks: of frames sorted by folder, each folder gives its share."""
    return order[((np.arange(count) + 0.5) * len(order) / count).astype(int)]


def _split(
    labels: Labels,
    test: Iterable[int],
    val: Iterable[int] = (),
    leave_out: Iterable[int] = (),
) -> Split:
    """Return the split in which the chosen frames test or validate and all others train."""
    tests, validates = ({int(index) for index in rows} for rows in (test, val))
    elsewhere = tests | validates | {int(index) for index in leave_out}
    train = tuple(index for index in range(len(labels.names)) if index not in elsewhere)
    return Split(train, tuple(sorted(tests)), tuple(sorted(validates)))
