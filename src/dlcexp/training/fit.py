"""One experiment from its tree to its run folder: check, build, fit, evaluate, report."""

import logging
import os
import signal
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig
from torch import nn

from dlcexp.config.build import allowing, build
from dlcexp.data.loading import PoseData
from dlcexp.errors import ConfigError, nearest
from dlcexp.evaluation.boxes import DETECTOR_METRICS, evaluate_detector
from dlcexp.evaluation.evaluate import SPLITS, by_split, evaluate_model
from dlcexp.evaluation.metrics import evaluate_poses
from dlcexp.training.detector_module import DetectorModule
from dlcexp.training.epochs import EpochEnd
from dlcexp.training.hardware import Hardware, choose_hardware
from dlcexp.training.loggers import close
from dlcexp.training.module import StageModule
from dlcexp.training.pose_module import PoseModule
from dlcexp.training.progress import progress
from dlcexp.training.report import report
from dlcexp.training.resume import (
    AtomicCheckpointIO,
    adopt,
    epochs_done,
    foreign_detector,
    resume_point,
    take_over_detector,
)
from dlcexp.training.run import Run, RunFolder, new_run_folder, plain
from dlcexp.training.stages import DETECTOR, Stage, chosen_stages

logger = logging.getLogger(__name__)

# Lightning runs the command again for each further process of DDP; this names the folder to them.
_FOLDER_VARIABLE = "DLCEXP_RUN_FOLDER"


def train(cfg: DictConfig, folder: str | Path | None = None, overrides: Sequence[str] = ()) -> Run:
    """Train each stage, evaluate and leave a run folder.

    Args:
        cfg: the validated, resolved tree (`dlcexp.compose`).
        folder: the run folder; None makes `runs/<project>/<timestamp>-<hash>`.
        overrides: what the tree was composed from, for the record.

    Returns:
        The finished run.

    Raises:
        ConfigError: something in the tree is impossible here, such as a device that is not there.
        SnapshotError: the checkpoint to resume from, or the detector to take over, does not fit.
        DivergenceError: the loss became NaN or infinite.
    """
    hardware = choose_hardware(cfg)
    stages = chosen_stages(cfg)
    for stage in stages:
        check_key_metric(cfg, stage)
    if _is_further_process():
        _fit_as_further_process(cfg, stages, hardware)
    run_folder = RunFolder(Path(folder) if folder else new_run_folder(cfg))
    detector = foreign_detector(cfg)
    begins = {stage.name: resume_point(cfg, stage, run_folder) for stage in stages}
    own = [stage for stage in stages if _same(begins[stage.name], run_folder.checkpoint(stage))]
    fresh = [stage for stage in stages if stage not in own]
    with _private_environment(), allowing(cfg.get("allow_targets") or []), quiet():
        run_folder.start(cfg, overrides, fresh=fresh, device=str(hardware.device))
        with run_folder.recording(), _loggers(cfg, run_folder) as loggers:
            logger.info("run folder %s, device %s", run_folder.path, hardware.device)
            os.environ[_FOLDER_VARIABLE] = str(run_folder.path.resolve())
            if detector is not None:
                take_over_detector(detector, run_folder)
            data = PoseData(cfg)
            for stage in stages:
                checkpoint = begins[stage.name]
                if checkpoint and stage not in own:
                    adopt(checkpoint, stage, run_folder)
                fit(cfg, stage, run_folder, hardware, checkpoint, loggers, data)
            report(Run.open(run_folder.path), run_folder, hardware.device, data, loggers)
    return Run.open(run_folder.path)


def _same(path: Path | None, other: Path) -> bool:
    return path is not None and path.resolve() == other.resolve()


def fit(
    cfg: DictConfig,
    stage: Stage,
    folder: RunFolder,
    hardware: Hardware,
    checkpoint: Path | None,
    loggers: list[Logger],
    data: PoseData,
) -> None:
    """Train a stage up to its last epoch, in every process of a distributed run.

    Args:
        checkpoint: full state to go on from.
    """
    seed_everything(int(cfg.seed), verbose=False)
    module = _module(cfg, stage, data)
    epochs = stage.settings.epochs
    if checkpoint is not None:
        done = epochs_done(checkpoint, module.state_dict())
        if done >= epochs:
            logger.info("%s has all %d epochs behind it already", checkpoint, done)
            return
        logger.info("resuming after epoch %d of %s", done, checkpoint)

    def score(model: nn.Module) -> dict[str, float]:
        splits = SPLITS if stage.key_metric.startswith("train.") else SPLITS[1:]
        if stage.name == DETECTOR:
            return by_split(evaluate_detector(model, data, module.device, splits=splits)[0])
        return by_split(evaluate_model(model, data, cfg, module.device, splits=splits).metrics)

    callbacks = [EpochEnd(cfg, stage, folder, score), progress(cfg.trainer)]
    trainer = make_trainer(cfg, epochs, folder, hardware, callbacks, loggers)
    with _keyboard_interrupts():
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # A later run of this process brings processes of its own.
        torch.distributed.destroy_process_group()


