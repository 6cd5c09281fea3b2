"""Splits of frames into training, validation and test: classes that the group `split` chooses from.

Validation frames are taken out of the training frames: they choose snapshots and recipes, so that
test frames do not. A frame without any label neither tests nor validates, and there is a frame to
train and one to test, except for `split=all`.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import ConfigError, nearest
from dlcexp.project import Labels, Project
from dlcexp.vocabulary import AUTO

logger = logging.getLogger(__name__)

SplitName = Literal["train", "val", "test"]

# Part of the training frames that validates: a number, `auto`, or None for none.
ValFraction = float | Literal["auto"] | None

# What `auto` takes, and of how many labelled training frames at least: of fewer, each is needed to
# train, and too few would be left to choose by.
AUTO_VAL_FRACTION, FEWEST_FOR_VAL = 0.15, 40


@dataclass(frozen=True)
class Split:
    """Indices into `Labels`, each sorted; no index is in two parts."""

    train: tuple[int, ...]
    test: tuple[int, ...]
    val: tuple[int, ...] = ()

    @property
    def parts(self) -> tuple[SplitName, ...]:
        """The parts that are scored; validation frames only where there are some."""
        if self.train and not self.test and not self.val:
            return ("train",)
        return ("train", "val", "test") if self.val else ("train", "test")


class FractionSplit:
    """A random fraction of the frames trains, the others test.

    Args:
        train_fraction: between 0 and 1; at least one frame stays on either side.
        seed: seed of the shuffling.
        stratify: take the same fraction of each video folder.
        val_fraction: part of the training frames that validates; auto: 0.15 of 40 or more; None:
            none.
        train_frames: labelled frames that train; None: all that neither test nor validate.
    """

    def __init__(
        self,
        train_fraction: float = 0.8,
        seed: int = 42,
        stratify: bool = False,
        val_fraction: ValFraction = None,
        train_frames: int | None = None,
    ) -> None:
        if not 0 < train_fraction < 1:
            raise ConfigError(
                "split.train_fraction", f"must be between 0 and 1, not {train_fraction}."
            )
        self.train_fraction = train_fraction
        self.seed = seed
        self.stratify = stratify
        self.draw = TrainingDraw(val_fraction, train_frames, seed, stratify)

    def __call__(self, labels: Labels, project: Project) -> Split:
        order = _shuffled(labels, self.seed, self.stratify)
        wanted = round(len(order) * (1 - self.train_fraction))
        count = min(max(wanted, 1), len(order) - 1)
        return self.draw(_split(labels, _evenly(order, count)), labels)


class KFoldSplit:
    """One of `k` parts of the frames tests; over all folds every labelled frame tests once.

    Args:
        k: number of parts.
        fold: which part tests, from 0.
        seed: seed of the shuffling.
        stratify: deal the frames of each video folder evenly to the parts.
        val_fraction: part of the training frames that validates; auto: 0.15 of 40 or more; None:
            none.
        train_frames: labelled frames that train; None: all that neither test nor validate.
    """

    def __init__(
        self,
        k: int = 5,
        fold: int = 0,
        seed: int = 42,
        stratify: bool = False,
        val_fraction: ValFraction = None,
        train_frames: int | None = None,
    ) -> None:
        if k < 2:
            raise ConfigError("split.k", f"must be at least 2, not {k}.")
        if not 0 <= fold < k:
            raise ConfigError("split.fold", f"must be from 0 to {k - 1} (split.k={k}), not {fold}.")
        self.k = k
        self.fold = fold
        self.seed = seed
        self.stratify = stratify
        self.draw = TrainingDraw(val_fraction, train_frames, seed, stratify)

    def __call__(self, labels: Labels, project: Project) -> Split:
        order = _shuffled(labels, self.seed, self.stratify)
        if len(order) < self.k:
            raise ConfigError("split.k", f"{self.k} is more than the {len(order)} labelled frames.")
        return self.draw(_split(labels, order[self.fold :: self.k]), labels)


class VideoSplit:
    """Whole videos test, others validate if that is asked for, and the rest trains.

    Args:
        test: one or more folders of `labeled-data`.
        val: folders that validate; None or [] for none.
        val_fraction: part of the training frames that validates, without `val`; auto: 0.15 of 40
            or more; None: none.
        train_frames: labelled frames that train; None: all that neither test nor validate.
        seed: seed of the drawing of these.
    """

    def __init__(
        self,
        test: str | Sequence[str],
        val: str | Sequence[str] | None = None,
        val_fraction: ValFraction = None,
        train_frames: int | None = None,
        seed: int = 42,
    ) -> None:
        self.test, self.val = _names(test), _names(val or [])
        if not self.test:
            raise ConfigError("split.test", "names no folder.")
        if both := sorted(set(self.test) & set(self.val)):
            raise ConfigError("split.val", f"{', '.join(both)}: tests already.")
        if self.val and val_fraction not in (None, AUTO):
            raise ConfigError("split.val_fraction", "must be null where split.val names folders.")
        self.draw = TrainingDraw(None if self.val else val_fraction, train_frames, seed)

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
        return self.draw(split, labels)


class AllSplit:
    """Every labelled frame tests, to evaluate a model that was trained elsewhere; or all train.

    Args:
        train: every frame trains, and none is left to test.
    """

    def __init__(self, train: bool = False) -> None:
        self.train = train

    def __call__(self, labels: Labels, project: Project) -> Split:
        if self.train:
            return Split(tuple(range(len(labels.names))), ())
        return Split((), tuple(map(int, _labelled(labels))))


class DLCShuffleSplit:
    """The split of an existing DeepLabCut shuffle; frames labelled since are in neither part.

    Args:
        shuffle: its number.
        iteration: of the project; None: that of its `config.yaml`.
        trainset_fraction: training fraction of the shuffle; None: whichever there is.
        val_fraction: part of the training frames that validates; auto: 0.15 of 40 or more; None:
            none.
        train_frames: labelled frames that train; None: all that neither test nor validate.
        seed: seed of the drawing of these.
    """

    def __init__(
        self,
        shuffle: int = 1,
        iteration: int | None = None,
        trainset_fraction: float | None = None,
        val_fraction: ValFraction = None,
        train_frames: int | None = None,
        seed: int = 42,
    ) -> None:
        self.shuffle = shuffle
        self.iteration = iteration
        self.trainset_fraction = trainset_fraction
        self.draw = TrainingDraw(val_fraction, train_frames, seed)

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
        split = Split(_sorted(train), _sorted(test))
        return self.draw(split, labels)


class TrainingDraw:
    """Takes validation frames out of the training frames, and keeps as many as are wanted.

    Args:
        val_fraction: of the labelled training frames, between 0 and 1; at least one frame stays on
            either side. `auto` takes 0.15 of them where there are 40 or more, and else none, as
            None does.
        train_frames: labelled frames that are kept; a larger number keeps those of a smaller one.
            None keeps all, and frames without labels.
        seed: of the drawing.
        stratify: take the same share of each video folder.
    """

    def __init__(
        self,
        val_fraction: ValFraction,
        train_frames: int | None,
        seed: int,
        stratify: bool = False,
    ) -> None:
        allowed = val_fraction in (None, AUTO)
        if not allowed and not (isinstance(val_fraction, float | int) and 0 < val_fraction < 1):
            raise ConfigError(
                "split.val_fraction",
                f"must be between 0 and 1, auto or null, not {val_fraction!r}.",
            )
        if train_frames is not None and train_frames < 1:
            raise ConfigError("split.train_frames", f"must be at least 1, not {train_frames}.")
        self.val_fraction = val_fraction
        self.train_frames = train_frames
        self.seed = seed
        self.stratify = stratify

    def __call__(self, split: Split, labels: Labels) -> Split:
        """Return the split with the frames drawn from its training frames."""
        # Not the seed alone: it has drawn the test frames already.
        random = np.random.default_rng([self.seed, len(split.test)])
        labelled = random.permutation(np.intersect1d(split.train, _labelled(labels)))
        fraction = self._fraction(len(labelled))
        val = split.val if fraction is None else self._validating(labelled, labels, fraction)
        train = tuple(row for row in split.train if row not in val)
        if self.train_frames is not None:
            train = self._kept([row for row in labelled if row not in val], labels)
        return Split(train, split.test, val)

    def _fraction(self, frames: int) -> float | None:
        if self.val_fraction != AUTO:
            return self.val_fraction  # type: ignore[return-value]
        return AUTO_VAL_FRACTION if frames >= FEWEST_FOR_VAL else None

    def _validating(
        self, order: NDArray[np.intp], labels: Labels, fraction: float
    ) -> tuple[int, ...]:
        if len(order) < 2:
            raise ConfigError(
                "split.val_fraction",
                f"of {len(order)} labelled training frame{'s' * (len(order) != 1)} none can "
                "validate; set it to null.",
            )
        wanted = round(len(order) * fraction)
        count = min(max(wanted, 1), len(order) - 1)
        return _sorted(_evenly(_in_folders(order, labels, self.stratify), count))

    def _kept(self, order: Sequence[int], labels: Labels) -> tuple[int, ...]:
        count = self.train_frames or 0
        if count > len(order):
            raise ConfigError(
                "split.train_frames",
                f"{count} is more than the {len(order)} labelled frames that can train.",
            )
        if self.stratify:
            # Each frame by its place in its folder, from 0 to 1: any first part has all folders.
            folders = Counter(labels.folders[row] for row in order)
            seen: Counter[str] = Counter()
            places = {}
            for row in order:
                seen[folder := labels.folders[row]] += 1
                places[row] = (seen[folder] - 0.5) / folders[folder]
            order = sorted(order, key=places.__getitem__)
        return _sorted(order[:count])


def _sorted(rows: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(map(int, rows)))


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
    return Split(train, _sorted(tests), _sorted(validates))
