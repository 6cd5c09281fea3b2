"""One experiment from its tree to its run folder: check, build, fit, evaluate, report."""

import logging
import os
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig
from rich.console import Console
from torch import nn

from dlcexp.config.augmentation_keys import effective_menu
from dlcexp.config.build import allowing, backbones, build
from dlcexp.config.schema import PASSED_ON
from dlcexp.data.augmentation import padding_share
from dlcexp.data.loading import PoseData
from dlcexp.deeplabcut.export import cannot_build
from dlcexp.evaluation.detected_boxes import evaluate_detector
from dlcexp.evaluation.evaluate import evaluate_model
from dlcexp.evaluation.score_table import evaluation_table
from dlcexp.files import write_json
from dlcexp.models import PoseModel
from dlcexp.runs.folder import Pruned, RunFolder, anchored, new_run_folder, plain
from dlcexp.runs.hardware import (
    Hardware,
    choose_hardware,
    fast_kernels,
    matrix_products,
    settled_precision,
)
from dlcexp.runs.metric_names import CHOSEN_BY, by_split
from dlcexp.runs.run import Run, without_weights
from dlcexp.runs.stages import DETECTOR, POSE, STAGES, Stage, chosen_stages
from dlcexp.runs.started_from import START, named_source, random_starts, start_of
from dlcexp.runs.trained_frames import check_same_frames, record_frames
from dlcexp.signals import termination
from dlcexp.text import print_any_character, without_passwords
from dlcexp.training.callbacks import build_callbacks, misuse
from dlcexp.training.conditions import condition_source, split_conditions
from dlcexp.training.detector_module import DetectorModule
from dlcexp.training.epochs import EpochEnd, EpochSeed, Watch
from dlcexp.training.final_scores import report
from dlcexp.training.fine_tuning import freeze
from dlcexp.training.initial_weights import Started, start_from
from dlcexp.training.key_metric import (
    check_key_metric,
    log_choice,
    parts_while_training,
    without_validation,
)
from dlcexp.training.loggers import RunLogger, close, forget
from dlcexp.training.module import StageModule
from dlcexp.training.pose_module import PoseModule
from dlcexp.training.progress_bar import progress
from dlcexp.training.resume import (
    AtomicCheckpointIO,
    adopt,
    as_begun,
    epochs_done,
    foreign_detector,
    resume_point,
    take_over_detector,
)
from dlcexp.training.select_edges import settle_edges
from dlcexp.training.starts import settled
from dlcexp.training.weights_file import backbone_file

logger = logging.getLogger(__name__)

# Part of a training image that is padding, above which it is mentioned.
_MUCH_PADDING = 0.1

# Lightning runs the command again for each further process of DDP; this names the folder to them.
_FOLDER_VARIABLE = "DLCEXP_RUN_FOLDER"


