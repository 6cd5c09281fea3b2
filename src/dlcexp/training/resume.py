"""Going on from `last.ckpt`, the full state of a run after a whole epoch."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig
from torch import Tensor

from dlcexp.deeplabcut.snapshots import load_plain
from dlcexp.errors import ConfigError, SnapshotError
from dlcexp.files import replacing
from dlcexp.training.run import RunFolder


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, without Lightning's copy in memory."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write under a temporary name, then rename."""
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


def resume_point(cfg: DictConfig, folder: RunFolder) -> Path | None:
    """The checkpoint to go on from, as the key `resume` says; None starts anew.

    Raises:
        ConfigError: there is no checkpoint at the path given, or `auto` meets another experiment.
    """
    word = str(cfg.resume)
    if word == "never":
        return None
    if word == "auto":
        if not folder.last_checkpoint.is_file():
            return None
        folder.check_same_experiment(cfg)
        return folder.last_checkpoint
    path = Path(word).expanduser()
    if path.is_dir():
        path = RunFolder(path).last_checkpoint
    if not path.is_file():
        raise ConfigError(
            "resume",
            f"there is no checkpoint {path}. Allowed: auto, never, a run folder, its last.ckpt.",
        )
    return path


def adopt(checkpoint: Path, folder: RunFolder) -> None:
    """Take over the snapshots and the metrics beside a checkpoint of another folder."""
    source = checkpoint.parent
    for path in source.glob("snapshot-*.pt"):
        shutil.copy2(path, folder.snapshots / path.name)
    metrics = source.parent / "metrics.csv"
    if metrics.is_file():
        shutil.copy2(metrics, folder.path / metrics.name)


def epochs_done(checkpoint: Path, state: Mapping[str, Tensor]) -> int:
    """Whole epochs that a checkpoint has behind it, once it is sure that it fits.

    Args:
        checkpoint: path of a `last.ckpt`.
        state: state dict of the module that will be trained.

    Raises:
        SnapshotError: it cannot be read, is not a checkpoint, or belongs to another model.
    """
    content = load_plain(checkpoint, mmap=True)
    try:
        stored = content["state_dict"]
        epochs = int(content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (KeyError, TypeError) as error:
        raise SnapshotError(f"{checkpoint} is not a last.ckpt: it has no {error}") from error
    for name, tensor in state.items():
        if name not in stored:
            raise SnapshotError(f"{checkpoint} does not fit the model: it has no {name}")
        if stored[name].shape != tensor.shape:
            shapes = f"{tuple(stored[name].shape)} there, {tuple(tensor.shape)} here"
            raise SnapshotError(f"{checkpoint} does not fit the model: {name} is {shapes}")
    foreign = [name for name in stored if name not in state]
    if foreign:
        raise SnapshotError(f"{checkpoint} does not fit the model, which has no {foreign[0]}")
    return epochs
