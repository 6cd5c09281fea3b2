"""The shuffles of a DeepLabCut project: which frames it trains on and which it tests on.

DeepLabCut keeps them as row numbers of a merged label table, in a pickle. Row numbers depend on
how the table was merged, so they leave here as names of frames.
"""

import filecmp
import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.export import shuffle_conditions
from dlcexp.deeplabcut.snapshots import best_snapshot
from dlcexp.errors import ConfigError, ProjectError
from dlcexp.project import Project
from dlcexp.project.dlc_tables import read_table
from dlcexp.project.frames import frame_name
from dlcexp.text import listed
from dlcexp.vocabulary import ITERATION, LABELS, MODELS, POSE_CONFIG, TRAINING_SETS
from dlcexp.yaml_files import read_yaml

DOCUMENTATION = re.compile(r"Documentation_data-.*_(?P<percent>\d+)shuffle(?P<shuffle>\d+)\.pickle")
MODEL = re.compile(r".*-trainset(?P<percent>\d+)shuffle(?P<shuffle>\d+)")


@dataclass(frozen=True)
class ShuffleFrames:
    """Names of the frames of a shuffle, such as `labeled-data/video/img.png`, in its own order."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def read_shuffle(
    project: Project,
    shuffle: int = 1,
    iteration: int | None = None,
    trainset_fraction: float | None = None,
) -> ShuffleFrames:
    """Read the frames of an existing shuffle.

    Args:
        iteration: None: that of the project.
        trainset_fraction: None: whichever the shuffle has, if it is the only one of its number.

    Raises:
        ConfigError: there is no such shuffle.
        ProjectError: its files are broken or contradict each other.
    """
    folder = _dataset_folder(project, project.iteration if iteration is None else iteration)
    source = _documentation(folder, shuffle, trainset_fraction)
    table = read_table(_merged_labels(folder, project.scorer))
    names = [frame_name(row) for row in table.index]
    train, test = (_names_of(rows, names, source) for rows in _read_documentation(source))
    return ShuffleFrames(train, test)


def find_trained_shuffle(project: Project, shuffle: int, key: str = "conditions") -> Path:
    """Return the folder of a shuffle's model: `train/` with `pytorch_config.yaml` and snapshots.

    Of several training fractions, the largest that was trained, in the project's iteration.

    Args:
        key: which key asks, for messages.

    Raises:
        ConfigError: there is no such shuffle; names those there are.
    """
    parent = project.root / MODELS / f"{ITERATION}{project.iteration}"
    found = [
        (number, path / "train")
        for number, _, path in _numbered(parent, MODEL)
        if (path / "train" / POSE_CONFIG).is_file()
    ]
    folders = [folder for number, folder in found if number == shuffle]
    if project.kind != "dlc" or not folders:
        numbers = sorted({number for number, _ in found})
        raise ConfigError(
            key,
            f"there is no shuffle {shuffle} with a model of DeepLabCut 3 in {parent}; there "
            f"{f'are {listed(numbers, None)}' if numbers else 'is none'}.",
        )
    trained = [folder for folder in folders if any(folder.glob("snapshot*.pt"))]
    return (trained or folders)[-1]


def _numbered(folder: Path, names: re.Pattern[str]) -> list[tuple[int, int, Path]]:
    """Return the paths in a folder that are of a shuffle, by its number and its percent."""
    matches = [(names.fullmatch(path.name), path) for path in folder.glob("*")]
    return sorted((int(m["shuffle"]), int(m["percent"]), path) for m, path in matches if m)


def split_overrides(folder: Path) -> list[Override]:
    """Return overrides for the split that a shuffle has, by its folder `train`; else none.

    All training frames of it have trained.
    """
    match = MODEL.fullmatch(folder.parent.name)
    iteration = folder.parent.parent.name
    if match is None or not iteration.startswith(ITERATION):
        return []
    return [
        Override("split", "dlc_shuffle"),
        Override("split.shuffle", int(match["shuffle"])),
        Override("split.trainset_fraction", int(match["percent"]) / 100),
        Override("split.iteration", int(iteration.removeprefix(ITERATION))),
        Override("split.val_fraction", None),
    ]


def trained_shuffles(root: Path) -> list[Path]:
    """Return the folders `train` of all shuffles of a project that have a snapshot."""
    files = root.glob(f"{MODELS}/*/*/train/{POSE_CONFIG}")
    return sorted(file.parent for file in files if any(file.parent.glob("snapshot*.pt")))


def _dataset_folder(project: Project, iteration: int) -> Path:
    """training-datasets/iteration-I/UnaugmentedDataSet_<Task><date>."""
    if project.kind != "dlc":
        raise ConfigError("split", f"{project.source.name} is a COCO file, which has no shuffles.")
    parent = project.root / TRAINING_SETS
    found = sorted(parent.glob(f"{ITERATION}{iteration}/UnaugmentedDataSet_*"))
    named = [path for path in found if path.name.endswith(f"_{project.name}{project.date}")]
    if named or len(found) == 1:
        return (named or found)[0]
    others = [path.name.removeprefix(ITERATION) for path in parent.glob(f"{ITERATION}*")]
    if not others:
        raise ConfigError(
            "split",
            f"{project.root} has no shuffles (no training-datasets); create one with DeepLabCut's "
            "create_training_dataset, or choose split=fraction.",
        )
    raise ConfigError(
        "split.iteration",
        f"{iteration} has no training set of {project.name}{project.date}; the project has "
        f"iterations {', '.join(sorted(others, key=lambda x: x.zfill(9)))}.",
    )


def _documentation(folder: Path, shuffle: int, trainset_fraction: float | None) -> Path:
    """The pickle of a shuffle; its name holds the fraction as whole percent, rounded down."""
    found = _numbered(folder, DOCUMENTATION)
    percents = {percent: path for number, percent, path in found if number == shuffle}
    if not percents:
        numbers = sorted({number for number, *_ in found})
        raise ConfigError(
            "split.shuffle",
            f"there is no shuffle {shuffle} in {folder}; it has {listed(numbers, None)}.",
        )
    fractions = listed((percent / 100 for percent in sorted(percents)), None)
    if trainset_fraction is not None:
        near = [p for p in percents if -1e-6 <= 100 * trainset_fraction - p < 1]
        if not near:
            raise ConfigError(
                "split.trainset_fraction",
                f"shuffle {shuffle} does not have {trainset_fraction}; it has {fractions}.",
            )
        return percents[near[0]]
    if len(percents) > 1:
        raise ConfigError(
            "split.trainset_fraction",
            f"shuffle {shuffle} exists with several training fractions: {fractions}; name one.",
        )
    return next(iter(percents.values()))


def _merged_labels(folder: Path, scorer: str) -> Path:
    named = folder / f"{LABELS}{scorer}.h5"
    found = [named] if named.is_file() else sorted(folder.glob(f"{LABELS}*.h5"))
    if len(found) != 1:
        raise ProjectError(f"{folder}: has no {LABELS}{scorer}.h5, the labels of its rows.")
    return found[0]


def _names_of(rows: Iterable[int], names: list[str], source: Path) -> tuple[str, ...]:
    # DeepLabCut fills up shorter sets with -1.
    numbers = [int(row) for row in rows if row >= 0]
    if any(number >= len(names) for number in numbers):
        raise ProjectError(
            f"{source}: names row {max(numbers)} of the merged labels, which have {len(names)}."
        )
    return tuple(names[number] for number in numbers)


# The pickle


def _read_documentation(source: Path) -> tuple[list[int], list[int]]:
    """Rows of the training and of the test frames; the pickle is [data, train, test, fraction]."""
    try:
        with source.open("rb") as file:
            content = _Unpickler(file).load()
        _, train, test, _ = content
        return _whole_numbers(train), _whole_numbers(test)
    except Exception as error:  # a broken pickle raises nearly anything
        raise ProjectError(f"{source}: cannot be read as a shuffle: {error}.") from error


def _whole_numbers(values: Any) -> list[int]:
    numbers: list[int] = np.asarray(values).reshape(-1).astype(np.int64, casting="unsafe").tolist()
    return numbers


class _Unpickler(pickle.Unpickler):
    """Makes plain containers and numpy arrays, and calls nothing else: a pickle can run code."""

    # numpy's core package was renamed in 2.0; files hold either name.
    _CORE = "numpy._core" if hasattr(np, "_core") else "numpy.core"
    _ALLOWED = frozenset(
        {
            ("builtins", "bytearray"),
            ("builtins", "complex"),
            ("builtins", "set"),
            ("builtins", "slice"),
            ("_codecs", "encode"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            (f"{_CORE}.multiarray", "_reconstruct"),
            (f"{_CORE}.multiarray", "scalar"),
            (f"{_CORE}.numeric", "_frombuffer"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        module = re.sub(r"^numpy\.(_core|core)\b", self._CORE, module)
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is not allowed")
        return super().find_class(module, name)


def find_copy(project: Project, snapshot: Path) -> Path | None:
    """Return `train` of the first shuffle of the project whose best snapshot is this one."""
    for folder in trained_shuffles(project.root):
        best = best_snapshot(folder)
        current = folder.parents[1].name == f"{ITERATION}{project.iteration}"
        if (
            current
            and best
            and best.name == snapshot.name
            and filecmp.cmp(best, snapshot, shallow=False)
        ):
            return folder
    return None


def conditions_of(project: Project, train: Path) -> dict[str, Any]:
    """Return `inference.conditions` for the poses of a shuffle, by its folder `train`.

    Raises:
        ProjectError: the shuffle has no snapshot, or `TrainingFraction` of the project does not
            have its fraction.
    """
    match, snapshot = MODEL.fullmatch(train.parent.name), best_snapshot(train)
    if match is None or snapshot is None:
        raise ProjectError(f"{train} has no snapshot: train it first.")
    config = read_yaml(project.source)
    percents = [int(100 * float(each)) for each in config.get("TrainingFraction") or []]
    percent = int(match["percent"])
    if percent not in percents:
        raise ProjectError(
            f"{project.source}: TrainingFraction has no {percent / 100}, by which DeepLabCut "
            f"finds {train.parent.name}."
        )
    number = int(match["shuffle"])
    return shuffle_conditions(number, percents.index(percent), snapshot.name)
