"""The places of the values of DeepLabCut's `pytorch_config.yaml` in the tree, for both directions.

`LAYOUT` has the keys of the file in DeepLabCut's order. `dlcexp.deeplabcut.export` fills
it from a tree; `dlcexp.deeplabcut.changes` walks it along with a file.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dlcexp.trees import join, select


@dataclass(frozen=True)
class Key:
    """A value that is the same in the file and in the tree, at this path."""

    path: str


@dataclass(frozen=True)
class Part:
    """A value that the tree spells otherwise: how (the name of a writer), and at which path."""

    kind: str
    path: str


@dataclass(frozen=True)
class Stage:
    """A section that is null where the tree has nothing at this path."""

    path: str
    layout: Mapping[str, Any]


def fill(layout: Any, tree: Mapping[str, Any], parts: Mapping[str, Callable[..., Any]]) -> Any:
    """Return the sections of a file: a mapping in the shape of `layout`, a tree of mappings.

    Args:
        layout: its leaves are `Key`, `Part`, `Stage` or constants.
        tree: the resolved tree, plain.
        parts: the writer of each kind of `Part`; it gets the tree and the path.
    """
    if isinstance(layout, Mapping):
        return {name: fill(child, tree, parts) for name, child in layout.items()}
    if isinstance(layout, Key):
        return select(tree, layout.path)
    if isinstance(layout, Part):
        return parts[layout.kind](tree, layout.path)
    if isinstance(layout, Stage):
        return fill(layout.layout, tree, parts) if tree.get(layout.path) else None
    return layout


def entries(layout: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is at each place of a file: a `Key`, a `Part` or a constant."""
    if isinstance(layout, Stage):
        layout = layout.layout
    if isinstance(layout, Mapping):
        for name, child in layout.items():
            yield from entries(child, join(path, name))
    else:
        yield path, layout


def _runner(name: str, stage: str, trainer: str, schedule: str) -> dict[str, Any]:
    """Return the training settings of one stage: the pose model, or the detector."""
    return {
        "type": name,
        "gpus": None,
        "device": Key("device"),
        "key_metric": Key(f"{trainer}key_metric"),
        "key_metric_asc": Key(f"{trainer}key_metric_asc"),
        "eval_interval": Key(f"{trainer}eval_interval"),
        "optimizer": Part("optimizer", f"{stage}optimizer"),
        "scheduler": Part(schedule, f"{stage}scheduler"),
        "snapshots": {
            "max_snapshots": Key("trainer.max_snapshots"),
            "save_epochs": Key(f"{stage}save_epochs"),
            "save_optimizer_state": Key("trainer.save_optimizer_state"),
        },
        "snapshot_prefix": None,
        "load_weights_only": None,
    }


def _train_settings(stage: str, trainer: str) -> dict[str, Any]:
    return {
        "batch_size": Key(f"{stage}batch_size"),
        "dataloader_workers": Key(f"{trainer}num_workers"),
        "dataloader_pin_memory": Key("trainer.pin_memory"),
        "display_iters": Key("trainer.display_iters"),
        "epochs": Key(f"{stage}epochs"),
        "seed": Key("seed"),
        "weight_init": None,
    }


_INFERENCE = {
    "multithreading": Key("inference.multithreading"),
    "compile": Key("inference.compile"),
    "autocast": Key("inference.autocast"),
    "conditions": Part("conditions", "conditions"),
    "snapshot": None,
    "eval": {
        name: Key(f"evaluation.{name}")
        for name in (
            "mode",
            "pcutoff",
            "comparison_bodyparts",
            "per_keypoint_evaluation",
            "force_multi_animal",
        )
    },
    "output_dir": None,
}

LAYOUT: dict[str, Any] = {
    "config_version": 0,
    "model": Part("model", "model"),
    "net_type": Part("net_type", "model"),
    "method": Key("method"),
    "device": Key("device"),
    "metadata": Part("metadata", "metadata"),
    "data": {
        "bbox_margin": Key("data.bbox_margin"),
        "colormode": Key("data.colormode"),
        "gen_sampling": Key("data.gen_sampling"),
        "inference": Part("inference_menu", "data"),
        "train": Part("train_menu", "data"),
        "loader": Key("data.loader"),
    },
    "runner": _runner("PoseTrainingRunner", "", "trainer.", "scheduler"),
    "train_settings": _train_settings("", "trainer."),
    "inference": _INFERENCE,
    "logger": Part("logger", "logger"),
    "with_center_keypoints": Key("with_center_keypoints"),
    "detector": Stage(
        "detector",
        {
            "model": Part("node", "detector.model"),
            "device": Key("device"),
            "data": {
                "colormode": Key("data_detector.colormode"),
                "inference": Part("inference_menu", "data_detector"),
                "train": Part("train_menu", "data_detector"),
            },
            "runner": _runner(
                "DetectorTrainingRunner", "detector.", "detector.", "detector_scheduler"
            ),
            "train_settings": _train_settings("detector.", "detector."),
            "inference": _INFERENCE,
            "resume_training_from": None,
        },
    ),
    "resume_training_from": None,
}
