"""The metric that chooses the snapshot of a stage: of which frames it is, and whether it exists."""

import copy
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from omegaconf import DictConfig

from dlcexp.data.loading import PoseData
from dlcexp.data.splits import FEWEST_FOR_VAL, Split, SplitName
from dlcexp.errors import ConfigError, nearest
from dlcexp.evaluation.detected_boxes import DETECTOR_METRICS
from dlcexp.evaluation.metrics import evaluate_poses
from dlcexp.runs.folder import plain
from dlcexp.runs.metric_names import PARTS, part_of
from dlcexp.runs.stages import DETECTOR, Stage
from dlcexp.vocabulary import AUTO, IDENTITY, UNIQUE_BODYPART

logger = logging.getLogger(__name__)

_VAL = "val"
_REMEDY = (
    "split.val_fraction=0.15 takes validation frames out of the training frames; test.NAME chooses "
    "by test frames, as DeepLabCut does."
)


def without_validation(tree: Mapping[str, Any], split: Split) -> dict[str, Any]:
    """Return a plain tree that chooses nothing where `auto` has left no validation frames.

    The last snapshot counts then, and the jobs of a sweep are ranked by test frames.

    Args:
        tree: resolved and checked.
        split: what its `split` has made of the labels.
    """
    changed = copy.deepcopy(dict(tree))
    if split.val or changed["split"].get("val_fraction") != AUTO:
        return changed
    for stage in ("trainer", "detector"):
        node = changed.get(stage) or {}
        if part_of(str(node.get("key_metric"))) == _VAL:
            node["key_metric"] = None
    if sweep := changed.get("sweep"):
        metrics = sweep["metric"]
        named = [metrics] if isinstance(metrics, str) else metrics or []
        tested = [f"test{m.removeprefix(_VAL)}" if part_of(m) == _VAL else m for m in named]
        sweep["metric"] = tested[0] if isinstance(metrics, str) else tested
    return changed


def log_choice(cfg: DictConfig, data: PoseData) -> None:
    """Log how many frames each part has, and what chooses the snapshot."""
    counts = [f"{len(getattr(data.split, part))} {part}" for part in data.split.parts]
    metric = cfg.trainer.key_metric
    chosen = f"the snapshot with the best {metric} counts" if metric else "the last snapshot counts"
    few = not data.split.val and cfg.split.get("val_fraction") == AUTO
    why = f", as fewer than {FEWEST_FOR_VAL} can train and none validates" if few else ""
    logger.info("frames: %s; %s%s", ", ".join(counts), chosen, why if metric is None else "")


def parts_while_training(cfg: DictConfig, stage: Stage, data: PoseData) -> list[SplitName]:
    """Return the parts of the frames that are scored at each evaluation.

    These are validation frames, or test frames where there are none, and those whose metrics choose
    snapshots or rank and prune the jobs of a sweep. Else test frames are scored once, at the end.
    """
    ranking = plain(cfg).get("sweep", {}).get("metric") or []
    wanted = [stage.key_metric or "", *([ranking] if isinstance(ranking, str) else ranking)]
    chosen = {"val" if data.split.val else "test", *map(part_of, wanted)}
    return [part for part in data.split.parts if part in chosen]


def check_key_metric(cfg: DictConfig, stage: Stage, data: PoseData) -> None:
    """Refuse, before the first batch, a metric that will never be measured, or one that is missing.

    Raises:
        ConfigError: names the metrics there are, or the key that needs one.
    """
    key = f"{'detector' if stage.name == DETECTOR else 'trainer'}.key_metric"
    if stage.key_metric is None:
        if (cfg.trainer.get("early_stopping") or {}).get("patience") is not None:
            raise ConfigError(
                "trainer.early_stopping.patience",
                f"{cfg.trainer.early_stopping.patience}, but {key} is null: no frame can show when "
                f"to stop. {_REMEDY}",
            )
        return
    names: Iterable[str] = DETECTOR_METRICS if stage.name == DETECTOR else _pose_metrics(cfg)
    part, _, name = stage.key_metric.partition(".")
    if part == _VAL and not data.split.val:
        raise ConfigError(
            key,
            f"{stage.key_metric!r} is not measured, as there are no validation frames. {_REMEDY}",
        )
    if part not in PARTS or name not in names:
        first, *others = [part for part in PARTS if part in data.split.parts]
        known = [f"{first}.{each}" for each in names]
        raise ConfigError(
            key,
            f"{stage.key_metric!r} is not measured. Allowed: {', '.join(known)}, and the "
            f"same with {' or '.join(others)}.{nearest(stage.key_metric, known)}",
        )


def _pose_metrics(cfg: DictConfig) -> Iterable[str]:
    metadata = cfg.metadata
    pose = np.zeros((metadata.num_individuals, metadata.num_bodyparts, 3))
    unique = metadata.unique_bodyparts if UNIQUE_BODYPART in cfg.model.heads else []
    return evaluate_poses(
        {"frame": pose},
        {"frame": pose},
        bodyparts=list(metadata.bodyparts),
        unique_bodyparts=list(unique),
        with_identity=IDENTITY in cfg.model.heads,
        pck_thresholds=list(cfg.evaluation.pck_thresholds),
        single_animal=metadata.num_individuals == 1,
    )