def train(
    cfg: DictConfig,
    folder: str | Path | None = None,
    overrides: Sequence[str] = (),
    watch: Watch | None = None,
) -> Run:
    """Train each stage, evaluate and leave a run folder.

    Args:
        cfg: the validated, resolved tree (`dlcexp.compose`).
        folder: the run folder; None makes `runs/<project>/<timestamp>-<hash>`.
        overrides: what the tree was composed from, for the record.
        watch: called with each evaluation of the last stage; may end the run.

    Returns:
        The finished run.

    Raises:
        ConfigError: something in the tree is impossible here, such as a device that is not there.
        SnapshotError: the checkpoint to resume from, or the detector to take over, does not fit.
        DivergenceError: the loss became NaN or infinite.
        Pruned: `watch` has ended the run.
        UserError: another process trains in the folder.
    """
    choose_hardware(cfg)  # raises before there is a folder
    run_folder = _run_folder(cfg, folder)
    alone = nullcontext() if _is_further_process() else run_folder.held()
    with alone, _private_environment(), allowing(cfg.get("allow_targets") or []), quiet():
        cfg, data = _with_what_is_open_settled(cfg, run_folder)
        hardware = choose_hardware(cfg)
        detector = foreign_detector(cfg)
        source = condition_source(cfg)
        starts = [prepare(cfg, stage, data, run_folder) for stage in chosen_stages(cfg)]
        for origin in {each.checkpoint.parent.parent for each in starts if each.checkpoint}:
            check_same_frames(origin, data.project, data.labels)
        if _is_further_process():
            _train_along(cfg, starts, run_folder, hardware)
        fresh = stages_to_clear(cfg, starts, run_folder)
        if cfg.resume == "never" or run_folder.differences(cfg):
            forget(run_folder.path)
        run_folder.start(cfg, overrides, fresh=fresh, device=str(hardware.device))
        record_frames(run_folder.path, data.project, data.labels)
        with run_folder.recording(), termination(), _loggers(cfg, run_folder) as loggers:
            logger.info(
                "run folder %s, device %s, precision %s",
                *(run_folder.path, hardware.device, cfg.trainer.precision),
            )
            logger.info("start: %s", start_of(plain(cfg)))
            log_choice(cfg, data)
            if problem := cannot_build(cfg):
                logger.info("%s", problem)
            os.environ[_FOLDER_VARIABLE] = str(run_folder.path.resolve())
            if detector is not None:
                take_over_detector(detector, run_folder)
            _adopt(starts, run_folder)
            _record_weights(cfg, starts, run_folder)
            _warn_of_padding(cfg, data)
            # Now, and not after hours of training: it may be that there are none.
            conditions = split_conditions(source, data, hardware.device) if source else None
            with _one_process_group():
                for start in starts:
                    last = start is starts[-1]
                    fit(cfg, start, run_folder, hardware, loggers, watch if last else None)
            settle_edges(cfg, run_folder, data, hardware.device)
            run = Run.open(run_folder.path)
            evaluation = report(run, run_folder, hardware.device, data, loggers, conditions)
    print_any_character()
    run = Run.open(run_folder.path)
    # The run is complete, whatever comes of this.
    chosen_by = run.metrics.get(CHOSEN_BY)
    Console().print(evaluation_table(evaluation, start_of(plain(cfg)), chosen_by))
    return run


def _with_what_is_open_settled(cfg: DictConfig, folder: RunFolder) -> tuple[DictConfig, PoseData]:
    """Return the tree with starts, precision and key metric as the run has them, and its data."""
    cfg = as_begun(anchored(cfg), folder, further_process=_is_further_process())
    cfg = DictConfig(settled(plain(cfg), {}))
    cfg.trainer.precision = settled_precision(cfg)
    data = PoseData(cfg)
    return DictConfig(without_validation(plain(cfg), data.split)), data


@dataclass(frozen=True)
class Start:
    """A stage that is ready to be trained.

    Attributes:
        stage: which, and how.
        module: what Lightning trains, with its weights as they are before the first epoch.
        checkpoint: full state to resume from; None starts over.
        epochs: whole epochs that the checkpoint has behind it.
        callbacks: those of the tree, with their state as it is before the first epoch.
        weights: what became of the file that `weights` names; None without one.
    """

    stage: Stage
    module: StageModule
    checkpoint: Path | None
    epochs: int
    callbacks: list[Callback]
    weights: Started | None = None


def prepare(cfg: DictConfig, stage: Stage, data: PoseData, folder: RunFolder) -> Start:
    """Build all that a stage needs, so that mistakes of any stage show before the first trains.

    Raises:
        ConfigError: the key metric, optimizer, schedule, augmentations or callbacks are invalid.
        SnapshotError: the checkpoint to resume from does not fit.
    """
    check_key_metric(cfg, stage, data)
    checkpoint = resume_point(cfg, stage, folder)
    seed_everything(int(cfg.seed), verbose=False)
    weights = None
    if stage.name == DETECTOR:
        detector = build(stage.settings.model, key="detector.model")
        module: StageModule = DetectorModule(detector, data, cfg, stage)
    else:
        model, weights = begin(cfg, fresh=checkpoint is None)
        module = PoseModule(model, data, cfg, stage)
    module.configure_optimizers()
    module.batches(0, 1)
    done = 0 if checkpoint is None else epochs_done(checkpoint, module.state_dict())
    callbacks = build_callbacks(cfg.get("callbacks") or {})
    return Start(stage, module, checkpoint, done, callbacks, weights)


