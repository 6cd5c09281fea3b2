"""Out-of-fold poses: each labelled frame by the run of its fold, which did not train on it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from dlcexp.config.build import allowing
from dlcexp.config.compose import modified
from dlcexp.config.overrides import Override
from dlcexp.data.loading import PoseData
from dlcexp.data.splits import Split, SplitName
from dlcexp.errors import UserError
from dlcexp.evaluation.detected_boxes import box_precision
from dlcexp.evaluation.evaluate import Evaluation, score_split
from dlcexp.evaluation.records import pose_records
from dlcexp.results.folds import cross_validation, is_fold, missing_folds, split_of
from dlcexp.results.read_sweep import Job, Sweep
from dlcexp.runs.hardware import choose_hardware
from dlcexp.runs.metric_names import part_of
from dlcexp.runs.run import Run
from dlcexp.runs.trained_frames import changes_since
from dlcexp.text import listed
from dlcexp.training.scoring import Scored, evaluate_run
from dlcexp.vocabulary import IDENTITY, UNIQUE_BODYPART

_TEST: SplitName = "test"


def folds_of(sweep: Sweep) -> list[Job]:
    """Return the jobs of all folds of the best recipe, of the seeds of its best job, by fold.

    Raises:
        UserError: it was not cross-validated, or folds are missing.
    """
    best = sweep.best_job
    if best is None or sweep.best is None:
        raise UserError(f"{sweep.folder}: no job is completed.")
    if not is_fold(best):
        raise UserError(
            f"{sweep.folder}: out-of-fold scores need every fold, and the best recipe has "
            "another split. Sweep split=kfold 'split.fold=range(5)', or name one run."
        )
    series = cross_validation(best)
    jobs = [job for job in sweep.best.completed if cross_validation(job) == series]
    if missing := missing_folds(jobs):
        raise UserError(
            f"{sweep.folder}: of the best recipe, fold {listed(missing)} of {split_of(best)['k']} "
            "is not completed."
        )
    by_fold = {int(split_of(job)["fold"]): job for job in jobs}
    return [by_fold[fold] for fold in sorted(by_fold)]


def score_out_of_fold(folder: Path, jobs: Sequence[Job], *, progress: bool = False) -> Scored:
    """Predict the test frames of each fold by its own run, and score them together.

    Args:
        folder: of the sweep.
        jobs: one for each fold, see `folds_of`.
        progress: draw bars, if there is a terminal.

    Raises:
        UserError: the frames or labels of the project have changed since.
    """
    runs = [Run.open(job.folder) for job in jobs]
    whole = modified(runs[0].cfg, [Override("split", "all")])
    with allowing(whole.allow_targets):
        data = PoseData(whole)
        device = choose_hardware(whole).device
        parts = []
        for run in runs:
            if changes := changes_since(run.folder, data.project, data.labels):
                raise UserError(f"{run.folder} was trained on other frames or labels ({changes}).")
            parts.append(_test_poses(run, device, progress=progress))
    evaluation = _joined(parts, data, whole)
    records = pose_records(evaluation, data, whole.evaluation)
    run = replace(runs[0], folder=folder, cfg=whole)
    evaluation = replace(evaluation, records=records)
    return Scored(
        run, None, None, data, evaluation, out_of_fold=True, folds=tuple(runs), trained=frozenset()
    )


def _test_poses(run: Run, device: torch.device, *, progress: bool) -> tuple[Split, Evaluation]:
    data = PoseData(run.cfg)
    data.split = Split(train=(), test=data.split.test)
    return data.split, evaluate_run(run, data, device, progress=progress)


def _joined(
    parts: Sequence[tuple[Split, Evaluation]], data: PoseData, cfg: DictConfig
) -> Evaluation:
    """Return the poses of all folds in the order of the labels, and their scores."""
    rows = np.concatenate([split.test for split, _ in parts])
    order = np.argsort(rows)
    whole = Evaluation({}, {}, {})
    for column in parts[0][1].metrics:
        if part_of(column) != _TEST:
            continue
        whole.poses[column] = np.concatenate([part.poses[column] for _, part in parts])[order]
        whole.names[column] = tuple(data.labels.names[row] for row in rows[order])
        whole.seconds[column] = sum(part.seconds[column] for _, part in parts)
        heads = {}
        if column in parts[0][1].unique:
            unique = np.concatenate([part.unique[column] for _, part in parts])[order]
            heads[UNIQUE_BODYPART] = whole.unique[column] = unique
        whole.metrics[column] = score_split(
            data,
            cfg.evaluation,
            _TEST,
            whole.poses[column],
            heads,
            identity=IDENTITY in cfg.model.heads,
        )
    evaluations = [part for _, part in parts]
    if all(_TEST in part.conditions for part in evaluations):
        found = (part.conditions[_TEST].items() for part in evaluations)
        whole.conditions[_TEST] = dict(chain.from_iterable(found))
    if all(_TEST in part.boxes for part in evaluations):
        boxes = (part.boxes[_TEST].items() for part in evaluations)
        whole.boxes[_TEST] = dict(chain.from_iterable(boxes))
        whole.detector[_TEST] = box_precision(data, whole.boxes[_TEST])
    return whole
