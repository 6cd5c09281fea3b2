"""The folder of a run: what it holds while it is written, and how it is read back."""

import copy
import logging
import re
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dlcexp.config.resolvers import tree_hash
from dlcexp.deeplabcut.snapshots import (
    all_snapshots,
)
from dlcexp.errors import ConfigError, StorageError, UserError
from dlcexp.files import clear_leftovers, expanded, storage, this_process, write_json, write_text
from dlcexp.hub import ADDRESS, DLC_BACKBONES
from dlcexp.locks import RUN_LOCK, held
from dlcexp.runs.environment import describe_environment
from dlcexp.runs.metric_names import part_of
from dlcexp.runs.stages import POSE, file_suffix, snapshot_prefix
from dlcexp.runs.status import (
    COMPLETED,
    FAILED,
    PRUNED,
    RUNNING,
    Status,
    explain,
    kind_of,
    write_status,
)
from dlcexp.runs.trust import record_own
from dlcexp.text import first_line, without_passwords
from dlcexp.trees import leaves
from dlcexp.vocabulary import (
    AUTO,
    BACKBONE_STARTS,
    ENVIRONMENT,
    FIGURES,
    LOG,
    METRICS,
    OVERRIDES,
    POSE_CONFIG,
    POSE_WEIGHTS,
    SNAPSHOTS,
    TREE_FILE,
)
from dlcexp.yaml_files import dump_yaml, read_text, read_yaml, refuse_excess

