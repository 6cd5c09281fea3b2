"""The stages of an experiment: in a top-down one the detector is trained, then the pose model."""

from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import DictConfig

from dlcexp.deeplabcut.snapshots import DETECTOR_PREFIX, POSE_PREFIX
from dlcexp.runs.metric_names import GT_BOXES, GT_CONDITIONS

DETECTOR, POSE = "detector", "pose"
STAGES = (DETECTOR, POSE)


@dataclass(frozen=True)
class Stage:
    """One network and how it is trained.

    Attributes:
        name: `detector` or `pose`.
        settings: the node with its `model`, `optimizer`, `scheduler`, `batch_size`, `epochs` and
            `save_epochs`: the tree itself for the pose model, its `detector` for the detector.
        key_metric: what makes a snapshot the best; None: the last one counts.
        key_metric_asc: larger is better.
        eval_interval: epochs between evaluations.
        by_labels: suffix of the name of a split where crops are cut by the labels.
    """

    name: str
    settings: DictConfig
    key_metric: str | None
    key_metric_asc: bool
    eval_interval: int
    by_labels: str = ""

    @property
    def prefix(self) -> str:
        """Beginning of the names of its snapshots."""
        return snapshot_prefix(self.name)

    @property
    def key_prefix(self) -> str:
        """Prefix of its keys in the tree, and of its metrics among those of a run."""
        return "detector." if self.name == DETECTOR else ""

    @property
    def log_prefix(self) -> str:
        """Beginning of its lines in the log; empty for a pose model."""
        return f"{self.name}: " if self.name == DETECTOR else ""

    def logged(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return scores by the names that they have in a run's tables, next to the final scores.

        A top-down pose model is scored on the boxes of the labels while it trains, as DeepLabCut
        does; `test.rmse` is that of the detector's boxes. A conditional one is scored with poses
        drawn from the labels; `test.rmse` is that with the conditions of the experiment.
        """
        renamed = {
            f"{name.partition('.')[0]}{self.by_labels}.{name.partition('.')[2]}": value
            for name, value in metrics.items()
        }
        return {f"{self.key_prefix}{name}": value for name, value in renamed.items()}


def snapshot_prefix(stage: str) -> str:
    """Return the beginning of the names of the snapshots of a stage."""
    return DETECTOR_PREFIX if stage == DETECTOR else POSE_PREFIX


def file_suffix(stage: str) -> str:
    """Return the suffix of the other files of a stage: `last-detector.ckpt`, `last.ckpt`."""
    return "-detector" if stage == DETECTOR else ""


def pose_stage(cfg: DictConfig) -> Stage:
    """Return the stage of the pose model."""
    trainer = cfg.trainer
    by_labels = {"td": GT_BOXES, "ctd": GT_CONDITIONS}.get(cfg.method, "")
    return Stage(
        POSE, cfg, trainer.key_metric, trainer.key_metric_asc, trainer.eval_interval, by_labels
    )


def detector_stage(cfg: DictConfig) -> Stage:
    """Return the stage of the detector of a top-down experiment."""
    node = cfg.detector
    return Stage(DETECTOR, node, node.key_metric, node.key_metric_asc, node.eval_interval)


def chosen_stages(cfg: DictConfig) -> list[Stage]:
    """Return the stages that `train.stages` lists, the detector first.

    A detector that is taken over (`detector.snapshot`) is not trained.
    """
    stages = []
    if DETECTOR in cfg.train.stages and not cfg.detector.snapshot:
        stages.append(detector_stage(cfg))
    if POSE in cfg.train.stages:
        stages.append(pose_stage(cfg))
    return stages
