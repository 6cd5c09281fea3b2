"""The folder of a run: what it holds while it is written, and how it is read back."""

import copy
import json
import logging
import math
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from dlcexp.config.build import allowing, build
from dlcexp.config.resolvers import tree_hash
from dlcexp.deeplabcut.snapshots import (
    DETECTOR_PREFIX,
    all_snapshots,
    best_snapshot,
    list_snapshots,
    load_snapshot,
    snapshot_folder,
)
from dlcexp.errors import ConfigError, SnapshotError, UserError
from dlcexp.files import expanded, write_text
from dlcexp.status import (
    COMPLETED,
    FAILED,
    PRUNED,
    RUNNING,
    Status,
    explain,
    kind_of,
    write_status,
)
from dlcexp.training.stages import POSE, file_suffix, snapshot_prefix

# What decides the numbers of a run, beside the tree.
_PACKAGES = [
    "dlcexp",
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "albumentations",
    "opencv-python-headless",
    "numpy",
    "scipy",
    "pandas",
    "hydra-core",
    "omegaconf",
    "wandb",
]

# Keys that a resumed run may change: where it computes, how it is shown, how long it goes on.
_FREE_KEYS = [
    "allow_targets",
    "conditions",
    "data.cache",
    "detector.epochs",
    "detector.num_workers",
    "device",
    "epochs",
    "export",
    "logger",
    "model.heads.bodypart.predictor.edges_to_keep",
    "project",
    "resume",
    "sweep",
    "train.select_edges",
    "train.stages",
    "trainer.display_iters",
    "trainer.num_workers",
    "trainer.pin_memory",
    "trainer.progress_bar",
]


# Keys that older runs lack and that decide on no more than the last digits of their weights.
_NEWER_KEYS = ["trainer.memory_format"]


class Pruned(Exception):  # noqa: N818  (not an error: the run has told enough)
    """Training stopped early because other runs of the sweep do better."""


# Its value `auto` becomes what could be had when a run began.
DETECTOR_WEIGHTS = "detector.model.weights"


def plain(tree: Any) -> dict[str, Any]:
    """A resolved tree as plain dicts and lists."""
    node = tree if OmegaConf.is_config(tree) else OmegaConf.create(dict(tree))
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


def new_run_folder(cfg: DictConfig) -> Path:
    """`runs/<project>/<timestamp>-<hash of the tree>` below the working directory."""
    name = str(OmegaConf.select(cfg, "metadata.project_name") or "project")
    stamp = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    return Path("runs", name, f"{stamp}-{tree_hash(plain(cfg))}")


def anchored(cfg: DictConfig) -> DictConfig:
    """The tree with `project` and `conditions` as absolute paths: a run is read from anywhere."""
    changed = copy.deepcopy(cfg)
    for key in ("project", "conditions"):
        value = cfg.get(key)
        if isinstance(value, str) and value != "demo" and expanded(value).exists():
            changed[key] = str(expanded(value).resolve())
    return changed


