"""Splits of frames into training and test: classes that the group `split` chooses from.

A frame without any label never tests, and there is a frame on either side, except for `split=all`.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlcexp.errors import ConfigError, nearest
from dlcexp.project import Labels, Project

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """Indices into `Labels`, each sorted; no index is in both."""

    train: tuple[int, ...]
    test: tuple[int, ...]


class FractionSplit:
    """A random fraction of the frames trains, the others test.

    Args:
        train_fraction: between 0 and 1; at least one frame stays on either side.
        seed: seed of the shuffling.
        stratify: take the same fraction of each video folder.
    """

    def __init__(self, train_fraction: float = 0.8, seed: int = 42, stratify: bool = False) -> None:
        if not 0 < train_fraction < 1:
            raise ConfigError(
                "split.train_fraction", f"must be between 0 and 1, not {train_fraction}."
            )
        self.train_fraction = train_fraction
        self.seed = seed
        self.stratify = stratify

    def __call__(self, labels: Labels, project: Project) -> Split:
        order = _shuffled(labels, self.seed, self.stratify)
        wanted = round(len(order) * (1 - self.train_fraction))
        count = min(max(wanted, 1), len(order) - 1)
        # Evenly spaced picks: of frames sorted by folder, each folder gives its share.
        picks = ((np.arange(count) + 0.5) * len(order) / count).astype(int)
        return _split(labels, order[picks])


class KFoldSplit:
    """One of `k` parts of the frames tests; over all folds every labelled frame tests once.

    Args:
        k: number of parts.
        fold: which part tests, from 0.
        seed: seed of the shuffling.
        stratify: deal the frames of each video folder evenly to the parts.
    """

    def __init__(self, k: int = 5, fold: int = 0, seed: int = 42, stratify: bool = False) -> None:
        if k < 2:
            raise ConfigError("split.k", f"must be at least 2, not {k}.")
        if not 0 <= fold < k:
            raise ConfigError("split.fold", f"must be from 0 to {k - 1} (split.k={k}), not {fold}.")
        self.k = k
        self.fold = fold
        self.seed = seed
        self.stratify = stratify

    def __call__(self, labels: Labels, project: Project) -> Split:
        order = _shuffled(labels, self.seed, self.stratify)
        if len(order) < self.k:
            raise ConfigError("split.k", f"{self.k} is more than the {len(order)} labelled frames.")
        return _split(labels, order[self.fold :: self.k])


class VideoSplit:
    """Whole videos test, the others train.

    Args:
        test: one or more folders of `labeled-data`.
    """

    def __init__(self, test: str | Sequence[str]) -> None:
        self.test = [test] if isinstance(test, str) else [str(name) for name in test]
        if not self.test:
            raise ConfigError("split.test", "names no folder.")

    def __call__(self, labels: Labels, project: Project) -> Split:
        known = list(dict.fromkeys(labels.folders))
        for name in self.test:
            if name not in known:
                raise ConfigError(
                    "split.test",
                    f"there is no video folder {name!r}; the project has {', '.join(known)}."
                    f"{nearest(name, known)}",
                )
        labelled = _labelled(labels)
        inside = [index for index, folder in enumerate(labels.folders) if folder in self.test]
        test = np.intersect1d(inside, labelled)
        if len(test) in (0, len(labelled)):
            side = "train" if len(test) else "test"
            raise ConfigError(
                "split.test", f"{', '.join(self.test)}: leaves no labelled frame to {side}."
            )
        # A frame without labels in a test video must not train either: it is that video's.
        unlabelled = np.setdiff1d(inside, test)
        return _split(labels, test, leave_out=unlabelled)


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
    """

    def __init__(
        self,
        shuffle: int = 1,
        iteration: int | None = None,
        trainset_fraction: float | None = None,
    ) -> None:
        self.shuffle = shuffle
        self.iteration = iteration
        self.trainset_fraction = trainset_fraction

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
        return Split(tuple(sorted(map(int, train))), tuple(sorted(map(int, test))))


def _labelled(labels: Labels) -> NDArray[np.intp]:
    """Frames with at least one label."""
    points = np.isfinite(labels.keypoints).any(axis=(1, 2, 3))
    return np.flatnonzero(points | np.isfinite(labels.unique).any(axis=(1, 2)))


def _shuffled(labels: Labels, seed: int, by_folder: bool) -> NDArray[np.intp]:
    """The labelled frames in random order; or folder after folder, in random order within each."""
    labelled = _labelled(labels)
    if len(labelled) < 2:
        raise ConfigError("split", f"needs two labelled frames; the project has {len(labelled)}.")
    order = np.random.default_rng(seed).permutation(labelled)
    if by_folder:
        folders = np.array(labels.folders)[order]
        order = order[np.argsort(folders, kind="stable")]
    return order


def _split(labels: Labels, test: Iterable[int], leave_out: Iterable[int] = ()) -> Split:
    """Return the split in which the chosen frames test and all others train."""
    chosen = {int(index) for index in test}
    elsewhere = chosen | {int(index) for index in leave_out}
    train = tuple(index for index in range(len(labels.names)) if index not in elsewhere)
    return Split(train, tuple(sorted(chosen)))
