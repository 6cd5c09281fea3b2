"""A shuffle that DeepLabCut trained, as a run: its file composes to the tree, and has a split."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from dlcexp.composition import compose
from dlcexp.config.overrides import quoted
from dlcexp.deeplabcut.shuffles import split_words, trained_shuffles

_FILE = "pytorch_config.yaml"


def shuffle_folder(folder: Path) -> Path | None:
    """The folder with DeepLabCut's file and snapshots that `folder` means: itself, or `train`."""
    places = (folder, folder / "train")
    return next((place for place in places if (place / _FILE).is_file()), None)


def shuffle_tree(folder: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """The tree that the `pytorch_config.yaml` of a folder amounts to.

    The split is that of the shuffle. Elsewhere than in a shuffle nobody knows which frames have
    trained: all of them test.

    Args:
        folder: see `shuffle_folder`.
        overrides: may name the project; else it is the one around the folder, or in the file.

    Raises:
        UserError: the file cannot be imported.
    """
    project = [word for word in overrides if word.startswith("project=")]
    split = split_words(folder.resolve()) or ["split=all"]
    return compose(*project, f"pytorch_config={quoted(folder / _FILE)}", *split)


def no_run(folder: Path) -> str:
    """Why a folder is not that of a run, and what there is instead."""
    if not (folder / "config.yaml").is_file():
        return f"{folder} is not a run folder: it has no config.yaml, and no {_FILE} of DeepLabCut"
    found = ", ".join(path.as_posix() for path in trained_shuffles(folder))
    return (
        f"{folder} is not a run folder, but a project; shuffles with a snapshot: {found or 'none'}"
    )
