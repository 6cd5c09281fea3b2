"""Which frames train and which test. Every way is a class that the group `split` picks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dlcexp.deeplabcut.labels import Labels
from dlcexp.deeplabcut.project import Project
from dlcexp.errors import ConfigError, nearest


@dataclass(frozen=True)
class Split:
    """Indices into `Labels`, each sorted; a frame without any label is in neither or in `train`."""

    train: tuple[int, ...]
    test: tuple[int, ...]


class FractionSplit:
    """A random fraction of the frames trains, the others test.

    Args:
        train_fraction: between 0 and 1; at least one frame stays on either side.
        seed: of the permutation.
        stratify: take the fraction of each video folder by itself.
    """

    def __init__(self, train_fraction: float = 0.8, seed: int = 42, stratify: bool = False) -> None:
        if not 0 < train_fraction < 1:
            raise ConfigError("split.train_fraction", f"{train_fraction!r} is not between 0 and 1.")
        self.train_fraction = train_fraction
        self.seed = seed
        self.stratify = stratify

    def __call__(self, labels: Labels, project: Project) -> Split:
        rng = np.random.default_rng(self.seed)
        labeled = _labeled(labels)
        folders = np.array(labels.folders)[labeled]
        parts = [labeled[folders == name] for name in np.unique(folders)]
        test: list[int] = []
        for part in parts if self.stratify else [labeled]:
            count = round(len(part) * (1 - self.train_fraction))
            test.extend(rng.permutation(part)[:count])
        if not test:
            test.append(int(rng.permutation(labeled)[0]))
        return _split(labels, test)


class KFoldSplit:
    """One of `k` parts of the frames tests; the parts of all folds make up the whole.

    Args:
        k: number of parts.
        fold: which part tests, from 0.
        seed: of the permutation.
    """

    def __init__(self, k: int = 5, fold: int = 0, seed: int = 42) -> None:
        if k < 2:
            raise ConfigError("split.k", f"{k!r} is below 2.")
        if not 0 <= fold < k:
            raise ConfigError("split.fold", f"{fold!r} is not one of 0 to {k - 1} (split.k={k}).")
        self.k = k
        self.fold = fold
        self.seed = seed

    def __call__(self, labels: Labels, project: Project) -> Split:
        labeled = _labeled(labels)
        if len(labeled) < self.k:
            raise ConfigError(
                "split.k", f"{self.k} is more than the {len(labeled)} labelled frames."
            )
        order = np.random.default_rng(self.seed).permutation(labeled)
        return _split(labels, np.array_split(order, self.k)[self.fold])


class VideoSplit:
    """Whole videos test, the others train.

    Args:
        test: folders of `labeled-data`.
    """

    def __init__(self, test: str | Sequence[str]) -> None:
        self.test = [test] if isinstance(test, str) else list(test)

    def __call__(self, labels: Labels, project: Project) -> Split:
        known = sorted(set(labels.folders))
        for name in self.test:
            if name not in known:
                raise ConfigError(
                    "split.test",
                    f"there is no folder {name!r}; there are {', '.join(known)}."
                    f"{nearest(name, known)}",
                )
        chosen = [i for i in _labeled(labels) if labels.folders[i] in self.test]
        return _split(labels, chosen)


class DLCShuffleSplit:
    """The very split of an existing DeepLabCut shuffle.

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
        train, test = (
            tuple(sorted(place[name] for name in names if name in place))
            for names in (frames.train, frames.test)
        )
        if not train or not test:
            raise ConfigError(
                "split.shuffle", f"shuffle {self.shuffle} names no image that exists."
            )
        return Split(train, test)


def _labeled(labels: Labels) -> np.ndarray:
    """Frames with at least one label."""
    axes = (1, 2, 3)
    points = ~np.isnan(labels.keypoints).all(axis=axes)
    if labels.unique.shape[1]:
        points |= ~np.isnan(labels.unique).all(axis=axes[:-1])
    return np.flatnonzero(points)


def _split(labels: Labels, test: Iterable[int]) -> Split:
    """The chosen frames test, all others train; neither side may be empty."""
    chosen = {int(index) for index in test}
    train = tuple(index for index in range(len(labels.names)) if index not in chosen)
    if not train or not chosen:
        side = "trains" if not train else "tests"
        raise ConfigError("split", f"no frame {side}; the project has {len(labels.names)} frames.")
    return Split(train, tuple(sorted(chosen)))
