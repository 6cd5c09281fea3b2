"""Snapshots: the weights of a model in DeepLabCut's file format, and which of them a folder keeps.

A file is `torch.save` of `{"metadata": {"epoch", "metrics", "losses"}, "model": state_dict,
"scheduler": ...}` and on request `"optimizer"`; it holds tensors and plain values only, so
`torch.load(weights_only=True)` reads it. `snapshot-010.pt` was written after 10 whole epochs,
`snapshot-best-010.pt` is the best of the run. Those of a detector begin with `snapshot-detector`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcexp.errors import SnapshotError
from dlcexp.files import replacing
from dlcexp.text import first_line
from dlcexp.vocabulary import SNAPSHOTS

if TYPE_CHECKING:
    import torch

# How the names of the snapshots of a pose model and of a detector begin.
POSE_PREFIX, DETECTOR_PREFIX = "snapshot", "snapshot-detector"

_NAME = re.compile(r"(?P<prefix>snapshot(?:-detector)?)-(?P<best>best-)?(?P<epoch>\d+)\.pt")

# Sections that a file must have before we call it a snapshot.
_SECTIONS = ("metadata", "model")


@dataclass(frozen=True)
class Snapshot:
    """The content of a snapshot file.

    Attributes:
        epoch: whole epochs trained.
        model: the state dict of the model.
        metrics: scores of the last evaluation, named `test.mAP` and the like.
        losses: mean training losses of the epoch, named `train.total_loss` and the like.
        scheduler: state of the learning rate schedule, or None.
        optimizer: state of the optimizer, where it was kept.
    """

    epoch: int
    model: Mapping[str, "torch.Tensor"]
    metrics: Mapping[str, float] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
    scheduler: Mapping[str, Any] | None = None
    optimizer: Mapping[str, Any] | None = None


def save_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a file that DeepLabCut loads, whole or not at all, in single precision at least."""
    content: dict[str, Any] = {
        "metadata": {
            "epoch": snapshot.epoch,
            "metrics": {f"metrics/{name}": float(v) for name, v in snapshot.metrics.items()},
            "losses": {f"losses/{name}": float(v) for name, v in snapshot.losses.items()},
        },
        "model": {name: _exchangeable(tensor) for name, tensor in snapshot.model.items()},
        "scheduler": snapshot.scheduler,
    }
    if snapshot.optimizer is not None:
        content["optimizer"] = snapshot.optimizer
    import torch

    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot of ours or of DeepLabCut, onto the CPU, or raise a `SnapshotError`."""
    content = load_plain(path)
    missing = [name for name in _SECTIONS if not isinstance(content.get(name), Mapping)]
    if missing:
        raise SnapshotError(
            f"{path} is not a snapshot of DeepLabCut: it has no {' and no '.join(missing)}; "
            f"found: {', '.join(map(str, content)) or 'nothing'}"
        )
    metadata = content["metadata"]
    return Snapshot(
        epoch=int(metadata.get("epoch", 0)),
        model=content["model"],
        metrics=_without_prefix(metadata.get("metrics"), "metrics/"),
        losses=_without_prefix(metadata.get("losses"), "losses/"),
        scheduler=content.get("scheduler"),
        optimizer=content.get("optimizer"),
    )


def load_plain(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Read a file of `torch.save` that holds a dict of tensors and plain values, onto the CPU.

    Args:
        mmap: leave tensors on disk until they are touched.

    Raises:
        SnapshotError: the file is missing, broken, or would need code to be run.
    """
    import torch

    if not path.is_file():
        raise SnapshotError(f"there is no file {path}")
    if not path.stat().st_size:
        raise SnapshotError(f"{path} is empty")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises whatever the bytes lead it to
        reason = first_line(error)
        if reason.startswith("Weights only load failed"):
            reason = "it is not a file of torch.save, or holds more than tensors and plain values"
        raise SnapshotError(f"{path} cannot be read as tensors: {reason}") from error
    if not isinstance(content, dict):
        raise SnapshotError(f"{path} holds a {type(content).__name__}, not a dict of weights")
    return content


def snapshot_folder(run: Path) -> Path:
    """Return the folder with a run's snapshots: `snapshots/`, or that of DeepLabCut's files."""
    return inside if (inside := run / SNAPSHOTS).is_dir() else run


def list_snapshots(folder: Path, prefix: str = POSE_PREFIX) -> list[Path]:
    """Return the periodic snapshots of a folder, oldest epoch first."""
    return [path for _, path in _found(folder, prefix, best=False)]


def all_snapshots(folder: Path, prefix: str = POSE_PREFIX) -> list[Path]:
    """Return the periodic and the best snapshots of a folder."""
    return [path for best in (False, True) for _, path in _found(folder, prefix, best=best)]


def best_snapshot(folder: Path, prefix: str = POSE_PREFIX) -> Path | None:
    """Return the best snapshot of a folder; the last periodic one where none is marked best.

    A killed run may leave two files called best. Only a better one is ever added: the later wins.
    """
    found = _found(folder, prefix, best=True) or _found(folder, prefix, best=False)
    return found[-1][1] if found else None


