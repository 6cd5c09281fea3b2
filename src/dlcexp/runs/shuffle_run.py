"""A shuffle that DeepLabCut trained, as a run: its file composes to the tree, and has a split."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from dlcexp.composition import compose
from dlcexp.config.overrides import Override
from dlcexp.deeplabcut.defaults import CHOICES
from dlcexp.deeplabcut.shuffles import split_overrides, trained_shuffles
from dlcexp.files import kind_of_folder
from dlcexp.text import listed
from dlcexp.vocabulary import POSE_CONFIG, TREE_FILE


def shuffle_folder(folder: Path) -> Path | None:
    """Return the folder of DeepLabCut's file and snapshots: `folder` itself, or its `train`."""
    places = (folder, folder / "train")
    return next((place for place in places if (place / POSE_CONFIG).is_file()), None)


def shuffle_tree(folder: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Return the tree that the `pytorch_config.yaml` of a folder amounts to.

    The split is that of the shuffle, without validation frames, as DeepLabCut has none: test frames
    have chosen its snapshot. Outside of a shuffle it is unknown which frames were used for
    training: all of them are test frames.

    Args:
        folder: see `shuffle_folder`.
        overrides: may name the project; else it is the one around the folder, or in the file.

    Raises:
        UserError: the file cannot be imported.
    """
    project = [text for text in overrides if Override.with_text(text).key == "project"]
    file = Override("pytorch_config", str(folder / POSE_CONFIG))
    split = split_overrides(folder.resolve()) or [Override("split", "all")]
    tree = compose(*project, *map(str, [file, *split]))
    for stage, choice in CHOICES.items():
        if tree.get(stage) and tree[stage].key_metric is None:
            tree[stage].key_metric = choice["key_metric"]
    return tree


def no_run(folder: Path) -> str:
    """Return why a folder is not that of a run, and what there is instead."""
    if kind_of_folder(folder) == "sweep":
        return (
            f"{folder} is the folder of a sweep, not of a run. "
            f"'dlcexp best {folder}' names its best run."
        )
    if not (folder / TREE_FILE).is_file():
        missing = f"it has no {TREE_FILE}, and no {POSE_CONFIG} of DeepLabCut"
        return f"{folder} is not a run folder: {missing}"
    found = listed(path.as_posix() for path in trained_shuffles(folder))
    return f"{folder} is not a run folder, but a project; shuffles with a snapshot: {found}"