def begin(cfg: DictConfig, *, fresh: bool) -> tuple[PoseModel, Started | None]:
    """Build the pose model with the weights that it starts from, and freeze what is to stay.

    Args:
        cfg: the tree, its starts settled.
        fresh: False if the weights will be those of a checkpoint.

    Raises:
        ConfigError: no such file or module.
        SnapshotError: nothing in the file fits.
    """
    node = plain(cfg.model)
    file = backbone_file(cfg) if fresh else None
    if file is not None:
        [*backbones(node)][-1]["weights"] = str(file)
    model: PoseModel = build(node if fresh else without_weights(node), key="model")
    weights = cfg.get("weights") or {}
    of_network = fresh and file is None and named_source(weights) is not None
    started = start_from(cfg, model) if of_network else None
    if weights.get("freeze"):
        freeze(model, weights.freeze)
    return model, started


def stages_to_clear(cfg: DictConfig, starts: Sequence[Start], folder: RunFolder) -> list[str]:
    """Return stages whose files in the folder are of another experiment, or start over."""
    own = {
        start.stage.name
        for start in starts
        if _same(start.checkpoint, folder.checkpoint(start.stage.name))
    }
    chosen = {start.stage.name for start in starts}
    foreign = bool(folder.differences(cfg))
    return [name for name in STAGES if name not in own and (name in chosen or foreign)]


def _same(path: Path | None, other: Path) -> bool:
    return path is not None and path.resolve() == other.resolve()


def _adopt(starts: Sequence[Start], folder: RunFolder) -> None:
    """Copy what is next to checkpoints of another folder, also of a detector not trained here."""
    chosen = [start.stage.name for start in starts]
    for start in starts:
        own = folder.checkpoint(start.stage.name)
        if start.checkpoint is not None and not _same(start.checkpoint, own):
            others = [name for name in STAGES if name not in chosen]
            adopt(start.checkpoint, [start.stage.name, *others], folder)


def _record_weights(cfg: DictConfig, starts: Sequence[Start], folder: RunFolder) -> None:
    """Log and write what was loaded from the file that `weights` names."""
    node = cfg.get("weights") or {}
    given = [
        f"weights.{name}"
        for name in ("path", "freeze", "lr_scale", "layer_decay")
        if node.get(name)
    ]
    if given and POSE not in [start.stage.name for start in starts]:
        logger.warning(
            "%s: only the pose model takes it, and train.stages=%s trains none",
            *(", ".join(given), list(cfg.train.stages)),
        )
    if node.get("layer_decay") and random_starts(plain(cfg)).get(POSE):
        logger.info("weights.layer_decay has no effect: the layers start from random weights")
    for start in starts:
        if start.weights is not None:
            logger.info("%s", start.weights.text())
            write_json(folder.weights, start.weights.record())
        elif named_source(node) and start.checkpoint and start.stage.name == POSE:
            logger.info(
                "weights=%s has no effect: this run is resumed from its checkpoint", node.path
            )
        if node.get("freeze") and start.stage.name == POSE:
            logger.info("frozen: %s; %s", ", ".join(node.freeze), _count_trained(start.module))


def _warn_of_padding(cfg: DictConfig, data: PoseData) -> None:
    """Warn where black padding is a large part of the images that train the pose model."""
    menu = effective_menu(plain(cfg.data), "train")
    height, width, _ = data.cache(data.labels.images[0]).shape
    share = padding_share(menu, width, height)
    if share > _MUCH_PADDING:
        logger.warning(
            "%.0f %% of each training image is black padding, which takes time for nothing: frames "
            "are %d x %d px before data.resize and data.longest_max_size, and then smaller than "
            "the crops of data.train.crop_sampling. Set its width and height.",
            *(100 * share, width, height),
        )