# Keys that a resumed run may change: where it computes, how it is shown, how long it trains.
_FREE_KEYS = [
    "allow_targets",
    "callbacks.timer",
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


class Pruned(Exception):  # noqa: N818  (not an error: the run is complete as it is)
    """Training stopped early because other runs of the sweep do better."""


# The key whose value `auto` becomes what suits the device on which a run began.
PRECISION = "trainer.precision"
# Keys whose value `auto` becomes what was available when a run began.
_SETTLED = re.compile(r"(model\.backbone(\.backbone)?|detector\.model)\.(weights|freeze_bn_stats)")
# Keys of a metric that becomes null where there are no validation frames.
_CHOICE = re.compile(r"(trainer|detector)\.key_metric")


def is_settled_as(key: str, now: Any, there: Any) -> bool:
    """Return True if the value of a key is what the tree of a run has made of another one.

    Args:
        key: its dotted path.
        now: the value in a tree that has not begun: `auto`, or a name such as `imagenet`.
        there: the value in the tree of the run; `auto` for a stage that has not begun.
    """
    if _CHOICE.fullmatch(key):
        return there is None and part_of(str(now)) == "val"
    if key == PRECISION:
        return bool(now == AUTO)
    if not _SETTLED.fullmatch(key):
        return False
    if AUTO in (now, there):  # there, if that stage has not begun
        return True
    return (
        now in BACKBONE_STARTS
        and str(there).startswith(ADDRESS)
        and (now == POSE_WEIGHTS) == (DLC_BACKBONES in there)
    )


def plain(tree: Any) -> dict[str, Any]:
    """Return a resolved tree as plain dicts and lists."""
    node = tree if OmegaConf.is_config(tree) else OmegaConf.create(dict(tree))
    return OmegaConf.to_container(node, resolve=True)  # type: ignore[return-value]


def new_run_folder(cfg: DictConfig) -> Path:
    """Return `runs/<project>/<timestamp>-<hash of the tree>` below the working directory."""
    name = str(OmegaConf.select(cfg, "metadata.project_name") or "project")
    stamp = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    return Path("runs", name, f"{stamp}-{tree_hash(plain(cfg))}")


def anchored(cfg: DictConfig) -> DictConfig:
    """Make `project` and `conditions` absolute paths, so that a run can be read from anywhere."""
    changed = copy.deepcopy(cfg)
    for key in ("project", "conditions"):
        value = cfg.get(key)
        if isinstance(value, str) and value != "demo" and expanded(value).exists():
            changed[key] = str(expanded(value).resolve())
    return changed


def read_tree(config: Path) -> DictConfig:
    """Return the content of a run's `config.yaml`.

    Raises:
        UserError: it is damaged; the tree of a run has no interpolation.
    """
    text = read_text(config)
    try:
        refuse_excess(text, config)
        tree = OmegaConf.create(text)
    except (ValueError, YAMLError, OmegaConfBaseException, AssertionError) as error:
        raise UserError(f"{config} cannot be read: {first_line(error)}") from error
    if "${" in text or not isinstance(tree, DictConfig):
        raise UserError(f"{config} is not the tree of a run, which holds values only.")
    return tree


class RunFolder:
    """Writes the folder of a run; every file is whole or absent.

    Args:
        path: the folder; made when the run starts.
    """

    def __init__(self, path: Path) -> None:
        self.path = expanded(path)
        self.snapshots = self.path / SNAPSHOTS
        self.figures = self.path / FIGURES
        self.config = self.path / TREE_FILE
        self.weights = self.path / "weights.json"
        self.configurations = (self.config, self.path / POSE_CONFIG)

    def checkpoint(self, stage: str) -> Path:
        """Return the full state of a stage after its last whole epoch, to resume from."""
        return self.snapshots / f"last{file_suffix(stage)}.ckpt"

    def metrics_table(self, stage: str) -> Path:
        """Return one row for each epoch of a stage."""
        return self.path / f"metrics{file_suffix(stage)}.csv"

    def held(self) -> AbstractContextManager[None]:
        """Keep other processes from training in this folder meanwhile.

        Raises:
            UserError: one of them does, or the folder cannot be written.
        """
        remedy = "Wait for it, or use a different folder: hydra.run.dir=DIR."
        return held(self.path / RUN_LOCK, self.path, remedy)

    def start(
        self, cfg: DictConfig, overrides: Sequence[str], *, fresh: Iterable[str], device: str
    ) -> None:
        """Write what the run is made of; fresh stages begin without traces of an earlier run."""
        for stage in fresh:
            self._clear(stage)
        for folder in (self.snapshots, self.figures):
            folder.mkdir(parents=True, exist_ok=True)
            clear_leftovers(folder)
        write_text(self.path / OVERRIDES, without_passwords(dump_yaml(list(overrides))))
        self.write_tree(cfg)
        write_json(self.path / ENVIRONMENT, describe_environment(device))

    def write_tree(self, cfg: DictConfig) -> None:
        """Write the tree, for dlcexp and for DeepLabCut, there with the command that made it."""
        from dlcexp.deeplabcut.export import export_config

        tree = plain(cfg)
        typed = self.path / OVERRIDES
        overrides = read_yaml(typed) if typed.is_file() else []
        command = ["train", *map(str, overrides)]
        write_text(self.config, without_passwords(OmegaConf.to_yaml(OmegaConf.create(tree))))
        if tree.get("allow_targets"):
            record_own(self.config)
        write_text(self.configurations[1], export_config(tree, command=command))

    def _clear(self, stage: str) -> None:
        """Remove the results of an earlier run of this stage, and nothing else."""
        for path in (
            *all_snapshots(self.snapshots, snapshot_prefix(stage)),
            *self.figures.glob("*.png"),
            self.checkpoint(stage),
            self.metrics_table(stage),
            self.path / METRICS,
            *([self.weights] if stage == POSE else []),
        ):
            path.unlink(missing_ok=True)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep `status.json` and `log.txt` up to date while the run lasts, however it ends."""
        started = time.monotonic()
        stamp = datetime.now(UTC).isoformat(timespec="seconds")

        def status(name: str, error: str | None = None, kind: str | None = None) -> None:
            seconds = round(time.monotonic() - started, 1)
            write_status(self.path, Status(name, error, kind, seconds, stamp, this_process()))

        with storage(self.path), _log_file(self.path / LOG):
            status(RUNNING)
            try:
                with storage(self.path):
                    yield
            except Pruned as stop:
                status(PRUNED, str(stop))
                raise
            except BaseException as error:
                with suppress(StorageError):  # the error itself is what is reported
                    status(FAILED, explain(error), kind_of(error))
                if not isinstance(error, UserError | KeyboardInterrupt | SystemExit):
                    # Into the folder only: whoever called prints the traceback.
                    with (self.path / LOG).open("a", encoding="utf-8") as file:
                        traceback.print_exception(error, file=file)
                raise
            status(COMPLETED)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the final numbers; NaN becomes null."""
        write_json(self.path / METRICS, metrics)

    def differences(self, cfg: DictConfig) -> list[str]:
        """Return the differences to the tree that this folder was made with, `key: there, here`."""
        if not self.config.is_file():
            return []
        before, now = (leaves(plain(tree)) for tree in (read_tree(self.config), cfg))
        return [
            f"{name}: {before.get(name)} there, {now.get(name)} here"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name)
            and not (name in before and is_settled_as(name, now.get(name), before[name]))
            and not (
                name in before.keys() ^ now.keys()
                and _means_nothing(name, now.get(name, before.get(name)))
            )
            and not any(name == each or name.startswith(f"{each}.") for each in _FREE_KEYS)
        ]

    def check_same_experiment(self, cfg: DictConfig) -> None:
        """Refuse to resume with another tree than the one this folder was made with.

        Raises:
            ConfigError: names the first keys that differ.
        """
        differing = self.differences(cfg)
        if differing:
            raise ConfigError(
                "resume",
                f"{self.path} holds a run of another experiment ({'; '.join(differing[:3])}). "
                "Use a different folder, or resume=never to start this one over.",
            )


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Append the messages of dlcexp's loggers to a file."""
    package = logging.getLogger("dlcexp")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = package.level
    package.addHandler(handler)
    package.setLevel(min(level, logging.INFO) if level else logging.INFO)
    try:
        yield
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
        with suppress(OSError):  # what a full disk has no room for
            handler.close()


def _means_nothing(key: str, value: Any) -> bool:
    """Return True if a key that only one of two trees has changes nothing by its value."""
    return key in _NEWER_KEYS or value in (None, [], {}, "")
