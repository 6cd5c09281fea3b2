"""Writes the folder of a sweep as `dlcexp -m` leaves it, from the numbers that a test wants."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dlcexp.config.overrides import parse_overrides
from dlcexp.sweeps.space import Space, parse_space

# The metric of two recipes over five folds.
FAST = (80.0, 71.0, 78.0, 69.0, 82.0)
SLOW = (79.0, 70.5, 75.0, 69.0, 80.0)

TREE = {
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001},
    "model": {"backbone": {"_target_": "dlcexp.models.backbones.HRNet"}, "recipe": {"lr": 1}},
    "split": {"_target_": "dlcexp.data.splits.KFoldSplit", "k": 5, "fold": 0},
    "train": {"stages": []},
    "weights": {"path": None},
    "trainer": {"key_metric": "test.mAP", "num_workers": 0},
    "epochs": 2,
    "seed": 42,
    "device": "cpu",
}


def tree_with(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with dotted keys changed."""
    tree = json.loads(json.dumps(TREE))
    for path, value in changes.items():
        *parents, name = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return tree


def write_run(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    words: Sequence[str] | None = None,
    *,
    metrics: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    rows: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """A run folder; `changes` to the tree are also its overrides, unless `words` are given."""
    folder.mkdir(parents=True, exist_ok=True)
    changes = changes or {}
    typed = [f"{key}={value}" for key, value in changes.items()] if words is None else words
    (folder / "config.yaml").write_text(yaml.safe_dump(tree_with(changes), sort_keys=False))
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(typed)))
    ended = {"status": "completed", "error": None, "kind": None, "seconds": 10.0, **(status or {})}
    (folder / "status.json").write_text(json.dumps(ended))
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    if rows:
        names = list(rows[0])
        lines = [",".join(names), *(",".join(str(row[n]) for n in names) for row in rows)]
        (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_errors(run: Path, rows: Sequence[tuple[str, str, str, float]]) -> None:
    """The `keypoint_errors.csv` of a run: split, frame, bodypart and error of each label."""
    lines = [f"{split},{frame},one,{part},0.9,{error}" for split, frame, part, error in rows]
    text = "\n".join(["split,frame,individual,bodypart,confidence,error", *lines, ""])
    (run / "keypoint_errors.csv").write_text(text.replace("nan", ""))


def write_sweep(folder: Path, objectives: Sequence[tuple[str, str]], **more: Any) -> Path:
    """`sweep.yaml` and `jobs.jsonl` of the runs in the folder, as the sweep runner writes them."""
    runs = sorted((p for p in folder.iterdir() if p.name.isdecimal()), key=lambda p: int(p.name))
    record = {
        "command": "dlcexp -m project=mouse",
        "overrides": ["project=mouse"],
        "swept": [],
        "created": "2026-11-24T10:00:00+00:00",
        "objectives": [{"metric": name, "direction": way} for name, way in objectives],
        **more,
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(record))
    lines = []
    for run in runs:
        overrides = yaml.safe_load((run / "overrides.yaml").read_text())
        job = {"number": int(run.name), "folder": run.name, "overrides": overrides}
        lines.append(json.dumps({**job, "hash": "", "trial": None}))
    (folder / "jobs.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_folds(folder: Path) -> Path:
    """A sweep of `optimizer.lr=0.001,0.01` over five folds, with `SLOW` and `FAST` as metric."""
    for number, score in enumerate(SLOW + FAST):
        changes = {"optimizer.lr": 0.001 if number < 5 else 0.01, "split.fold": number % 5}
        metrics = {"epoch": 2, "snapshot": "snapshot-best-002.pt", "test.mAP": score}
        rows = [{"epoch": e, "test.mAP": score - 2 + e, "train.total_loss": 1 / e} for e in (1, 2)]
        write_run(folder / str(number), changes, metrics=metrics, rows=rows)
    return write_sweep(folder, [("test.mAP", "maximize")], swept=["optimizer.lr", "split.fold"])


def space_of(words: Sequence[str], *further: Any) -> Space:
    """Return the space of overrides as one types them; `further` as `parse_space` takes it."""
    return parse_space(parse_overrides(words), *further)