def _count_trained(module: StageModule) -> str:
    """Return how many weights of a network are trained, as text."""
    parameters = list(module.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    whole = sum(p.numel() for p in parameters)
    return f"{trained:,} of {whole:,} weights ({trained / whole:.1%}) are trained"


def fit(
    cfg: DictConfig,
    start: Start,
    folder: RunFolder,
    hardware: Hardware,
    loggers: list[Logger],
    watch: Watch | None = None,
) -> None:
    """Train a stage up to its last epoch, in every process of a distributed run."""
    stage, module, epochs = start.stage, start.module, start.stage.settings.epochs
    if start.checkpoint is not None and start.epochs >= epochs:
        logger.info("%s has all %d epochs behind it already", start.checkpoint, start.epochs)
        return
    if start.checkpoint is not None:
        logger.info("resuming after epoch %d of %s", start.epochs, start.checkpoint)

    splits = parts_while_training(cfg, stage, module.data)

    def score(model: nn.Module) -> dict[str, float]:
        if stage.name == DETECTOR:
            return by_split(evaluate_detector(model, module.data, module.device, splits=splits)[0])
        evaluation = evaluate_model(model, module.data, cfg, module.device, splits=splits)
        return by_split(evaluation.metrics)

    end = EpochEnd(cfg, stage, folder, score, loggers, watch)
    callbacks = [EpochSeed(int(cfg.seed)), *start.callbacks, end, progress(cfg.trainer)]
    images = cfg.data_detector if stage.name == DETECTOR else cfg.data
    fast = fast_kernels(
        hardware.accelerator,
        deterministic=cfg.trainer.deterministic,
        sizes_vary=effective_menu(plain(images), "train").get("collate") is not None,
    )
    with _keyboard_interrupts(), misuse(), matrix_products(tf32=fast["tf32"]):
        trainer = make_trainer(cfg, epochs, folder, hardware, callbacks, fast["benchmark"])
        module.to(trainer.strategy.root_device)  # where callbacks that copy it in `setup` find it
        trainer.fit(module, ckpt_path=start.checkpoint, weights_only=True)
    if trainer.should_stop:
        logger.info(
            "%sstopped after epoch %d of %d", stage.log_prefix, trainer.current_epoch, epochs
        )


def make_trainer(
    cfg: DictConfig,
    epochs: int,
    folder: RunFolder,
    hardware: Hardware,
    callbacks: list[Callback],
    benchmark: bool = False,
) -> Trainer:
    """Build Lightning's trainer, with callbacks for evaluation, snapshots and progress.

    It has no logger: what callbacks log by `self.log` is in the row of the epoch.
    """
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
        logger=False,
        use_distributed_sampler=False,  # PoseData shards by itself
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder.path,
        **{
            "benchmark": benchmark or None,
            **{name: cfg.trainer[name] for name in PASSED_ON if name in cfg.trainer},
        },
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice: what matters of it is logged by dlcexp, or is an error."""
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
    """Yield the loggers of the tree, with the tree logged, and close them as the run ends."""
    built: list[Logger] = []
    nodes: Mapping[str, Any] = cfg.get("logger") or {}
    tree = plain(cfg)
    failed = True
    try:
        for name, node in nodes.items():
            built.append(build(node, key=f"logger.{name}", save_dir=str(folder.path)))
            built[-1].log_hyperparams(without_passwords({START: start_of(tree), **tree}))
            if isinstance(built[-1], RunLogger):
                built[-1].send_files(folder.configurations)
        yield built
        failed = False
    except Pruned:
        failed = False
        raise
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
    """Return whether this process was started by another one to train with it."""
    return os.environ.get("LOCAL_RANK", "0") != "0" and _FOLDER_VARIABLE in os.environ


def _run_folder(cfg: DictConfig, folder: str | Path | None) -> RunFolder:
    if _is_further_process():
        return RunFolder(Path(os.environ[_FOLDER_VARIABLE]))
    return RunFolder(Path(folder) if folder else new_run_folder(cfg))


def _train_along(
    cfg: DictConfig, starts: Sequence[Start], folder: RunFolder, hardware: Hardware
) -> None:
    """Train along, write nothing, and end: what follows is done by the first process."""
    with _one_process_group():
        for start in starts:
            fit(cfg, start, folder, hardware, [])
    raise SystemExit(0)


@contextmanager
def _one_process_group() -> Iterator[None]:
    """Share the processes of a run among all stages; a later run in this process makes new ones."""
    try:
        yield
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
