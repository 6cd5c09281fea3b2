"""One experiment from its tree to its run folder: check, build, fit, evaluate, report."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig
from rich.console import Console
from torch import nn

from dlcexp.config.build import allowing, build
from dlcexp.data.loading import PoseData
from dlcexp.deeplabcut.snapshots import best_snapshot
from dlcexp.errors import ConfigError, nearest
from dlcexp.evaluation.evaluate import SPLITS, Evaluation, evaluate_model
from dlcexp.evaluation.figures import draw_examples
from dlcexp.evaluation.metrics import evaluate_poses
from dlcexp.evaluation.plots import draw_bodypart_errors, draw_learning_curves
from dlcexp.evaluation.table import evaluation_table
from dlcexp.training.epochs import EpochEnd
from dlcexp.training.hardware import Hardware, choose_hardware
from dlcexp.training.loggers import WandbLogger, close
from dlcexp.training.pose_module import PoseModule
from dlcexp.training.progress import progress
from dlcexp.training.resume import AtomicCheckpointIO, adopt, epochs_done, resume_point
from dlcexp.training.run import Run, RunFolder, load_weights, new_run_folder, plain

logger = logging.getLogger(__name__)

# Lightning runs the command again for each further process of DDP; this names the folder to them.
_FOLDER_VARIABLE = "DLCEXP_RUN_FOLDER"


def train(cfg: DictConfig, folder: str | Path | None = None, overrides: Sequence[str] = ()) -> Run:
    """Train, evaluate and leave a run folder.

    Args:
        cfg: the validated, resolved tree (`dlcexp.compose`).
        folder: the run folder; None makes `runs/<project>/<timestamp>-<hash>`.
        overrides: what the tree was composed from, for the record.

    Returns:
        The finished run.

    Raises:
        ConfigError: something in the tree is impossible here, such as a device that is not there.
        SnapshotError: the checkpoint to resume from does not fit.
        DivergenceError: the loss became NaN or infinite.
    """
    hardware = choose_hardware(cfg)
    check_key_metric(cfg)
    if _is_further_process():
        _fit_as_further_process(cfg, hardware, folder)
    run_folder = RunFolder(Path(folder) if folder else new_run_folder(cfg))
    checkpoint = resume_point(cfg, run_folder)
    with _private_environment(), allowing(cfg.get("allow_targets") or []), quiet():
        own = (
            checkpoint is not None and checkpoint.resolve() == run_folder.last_checkpoint.resolve()
        )
        run_folder.start(cfg, overrides, fresh=not own, device=str(hardware.device))
        with run_folder.recording(), _loggers(cfg, run_folder) as loggers:
            if checkpoint and not own:
                adopt(checkpoint, run_folder)
            logger.info("run folder %s, device %s", run_folder.path, hardware.device)
            os.environ[_FOLDER_VARIABLE] = str(run_folder.path.resolve())
            model, data = fit(cfg, run_folder, hardware, checkpoint, loggers)
            report(cfg, run_folder, hardware, model, data, loggers)
    return Run.open(run_folder.path)


def fit(
    cfg: DictConfig,
    folder: RunFolder,
    hardware: Hardware,
    checkpoint: Path | None,
    loggers: list[Logger],
) -> tuple[nn.Module, PoseData]:
    """Train up to `cfg.epochs`, in every process of a distributed run.

    Args:
        checkpoint: full state to go on from.

    Returns:
        The network after the last epoch, and the data it was trained on.
    """
    seed_everything(int(cfg.seed), verbose=False)
    data = PoseData(cfg)
    module = PoseModule(build(cfg.model, key="model"), data, cfg)
    if checkpoint is not None:
        done = epochs_done(checkpoint, module.state_dict())
        if done >= cfg.epochs:
            logger.info("%s has all %d epochs behind it already", checkpoint, done)
            return module.model, data
        logger.info("resuming after epoch %d of %s", done, checkpoint)

    def score(model: nn.Module) -> dict[str, float]:
        splits = SPLITS if str(cfg.trainer.key_metric).startswith("train.") else SPLITS[1:]
        return flatten(evaluate_model(model, data, cfg, module.device, splits=splits))

    callbacks = [EpochEnd(cfg, folder, score), progress(cfg.trainer)]
    trainer = make_trainer(cfg, folder, hardware, callbacks, loggers)
    with _keyboard_interrupts():
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # A later run of this process brings processes of its own.
        torch.distributed.destroy_process_group()
    return module.model, data


def make_trainer(
    cfg: DictConfig,
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
        max_epochs=cfg.epochs,
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


def report(
    cfg: DictConfig,
    folder: RunFolder,
    hardware: Hardware,
    model: nn.Module,
    data: PoseData,
    loggers: Sequence[Logger],
) -> None:
    """Evaluate the best snapshot on train and test frames: metrics.json, table, figures."""
    path = best_snapshot(folder.snapshots)
    epoch = load_weights(model.float(), path) if path else cfg.epochs
    model = model.to(hardware.device).eval()
    evaluation = evaluate_model(model, data, cfg, hardware.device)
    metrics = {"epoch": epoch, "snapshot": path.name if path else None, **flatten(evaluation)}
    folder.write_metrics(metrics)
    figures = draw_figures(evaluation, data, folder, cfg)
    for target in loggers:
        if isinstance(target, WandbLogger):
            target.log_figures(figures)
            target.log_summary(metrics)
    Console().print(evaluation_table(evaluation))
    logger.info("%s, best snapshot %s", folder.path, path.name if path else "none")


def draw_figures(
    evaluation: Evaluation, data: PoseData, folder: RunFolder, cfg: DictConfig
) -> list[Path]:
    """Examples, errors by bodypart, and learning curves where metrics.csv was kept."""
    figures = draw_examples(evaluation, data, folder.figures, cfg)
    errors, curves = folder.figures / "errors.png", folder.figures / "learning_curves.png"
    draw_bodypart_errors(evaluation, data.project.bodyparts, errors)
    figures.append(errors)
    table = folder.path / "metrics.csv"
    if table.is_file() and draw_learning_curves(table, curves):
        figures.append(curves)
    return figures


def flatten(evaluation: Evaluation) -> dict[str, float]:
    """Scores of each split as `test.rmse` and the like."""
    return {
        f"{split}.{name}": float(value)
        for split, scores in evaluation.metrics.items()
        for name, value in scores.items()
    }


def check_key_metric(cfg: DictConfig) -> None:
    """Refuse a metric that will never be measured before the first batch.

    Raises:
        ConfigError: names the metrics there are.
    """
    metadata = cfg.metadata
    pose = np.zeros((metadata.num_individuals, metadata.num_bodyparts, 3))
    names = evaluate_poses(
        {"frame": pose},
        {"frame": pose},
        bodyparts=list(metadata.bodyparts),
        pck_thresholds=list(cfg.evaluation.pck_thresholds),
        single_animal=metadata.num_individuals == 1,
    )
    split, _, name = str(cfg.trainer.key_metric).partition(".")
    if split not in ("test", "train") or name not in names:
        known = [f"test.{each}" for each in names]
        raise ConfigError(
            "trainer.key_metric",
            f"{cfg.trainer.key_metric!r} is not measured. Allowed: {', '.join(known)}, and the "
            f"same with train.{nearest(str(cfg.trainer.key_metric), known)}",
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


def _fit_as_further_process(cfg: DictConfig, hardware: Hardware, folder: str | Path | None) -> None:
    """Train along, write nothing, and end: what follows is the first process's affair."""
    run_folder = RunFolder(Path(os.environ[_FOLDER_VARIABLE]))
    with allowing(cfg.get("allow_targets") or []), quiet():
        fit(cfg, run_folder, hardware, resume_point(cfg, run_folder), [])
    raise SystemExit(0)
