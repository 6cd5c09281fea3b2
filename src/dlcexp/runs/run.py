"""A run that is read back: its tree, its numbers, and its networks with their weights."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from dlcexp.config.build import allowing, build, plain
from dlcexp.config.compose import put_values
from dlcexp.config.overrides import parse_overrides
from dlcexp.config.schema import TREE
from dlcexp.deeplabcut.snapshots import (
    DETECTOR_PREFIX,
    POSE_PREFIX,
    all_snapshots,
    best_snapshot,
    list_snapshots,
    load_snapshot,
    snapshot_folder,
)
from dlcexp.errors import ProjectError, SnapshotError, UserError
from dlcexp.files import expanded
from dlcexp.runs.folder import read_tree
from dlcexp.runs.shuffle_run import no_run, shuffle_folder, shuffle_tree
from dlcexp.runs.trust import allow_own_only
from dlcexp.text import listed
from dlcexp.vocabulary import METRICS, TREE_FILE
from dlcexp.yaml_files import read_json

logger = logging.getLogger(__name__)

_ALLOWED = "allow_targets"


@dataclass(frozen=True)
class Run:
    """A run that has been, or is being, trained.

    Attributes:
        folder: the run folder.
        cfg: the resolved tree.
        metrics: the final numbers (`test.rmse` px, `test.mAP` percent, ...); empty before.
    """

    folder: Path
    cfg: DictConfig
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: "Run | str | Path", overrides: Sequence[str] = ()) -> "Run":
        """Read a run folder, or a shuffle that DeepLabCut trained; see `shuffle_tree`.

        Args:
            folder: of a run, or `train` of a shuffle; a run that is open already is returned as is.
            overrides: may name the `project=` of a shuffle that is not inside its project, and
                the `allow_targets=` of a run that was made elsewhere.

        Raises:
            UserError: there is no run in that folder, or its tree is damaged.
        """
        if isinstance(folder, Run):
            return folder
        path = expanded(folder)
        config = path / TREE_FILE
        if not config.is_file() and (inside := shuffle_folder(path)):
            return cls(inside, shuffle_tree(inside, overrides))
        tree: Any = read_tree(config) if config.is_file() else {}
        if "model" not in tree:
            raise UserError(no_run(path))
        try:
            TREE.read(plain(tree), "")
        except UserError as error:
            raise UserError(f"{config} is not the tree of a run: {error}") from error
        allow_own_only(tree, config)
        if typed := [each for each in parse_overrides(overrides) if each.key == _ALLOWED]:
            put_values(tree, typed)
        return cls(path, tree, _read_metrics(path / METRICS))

    @property
    def best_snapshot(self) -> Path:
        """The best snapshot; the last one where no evaluation has named a best.

        Raises:
            SnapshotError: there is none yet.
        """
        path = self.best_pose_snapshot
        if path is None:
            raise SnapshotError(f"{self.folder} has no snapshot yet")
        return path

    @property
    def best_pose_snapshot(self) -> Path | None:
        """The same, or None where only a detector was trained."""
        return best_snapshot(snapshot_folder(self.folder))

    @property
    def best_detector_snapshot(self) -> Path | None:
        """The best snapshot of the detector; None bottom-up, and before there is one."""
        return best_snapshot(snapshot_folder(self.folder), DETECTOR_PREFIX)

    @property
    def snapshots(self) -> list[Path]:
        """The periodic snapshots, oldest epoch first."""
        return list_snapshots(snapshot_folder(self.folder))

    def find_snapshot(self, which: str) -> Path | None:
        """Return the file of a snapshot of the pose model.

        Args:
            which: `best`, the epoch of a periodic snapshot, or a file, which may be named as in
                the folder of the snapshots.

        Returns:
            The file; None for the best where only a detector was trained.

        Raises:
            SnapshotError: there is no periodic snapshot of that epoch.
        """
        if which == "best":
            return self.best_pose_snapshot
        folder = snapshot_folder(self.folder)
        if not which.isdecimal():
            inside = folder / which
            return inside if inside.is_file() and not expanded(which).exists() else expanded(which)
        path = folder / f"{POSE_PREFIX}-{int(which):03d}.pt"
        if not path.is_file():
            found = listed(each.name for each in all_snapshots(folder))
            raise SnapshotError(f"snapshot: there is no {path.name}; there are: {found}.")
        return path

    def model(self, snapshot: Path | None = None) -> nn.Module:
        """Load the network of `snapshot` (the best one by default), on the CPU, in `eval()` mode.

        Raises:
            SnapshotError: the weights do not fit the model of `config.yaml`.
        """
        return load_model(self.cfg, "model", snapshot or self.best_snapshot)

    def detector(
        self, device: torch.device | str = "cpu", snapshot: Path | None = None
    ) -> nn.Module | None:
        """Load the detector of `snapshot` (the best one by default), in `eval()` mode.

        None where the run has none.

        Raises:
            SnapshotError: the weights do not fit the detector of `config.yaml`.
        """
        path = snapshot or self.best_detector_snapshot
        return load_model(self.cfg, "detector.model", path).to(device) if path else None


def _read_metrics(file: Path) -> dict[str, Any]:
    """Return the final numbers of a run; none, with a warning, where the file is damaged."""
    if not file.is_file():
        return {}
    try:
        return read_json(file)
    except ProjectError as error:
        logger.warning("%s", error)
        return {}


def load_model(cfg: DictConfig, key: str, snapshot: Path) -> nn.Module:
    """Load the network of the node at `key` with a snapshot's weights, on the CPU, in eval mode.

    Raises:
        SnapshotError: the weights cannot be read, or do not fit.
    """
    node = plain(OmegaConf.select(cfg, key))
    with allowing(cfg.get("allow_targets") or []):
        # The weights that training started from need not be there any more.
        model: nn.Module = build(without_weights(node), key=key)
    load_weights(model, snapshot)
    return model.eval()


def without_weights(node: Any) -> Any:
    """Return the node of a model whose weights will come from a snapshot."""
    if not isinstance(node, Mapping):
        return node
    blank = {"weights": None} if "weights" in node else {}
    return {key: without_weights(child) for key, child in node.items()} | blank


def load_weights(model: nn.Module, path: Path) -> int:
    """Load a snapshot into a model, strictly.

    Returns:
        The epoch of the snapshot.

    Raises:
        SnapshotError: it cannot be read, or does not fit.
    """
    snapshot = load_snapshot(path)
    check_fit(model.state_dict(), snapshot.model, path)
    model.load_state_dict(snapshot.model)
    return snapshot.epoch


def check_fit(state: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> None:
    """Refuse stored weights that are not those of a network.

    Args:
        state: state dict of the network.
        stored: what the file at `path` holds.

    Raises:
        SnapshotError: names the first tensor that is missing, of another shape, or unknown.
    """
    for name, tensor in state.items():
        if name not in stored:
            raise SnapshotError(f"{path} does not fit the model: it has no {name}")
        if stored[name].shape != tensor.shape:
            shapes = f"{tuple(stored[name].shape)} there, {tuple(tensor.shape)} here"
            raise SnapshotError(f"{path} does not fit the model: {name} is {shapes}")
    foreign = [name for name in stored if name not in state]
    if foreign:
        raise SnapshotError(f"{path} does not fit the model, which has no {foreign[0]}")