def _module(cfg: DictConfig, stage: Stage, data: PoseData) -> StageModule:
    """What Lightning trains in a stage, with its weights as they are at the beginning."""
    if stage.name == DETECTOR:
        if stage.settings.model.weights is None:
            logger.info("the detector starts from random weights (detector.model.weights=null)")
        detector = build(stage.settings.model, key="detector.model")
        return DetectorModule(detector, data, cfg, stage)
    return PoseModule(build(stage.settings.model, key="model"), data, cfg, stage)


def make_trainer(
    cfg: DictConfig,
    epochs: int,
    folder: RunFolder,
    hardware: Hardware,
    callbacks: list[Callback],
    loggers: list[Logger],
) -> Trainer:
    """Lightning's trainer; evaluation, snapshots and progress are callbacks of ours."""
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        strategy=hardware.strategy,
        precision=hardware.precision,  # type: ignore[arg-type]
        plugins=[AtomicCheckpointIO(), *hardware.plugins],
        max_epochs=epochs,
        accumulate_grad_batches=cfg.trainer.accumulate_grad_batches,
        gradient_clip_val=cfg.trainer.gradient_clip_val,
        deterministic=cfg.trainer.deterministic,
        callbacks=callbacks,
        logger=loggers or False,
        log_every_n_steps=1,
        use_distributed_sampler=False,  # PoseData shards by itself
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder.path,
    )


def check_key_metric(cfg: DictConfig, stage: Stage) -> None:
    """Refuse a metric that will never be measured before the first batch.

    Raises:
        ConfigError: names the metrics there are.
    """
    names: Iterable[str] = DETECTOR_METRICS if stage.name == DETECTOR else _pose_metrics(cfg)
    split, _, name = stage.key_metric.partition(".")
    if split not in ("test", "train") or name not in names:
        known = [f"test.{each}" for each in names]
        raise ConfigError(
            "detector.key_metric" if stage.name == DETECTOR else "trainer.key_metric",
            f"{stage.key_metric!r} is not measured. Allowed: {', '.join(known)}, and the "
            f"same with train.{nearest(stage.key_metric, known)}",
        )


def _pose_metrics(cfg: DictConfig) -> Iterable[str]:
    metadata = cfg.metadata
    pose = np.zeros((metadata.num_individuals, metadata.num_bodyparts, 3))
    return evaluate_poses(
        {"frame": pose},
        {"frame": pose},
        bodyparts=list(metadata.bodyparts),
        pck_thresholds=list(cfg.evaluation.pck_thresholds),
        single_animal=metadata.num_individuals == 1,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advice to itself: what matters of it is said by us, or is an error."""
    names = ("lightning.pytorch", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=PossibleUserWarning)
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _loggers(cfg: DictConfig, folder: RunFolder) -> Iterator[list[Logger]]:
    """The loggers of the tree, told the tree, and ended as the run ends."""
    built: list[Logger] = []
    nodes: Mapping[str, Any] = cfg.get("logger") or {}
    failed = True
    try:
        for name, node in nodes.items():
            built.append(build(node, key=f"logger.{name}", save_dir=str(folder.path)))
            built[-1].log_hyperparams(plain(cfg))
        yield built
        failed = False
    finally:
        close(built, failed=failed)


@contextmanager
def _private_environment() -> Iterator[None]:
    """Undo what Lightning leaves in the environment, which would mislead the next run."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _keyboard_interrupts() -> Iterator[None]:
    """Hand an interrupt on as what it is: Lightning ignores further ones and exits with 1."""
    try:
        handler = signal.getsignal(signal.SIGINT)
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from error
        raise


def _is_further_process() -> bool:
    """Whether this process was started by another one to train with it."""
    return os.environ.get("LOCAL_RANK", "0") != "0" and _FOLDER_VARIABLE in os.environ


def _fit_as_further_process(cfg: DictConfig, stages: Sequence[Stage], hardware: Hardware) -> None:
    """Train along, write nothing, and end: what follows is the first process's affair."""
    folder = RunFolder(Path(os.environ[_FOLDER_VARIABLE]))
    with allowing(cfg.get("allow_targets") or []), quiet():
        data = PoseData(cfg)
        for stage in stages:
            fit(cfg, stage, folder, hardware, resume_point(cfg, stage, folder), [], data)
    raise SystemExit(0)
