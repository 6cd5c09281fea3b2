"""What several tests of training need: killing and comparing runs, reading W&B's offline files."""

import csv
import importlib
import json
import multiprocessing
import os
import signal
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from process_support import wait_until

from dlcexp.composition import compose
from dlcexp.config.build import build
from dlcexp.training import Run, train

# Changes to a tree that spare time.
FAST = {"evaluation.examples": 0}

# Processes forked from one that has imported what training needs, which takes longer than a run.
PROCESSES = multiprocessing.get_context("spawn" if os.name == "nt" else "forkserver")
if os.name != "nt":
    PROCESSES.set_forkserver_preload(["dlcexp.training.fit", "timm", "albumentations"])


def die(folder: Path, cfg: DictConfig, point: str, count: int, how: int = signal.SIGKILL) -> int:
    """Train in a process that sends itself a signal.

    Args:
        folder: of the run.
        cfg: its tree.
        point: a function, `module:owner.name`.
        count: the call of it before which the signal is sent, counted from 1.
        how: the signal.

    Returns:
        The exit code; minus the signal where it ended the process.
    """
    tree = OmegaConf.to_container(cfg)
    process = PROCESSES.Process(target=_train_and_die, args=(folder, tree, point, count, how))
    process.start()
    process.join(300)
    assert process.exitcode is not None, "it goes on"
    return process.exitcode


def _train_and_die(folder: Path, tree: dict[str, Any], point: str, count: int, how: int) -> None:
    module, path = point.split(":")
    *owner, name = path.split(".")
    target = importlib.import_module(module)
    for part in owner:
        target = getattr(target, part)
    function, calls = getattr(target, name), []

    def deadly(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), how)
        return function(*args, **kwargs)

    setattr(target, name, deadly)
    train(OmegaConf.create(tree), folder)


def weights(run: Run) -> dict[str, torch.Tensor]:
    """The weights after the last epoch."""
    content = torch.load(run.folder / "snapshots" / "last.ckpt", weights_only=True)
    return content["state_dict"]  # type: ignore[no-any-return]


def equal(first: Run, second: Run) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def scores(run: Run) -> dict[str, Any]:
    """The final numbers that the same tree gives again; how long it took is not one of them."""
    return {name: value for name, value in run.metrics.items() if not name.startswith("speed.")}


def rows(run: Run) -> list[dict[str, str]]:
    with (run.folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


BLOCK, HEADER = 32768, 7


def records(path: Path) -> Iterator[bytes]:
    """The records of an offline .wandb file: LevelDB's log, a checksum on each piece."""
    data, position, whole = path.read_bytes(), 7, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        piece = data[position + HEADER : position + HEADER + length]
        assert zlib.crc32(piece, zlib.crc32(bytes([kind]))) == checksum
        position += HEADER + length
        whole = piece if kind in (1, 2) else whole + piece
        if kind in (1, 4):
            yield whole


def read_offline(path: Path) -> dict[str, Any]:
    """Config, history, summary and exit code of an offline run."""
    from wandb.proto import wandb_internal_pb2

    def items(values: Any) -> dict[str, Any]:
        return {v.key or ".".join(v.nested_key): json.loads(v.value_json) for v in values}

    found: dict[str, Any] = {"history": [], "config": {}, "summary": {}, "exit": None}
    for content in records(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        match record.WhichOneof("record_type"):
            case "run":
                found |= {"project": record.run.project, "name": record.run.display_name}
                found |= {"id": record.run.run_id, "group": record.run.run_group}
                found |= {"tags": list(record.run.tags), "sweep": record.run.sweep_id}
                found["config"] |= items(record.run.config.update)
            case "config":
                found["config"] |= items(record.config.update)
            case "history":
                found["history"].append(items(record.history.item))
            case "summary":
                found["summary"] |= items(record.summary.update)
            case "exit":
                found["exit"] = record.exit.exit_code
    found["config"].pop("_wandb", None)
    return found


def offline_runs(folder: Path) -> list[dict[str, Any]]:
    """The finished runs below a folder; W&B's own process may still be writing for a moment."""
    runs: list[dict[str, Any]] = []

    def finished() -> bool:
        runs[:] = map(read_offline, sorted(folder.glob("wandb/offline-run-*/*.wandb")))
        return bool(runs) and all(run["exit"] is not None for run in runs)

    wait_until(finished, what=runs)
    return runs


def write_topviewmouse(project: Path, path: Path) -> Path:
    """Write a file like SuperAnimal's: HRNet-W32 that ends in a transposed convolution of a pixel.

    Args:
        project: any, to compose with.
        path: of the file.
    """
    cfg = compose(f"project={project}", "net_type=top_down_hrnet_w32")
    head = cfg.model.heads.bodypart
    head.heatmap_config = {"channels": [32, 27], "kernel_size": [1], "strides": [1]}
    head.locref_config = None
    head.target_generator.num_heatmaps = 27
    torch.manual_seed(1)
    model = build(cfg.model, key="model")
    torch.save({"model": model.state_dict(), "metadata": {"epoch": 0}}, path)
    return path