class RunFolder:
    """Writes the folder of a run; every file is whole or absent.

    Args:
        path: the folder; made when the run starts.
    """

    def __init__(self, path: Path) -> None:
        self.path = expanded(path)
        self.snapshots = self.path / "snapshots"
        self.figures = self.path / "figures"
        self.config = self.path / "config.yaml"
        self.weights = self.path / "weights.json"
        self.configurations = (self.config, self.path / "pytorch_config.yaml")

    def checkpoint(self, stage: str) -> Path:
        """The full state of a stage after its last whole epoch, to resume from."""
        return self.snapshots / f"last{file_suffix(stage)}.ckpt"

    def metrics_table(self, stage: str) -> Path:
        """One row for each epoch of a stage."""
        return self.path / f"metrics{file_suffix(stage)}.csv"

    def start(
        self, cfg: DictConfig, overrides: Sequence[str], *, fresh: Iterable[str], device: str
    ) -> None:
        """Write what the run is made of; fresh stages begin without traces of an earlier run."""
        for stage in fresh:
            self._clear(stage)
        for folder in (self.snapshots, self.figures):
            folder.mkdir(parents=True, exist_ok=True)
        for path in self.snapshots.glob(".*"):
            path.unlink()  # what a killed process had begun to write
        write_text(
            self.path / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(overrides)))
        )
        self.write_tree(cfg)
        write_json(self.path / "environment.json", describe_environment(device))

    def write_tree(self, cfg: DictConfig) -> None:
        """Write the tree, for dlcexp and for DeepLabCut, there with the command that made it."""
        from dlcexp.deeplabcut.pytorch_config import export_config

        tree = plain(cfg)
        typed = self.path / "overrides.yaml"
        overrides = yaml.safe_load(typed.read_text(encoding="utf-8")) if typed.is_file() else []
        command = ["train", *map(str, overrides)]
        write_text(self.config, OmegaConf.to_yaml(OmegaConf.create(tree)))
        write_text(self.configurations[1], export_config(tree, command=command))

    def _clear(self, stage: str) -> None:
        """Remove the results of an earlier run of this stage, and nothing else."""
        for path in (
            *all_snapshots(self.snapshots, snapshot_prefix(stage)),
            *self.figures.glob("*.png"),
            self.checkpoint(stage),
            self.metrics_table(stage),
            self.path / "metrics.json",
            *([self.weights] if stage == POSE else []),
        ):
            path.unlink(missing_ok=True)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep `status.json` and `log.txt` while the run goes on, however it ends."""
        started = time.monotonic()
        stamp = datetime.now(UTC).isoformat(timespec="seconds")

        def status(word: str, error: str | None = None, kind: str | None = None) -> None:
            seconds = round(time.monotonic() - started, 1)
            write_status(self.path, Status(word, error, kind, seconds, stamp))

        with _log_file(self.path / "log.txt"):
            status(RUNNING)
            try:
                yield
            except Pruned as stop:
                status(PRUNED, str(stop))
                raise
            except BaseException as error:
                status(FAILED, explain(error), kind_of(error))
                if not isinstance(error, UserError | KeyboardInterrupt | SystemExit):
                    # Into the folder only: whoever called prints the traceback.
                    with (self.path / "log.txt").open("a", encoding="utf-8") as file:
                        traceback.print_exception(error, file=file)
                raise
            status(COMPLETED)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the final numbers; NaN becomes null."""
        write_json(self.path / "metrics.json", metrics)

    def differences(self, cfg: DictConfig) -> list[str]:
        """What the tree that this folder was made with has otherwise, `key: there, here`."""
        if not self.config.is_file():
            return []
        before, now = (_flat(plain(tree)) for tree in (OmegaConf.load(self.config), cfg))
        free = [*_FREE_KEYS]
        if now.get(DETECTOR_WEIGHTS) == "auto":  # whatever that was, then
            free.append(DETECTOR_WEIGHTS)
        return [
            f"{name}: {before.get(name)} there, {now.get(name)} here"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
            and not (name not in before and _means_nothing(name, now[name]))
            and not any(name == each or name.startswith(f"{each}.") for each in free)
        ]

    def check_same_experiment(self, cfg: DictConfig) -> None:
        """Refuse to go on with another tree than the one this folder was made with.

        Raises:
            ConfigError: names the first keys that differ.
        """
        differing = self.differences(cfg)
        if differing:
            raise ConfigError(
                "resume",
                f"{self.path} holds a run of another experiment ({'; '.join(differing[:3])}). "
                "Take another folder, or resume=never to start this one over.",
            )


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
    def open(cls, folder: str | Path, overrides: Sequence[str] = ()) -> "Run":
        """Read a run folder, or a shuffle that DeepLabCut trained; see `shuffle_tree`.

        Args:
            folder: of a run, or `train` of a shuffle.
            overrides: may name the `project=` of a shuffle, where it does not lie in it.

        Raises:
            UserError: there is no run in that folder.
        """
        from dlcexp.training.shuffle_run import no_run, shuffle_folder, shuffle_tree

        path = expanded(folder)
        config = path / "config.yaml"
        if not config.is_file() and (inside := shuffle_folder(path)):
            return cls(inside, shuffle_tree(inside, overrides))
        tree: Any = OmegaConf.load(config) if config.is_file() else {}
        if "model" not in tree:
            raise UserError(no_run(path))
        metrics = path / "metrics.json"
        values = json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {}
        return cls(path, tree, values)  # type: ignore[arg-type]

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

    def model(self, snapshot: Path | None = None) -> nn.Module:
        """The network with the weights of `snapshot` (the best one), on the CPU, in `eval()` mode.

        Raises:
            SnapshotError: the weights do not fit the model of `config.yaml`.
        """
        return load_model(self.cfg, "model", snapshot or self.best_snapshot)

    def detector(
        self, device: torch.device | str = "cpu", snapshot: Path | None = None
    ) -> nn.Module | None:
        """The detector with the weights of `snapshot` (the best one), in `eval()` mode.

        None where the run has none.

        Raises:
            SnapshotError: the weights do not fit the detector of `config.yaml`.
        """
        path = snapshot or self.best_detector_snapshot
        return load_model(self.cfg, "detector.model", path).to(device) if path else None


def load_model(cfg: DictConfig, key: str, snapshot: Path) -> nn.Module:
    """The network of the node at `key` with the weights of a snapshot, on the CPU, in eval mode.

    Raises:
        SnapshotError: the weights cannot be read, or do not fit.
    """
    node = OmegaConf.to_container(OmegaConf.select(cfg, key), resolve=True)
    with allowing(cfg.get("allow_targets") or []):
        # The weights that training started from need not be there any more.
        model: nn.Module = build(_without_initial_weights(node), key=key)
    load_weights(model, snapshot)
    return model.eval()


def _without_initial_weights(node: Any) -> Any:
    """The node of a model whose weights will come from a snapshot."""
    if not isinstance(node, Mapping):
        return node
    blank = {"weights": None} if "weights" in node else {}
    return {key: _without_initial_weights(child) for key, child in node.items()} | blank


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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON: numbers that are none become null."""
    write_text(path, json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def describe_environment(device: str) -> dict[str, Any]:
    """Versions, machine and commit: what else decides the numbers. No names, no secrets."""
    return {**_surroundings(), "device": device}


@cache
def _surroundings() -> dict[str, Any]:
    """What stays the same as long as this process lives."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "git_commit": _git_commit(Path(__file__).parents[3]),
        "packages": versions,
    }


def _git_commit(folder: Path) -> str | None:
    """Commit of the checkout that this code runs from; None where it was installed from a wheel."""
    if not (folder / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Append what the loggers of dlcexp say to a file."""
    package = logging.getLogger("dlcexp")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = package.level
    package.addHandler(handler)
    package.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
        handler.close()


def _means_nothing(key: str, value: Any) -> bool:
    """Whether a key that an older tree lacks, as there was none, changes nothing by its value."""
    return key in _NEWER_KEYS or value in (None, [], {}, "")


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by their dotted path; lists are leaves."""
    if not isinstance(node, Mapping) or not node:
        return {prefix: node}
    leaves: dict[str, Any] = {}
    for name, child in node.items():
        leaves |= _flat(child, f"{prefix}.{name}" if prefix else str(name))
    return leaves