def snapshot_epoch(path: Path) -> int:
    """Return the epochs trained, from the name of a snapshot, or raise a `SnapshotError`."""
    match = _NAME.fullmatch(path.name)
    if not match:
        raise SnapshotError(f"{path} is not named like a snapshot (snapshot-010.pt)")
    return int(match["epoch"])


def is_best(path: Path) -> bool:
    """Return whether the name of a snapshot marks it as the best one."""
    match = _NAME.fullmatch(path.name)
    return bool(match and match["best"])


class SnapshotManager:
    """Keeps the latest periodic snapshots and the single best one of a folder.

    Better is strictly better by `key_metric`. Among equals the smaller of `tie_breaks` decides, in
    their order, so that a model that never leaves an mAP of 0 keeps its most accurate weights.

    Files are added by `save` and superseded ones removed only by `prune`: between the two, the
    caller stores the state from which a killed run resumes.

    Args:
        folder, prefix: where the files go, and how their names begin.
        max_snapshots: periodic files kept.
        key_metric: the metric that ranks, a key of `Snapshot.metrics`; None: there is no best one.
        key_metric_asc: larger is better.
        tie_breaks: metrics or losses, smaller is better.
    """

    def __init__(
        self,
        folder: Path,
        *,
        prefix: str = POSE_PREFIX,
        max_snapshots: int = 5,
        key_metric: str | None = "test.mAP",
        key_metric_asc: bool = True,
        tie_breaks: Sequence[str] = ("test.rmse", "train.total_loss"),
    ) -> None:
        self.folder = folder
        self.prefix = prefix
        self.max_snapshots = max_snapshots
        self.key_metric = key_metric
        self.key_metric_asc = key_metric_asc
        self.tie_breaks = tuple(tie_breaks)
        self.best_epoch: int | None = None
        self.best_score: tuple[float, ...] | None = None

    def score(self, snapshot: Snapshot) -> tuple[float, ...] | None:
        """Rank of a snapshot, larger is better; None where the key metric was not measured."""
        if self.key_metric is None or self.key_metric not in snapshot.metrics:
            return None
        values = {**snapshot.losses, **snapshot.metrics}
        sign = 1.0 if self.key_metric_asc else -1.0
        ranked = [sign * values[self.key_metric]]
        ranked += [-values.get(name, math.inf) for name in self.tie_breaks]
        return tuple(-math.inf if math.isnan(value) else value for value in ranked)

    def save(self, snapshot: Snapshot, *, periodic: bool) -> list[Path]:
        """Write the periodic file, and the best one if the snapshot beats the best so far."""
        names = [f"{self.prefix}-{snapshot.epoch:03d}.pt"] if periodic else []
        score = self.score(snapshot)
        if score is not None and (self.best_score is None or score > self.best_score):
            names.append(f"{self.prefix}-best-{snapshot.epoch:03d}.pt")
            self.best_epoch, self.best_score = snapshot.epoch, score
        paths = [self.folder / name for name in names]
        for path in paths:
            save_snapshot(path, snapshot)
        return paths

    def prune(self) -> None:
        """Remove the periodic files beyond the latest `max_snapshots`, and former bests."""
        for path in list_snapshots(self.folder, self.prefix)[: -self.max_snapshots]:
            path.unlink()
        for epoch, path in _found(self.folder, self.prefix, best=True):
            if epoch != self.best_epoch:
                path.unlink()

    def state_dict(self) -> dict[str, Any]:
        """Return the best so far, as plain values."""
        score = None if self.best_score is None else list(self.best_score)
        return {"best_epoch": self.best_epoch, "best_score": score}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state of `state_dict`."""
        self.best_epoch = state["best_epoch"]
        self.best_score = None if state["best_score"] is None else tuple(state["best_score"])

    def forget_after(self, epoch: int) -> None:
        """Remove files of later epochs: a killed run wrote them and will write them again."""
        for best in (False, True):
            for found, path in _found(self.folder, self.prefix, best=best):
                if found > epoch:
                    path.unlink()


def _found(folder: Path, prefix: str, *, best: bool) -> list[tuple[int, Path]]:
    """Epoch and path of the snapshots of one kind, by epoch."""
    matches = [(_NAME.fullmatch(path.name), path) for path in folder.glob("snapshot-*.pt")]
    return sorted(
        (int(match["epoch"]), path)
        for match, path in matches
        if match and match["prefix"] == prefix and bool(match["best"]) == best
    )


def _exchangeable(tensor: "torch.Tensor") -> "torch.Tensor":
    """Return the tensor on the CPU, contiguous, half precision widened to single."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor.float() if tensor.dtype.itemsize < 4 and tensor.is_floating_point() else tensor


def _without_prefix(values: Mapping[str, Any] | None, prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): float(value) for name, value in (values or {}).items()}
