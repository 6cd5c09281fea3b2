"""The stages of an experiment: in a top-down one the detector is trained, then the pose model."""

from dataclasses import dataclass

from omegaconf import DictConfig

from dlcexp.deeplabcut.snapshots import DETECTOR_PREFIX, POSE_PREFIX

DETECTOR, POSE = "detector", "pose"


@dataclass(frozen=True)
class Stage:
    """One network and how it is trained.

    Attributes:
        name: `detector` or `pose`.
        settings: the node with its `model`, `optimizer`, `scheduler`, `batch_size`, `epochs` and
            `save_epochs`: the tree itself for the pose model, its `detector` for the detector.
        key_metric: what makes a snapshot the best.
        key_metric_asc: larger is better.
        eval_interval: epochs between evaluations.
    """

    name: str
    settings: DictConfig
    key_metric: str
    key_metric_asc: bool
    eval_interval: int

    @property
    def prefix(self) -> str:
        """How the names of its snapshots begin."""
        return DETECTOR_PREFIX if self.name == DETECTOR else POSE_PREFIX

    @property
    def suffix(self) -> str:
        """What its other files have in their names: `last-detector.ckpt`, `last.ckpt`."""
        return "-detector" if self.name == DETECTOR else ""

    @property
    def metric_prefix(self) -> str:
        """What stands before its metrics where those of all stages come together."""
        return "detector." if self.name == DETECTOR else ""

    @property
    def words(self) -> str:
        """What begins its lines in the log; a pose model needs no telling."""
        return f"{self.name}: " if self.name == DETECTOR else ""


def pose_stage(cfg: DictConfig) -> Stage:
    """The stage of the pose model."""
    trainer = cfg.trainer
    return Stage(POSE, cfg, trainer.key_metric, trainer.key_metric_asc, trainer.eval_interval)


def detector_stage(cfg: DictConfig) -> Stage:
    """The stage of the detector of a top-down experiment."""
    node = cfg.detector
    return Stage(DETECTOR, node, node.key_metric, node.key_metric_asc, node.eval_interval)


def chosen_stages(cfg: DictConfig) -> list[Stage]:
    """What `train.stages` asks for, the detector first.

    A detector that is taken over (`detector.snapshot`) is not trained.
    """
    stages = []
    if DETECTOR in cfg.train.stages and not cfg.detector.snapshot:
        stages.append(detector_stage(cfg))
    if POSE in cfg.train.stages:
        stages.append(pose_stage(cfg))
    return stages
