"""Resuming from the full state after a whole epoch, or with a detector of another run."""

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig
from torch import Tensor

from dlcexp.deeplabcut.snapshots import (
    DETECTOR_PREFIX,
    all_snapshots,
    best_snapshot,
    load_plain,
    load_snapshot,
    snapshot_folder,
)
from dlcexp.errors import ConfigError, SnapshotError
from dlcexp.files import expanded, replacing
from dlcexp.runs.folder import RunFolder, is_settled_as, plain, read_tree
from dlcexp.runs.run import check_fit, load_model
from dlcexp.runs.stages import DETECTOR, STAGES, Stage, chosen_stages, snapshot_prefix
from dlcexp.training.callbacks import check_states
from dlcexp.trees import leaves, put
from dlcexp.vocabulary import AUTO

logger = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, without Lightning's copy in memory."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write under a temporary name, then rename.

        Raises:
            ConfigError: the state of a callback could not be loaded again.
        """
        check_states(checkpoint["callbacks"])
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


def resume_point(cfg: DictConfig, stage: Stage, folder: RunFolder) -> Path | None:
    """Return the checkpoint of a stage that `resume` chooses; None starts over.

    A run folder that stopped before the pose model has a checkpoint of its detector only.

    Raises:
        ConfigError: there is no checkpoint at the path given, or it is one of another experiment.
    """
    choice = str(cfg.resume)
    if choice == "never":
        return None
    if choice == "auto":
        if any(folder.checkpoint(name).is_file() for name in STAGES):
            folder.check_same_experiment(cfg)
        own = folder.checkpoint(stage.name)
        return own if own.is_file() else None
    path = expanded(choice)
    stages = chosen_stages(cfg)
    if path.is_dir():
        source = RunFolder(path)
        there = [each for each in stages if source.checkpoint(each.name).is_file()]
        if there and stage not in there:
            return None
        path = source.checkpoint(stage.name)
    if not path.is_file():
        raise ConfigError(
            "resume",
            f"there is no checkpoint {path}. Allowed: auto, never, a run folder, its last.ckpt.",
        )
    if len(stages) > 1 and not expanded(choice).is_dir():
        raise ConfigError(
            "resume",
            f"{path} is the checkpoint of one stage, and this experiment trains "
            f"{' and '.join(each.name for each in stages)}. Give the run folder, or choose "
            "train.stages.",
        )
    RunFolder(path.parent.parent).check_same_experiment(cfg)
    return path


def as_begun(cfg: DictConfig, folder: RunFolder, *, further_process: bool) -> DictConfig:
    """Return a tree with what a run has started from already, where it has `auto` or a name.

    Args:
        cfg: the tree.
        folder: the run folder.
        further_process: another process has begun this run.
    """
    tree = plain(cfg)
    for stage in chosen_stages(cfg):
        checkpoint = resume_point(cfg, stage, folder)
        origin = RunFolder(checkpoint.parent.parent) if checkpoint else folder
        if not (checkpoint or further_process) or not origin.config.is_file():
            continue
        before = leaves(plain(read_tree(origin.config)))
        for key, value in leaves(tree).items():
            of_stage = key.startswith("detector.") == (stage.name == DETECTOR)
            there = before.get(key, AUTO)
            if of_stage and there != AUTO and is_settled_as(key, value, there):
                put(tree, key, there)
    return DictConfig(tree)


def adopt(checkpoint: Path, stages: Iterable[str], folder: RunFolder) -> None:
    """Take over the snapshots and the metrics of stages from the folder of a checkpoint."""
    for stage in stages:
        metrics = checkpoint.parent.parent / folder.metrics_table(stage).name
        found = all_snapshots(checkpoint.parent, snapshot_prefix(stage))
        for path in (*found, *([metrics] if metrics.is_file() else [])):
            target = folder.path if path == metrics else folder.snapshots
            with replacing(target / path.name) as temporary:
                shutil.copyfile(path, temporary)


def foreign_detector(cfg: DictConfig) -> Path | None:
    """Return the snapshot that `detector.snapshot` means, checked to fit; None without.

    Raises:
        ConfigError: there is no such snapshot.
        SnapshotError: it does not fit the detector of the tree.
    """
    if cfg.method != "td" or not cfg.detector.snapshot:
        return None
    path = expanded(cfg.detector.snapshot)
    if path.is_dir():
        inside = snapshot_folder(path)
        path = best_snapshot(inside, DETECTOR_PREFIX) or inside / f"{DETECTOR_PREFIX}-*.pt"
    if not path.is_file():
        raise ConfigError(
            "detector.snapshot",
            f"there is no snapshot {path}. Allowed: a snapshot of a detector, or a folder with "
            f"{DETECTOR_PREFIX}-*.pt, such as a run folder.",
        )
    if any(name.startswith("heads.") for name in load_snapshot(path).model):
        raise SnapshotError(f"detector.snapshot: {path} is a snapshot of a pose model.")
    load_model(cfg, "detector.model", path)
    return path


def take_over_detector(snapshot: Path, folder: RunFolder) -> None:
    """Copy a detector into a run, as its best, so that the run is whole."""
    own = folder.snapshots / f"{DETECTOR_PREFIX}-best-{load_snapshot(snapshot).epoch:03d}.pt"
    if not (own.is_file() and own.samefile(snapshot)):
        with replacing(own) as temporary:
            shutil.copyfile(snapshot, temporary)
    for former in all_snapshots(folder.snapshots, DETECTOR_PREFIX):
        if former != own:
            former.unlink()
    logger.info("the detector is that of %s", snapshot)


def epochs_done(checkpoint: Path, state: Mapping[str, Tensor]) -> int:
    """Return the whole epochs of a checkpoint that is checked to fit.

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
    check_fit(state, stored, checkpoint)
    return epochs
