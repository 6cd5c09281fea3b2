"""The results at the end of a run: the numbers, the table, the figures."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from lightning.pytorch.loggers.logger import Logger
from omegaconf import DictConfig

from dlcexp.data.conditional_crops import Conditions
from dlcexp.data.loading import PoseData
from dlcexp.evaluation.evaluate import Evaluation, flatten, images_per_second
from dlcexp.evaluation.examples import draw_examples
from dlcexp.evaluation.plots import draw_bodypart_errors, draw_learning_curves
from dlcexp.evaluation.records import pose_records
from dlcexp.files import write_text
from dlcexp.results.pooled_errors import ERROR_COLUMNS
from dlcexp.runs.folder import RunFolder, plain
from dlcexp.runs.metric_names import part_of
from dlcexp.runs.run import Run
from dlcexp.runs.stages import STAGES, file_suffix
from dlcexp.runs.started_from import START, start_of
from dlcexp.text import listed
from dlcexp.training.loggers import RunLogger
from dlcexp.training.scoring import evaluate_run, snapshots_used
from dlcexp.vocabulary import KEYPOINT_ERRORS

logger = logging.getLogger(__name__)


def report(
    run: Run,
    folder: RunFolder,
    device: torch.device,
    data: PoseData,
    loggers: Sequence[Logger],
    conditions: Mapping[str, Conditions] | None = None,
) -> Evaluation:
    """Evaluate the best snapshots on the frames of each split: metrics.json and figures."""
    logger.info("scoring the %s frames", listed(data.split.parts))
    evaluation = evaluate_run(run, data, device, conditions=conditions, progress=True)
    records = pose_records(evaluation, data, run.cfg.evaluation)
    evaluation = replace(evaluation, records=records)
    _keep_errors(records, folder)
    speed = {"speed.images_per_second": images_per_second(evaluation)}
    start = {START: start_of(plain(run.cfg))}
    metrics = {**start, **snapshots_used(run), **flatten(evaluation), **speed}
    folder.write_metrics(metrics)
    logger.info("drawing figures")
    figures = draw_figures(evaluation, data, folder, run.cfg)
    for target in loggers:
        if isinstance(target, RunLogger):
            images = {f"figures/{path.stem}": path for path in figures}
            target.log_result(metrics, images, folder.configurations)
    return evaluation


def _keep_errors(records: pd.DataFrame, folder: RunFolder) -> None:
    """Keep the errors of validation and test frames, which a sweep pools over its folds."""
    held_out = records[records.split.map(part_of) != "train"]
    text = held_out[[*ERROR_COLUMNS]].to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(folder.path / KEYPOINT_ERRORS, text)


def draw_figures(
    evaluation: Evaluation, data: PoseData, folder: RunFolder, cfg: DictConfig
) -> list[Path]:
    """Draw examples, errors by bodypart, and learning curves where metrics.csv exists."""
    figures = []
    if evaluation.poses:
        figures += draw_examples(evaluation, data, folder.figures, cfg)
        figures.append(folder.figures / "errors.png")
        bodyparts = [*data.project.bodyparts, *data.project.unique_bodyparts]
        draw_bodypart_errors(evaluation, bodyparts, figures[-1])
    for stage in STAGES:
        table = folder.metrics_table(stage)
        curves = folder.figures / f"learning_curves{file_suffix(stage)}.png"
        if table.is_file() and draw_learning_curves(table, curves):
            figures.append(curves)
    return figures
