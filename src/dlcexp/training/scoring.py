"""Scoring the networks of a run: at the end of training, and again with other settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from omegaconf import DictConfig

from dlcexp.config.build import allowing, build
from dlcexp.config.compose import modified
from dlcexp.config.typed import read_typed
from dlcexp.data.conditional_crops import Conditions
from dlcexp.data.loading import PoseData
from dlcexp.deeplabcut.snapshots import is_best, snapshot_epoch
from dlcexp.errors import ConfigError, UserError
from dlcexp.evaluation.evaluate import (
    Evaluation,
    evaluate_conditional,
    evaluate_model,
    evaluate_top_down,
)
from dlcexp.evaluation.records import pose_records
from dlcexp.runs.hardware import choose_hardware
from dlcexp.runs.metric_names import CHOSEN_BY
from dlcexp.runs.run import Run
from dlcexp.text import listed
from dlcexp.training.conditions import condition_source, split_conditions
from dlcexp.training.resume import foreign_detector


@dataclass(frozen=True, eq=False)
class Scored:
    """A run that was evaluated, and with what.

    Attributes:
        run: with the tree that held, overrides included.
        snapshot, detector: weights of the pose model and of the detector; None where there was
            none.
        data: project, labels and split.
        evaluation: poses, metrics and records.
        out_of_fold: whether each frame was predicted by the run of a fold that did not train on it;
            `run` has the folder of the sweep then.
        trained: names of the frames that the networks were trained on, in whatever part they are
            in `data`; none out of fold.
    """

    run: Run
    snapshot: Path | None
    detector: Path | None
    data: PoseData
    evaluation: Evaluation
    out_of_fold: bool = False
    trained: frozenset[str] = frozenset()


def evaluate(
    run: Run | str | Path,
    *,
    snapshot: Path | None = None,
    overrides: Sequence[str] = (),
    progress: bool = False,
) -> Evaluation:
    """Predict and score the train, val and test frames of a run.

    Args:
        run: a finished run, or its folder, or that of a shuffle that DeepLabCut trained.
        snapshot: weights of the pose model; None: the best.
        overrides: on top of the run's tree, such as `"split=kfold"`, `"evaluation.pcutoff=0.4"`,
            or `"detector.snapshot=PATH"` for another detector than the run's best.
        progress: draw a bar, if there is a terminal.

    Returns:
        The metrics of each split, the poses, and `records`, a table with a row for each labelled
        keypoint.

    Raises:
        ConfigError: an override that does not fit.
        UserError: there is no run in that folder.
        SnapshotError: the weights are missing or do not fit.
    """
    return score(run, snapshot=snapshot, overrides=overrides, progress=progress).evaluation


def score(
    run: Run | str | Path,
    *,
    snapshot: Path | None = None,
    overrides: Sequence[str] = (),
    progress: bool = False,
) -> Scored:
    """Evaluate as `evaluate` does, and return what else a report needs."""
    run = Run.open(run, overrides)
    changes = read_typed(overrides)
    cfg = modified(run.cfg, changes)
    changed = replace(run, cfg=cfg)
    with allowing(cfg.allow_targets):
        data = PoseData(cfg)
        _check_project(cfg, data)
        another = any(change.key == "detector.snapshot" for change in changes)
        detector = foreign_detector(cfg) if another else None
        device = choose_hardware(cfg).device
        evaluation = evaluate_run(
            changed,
            data,
            device,
            snapshot=snapshot,
            detector_snapshot=detector,
            progress=progress,
        )
        trained = _trained_frames(run, data)
    evaluation = replace(evaluation, records=pose_records(evaluation, data, cfg.evaluation))
    if cfg.method == "td" and detector is None:
        detector = run.best_detector_snapshot
    pose = snapshot or run.best_pose_snapshot
    return Scored(changed, pose, detector, data, evaluation, trained=trained)


def _trained_frames(run: Run, data: PoseData) -> frozenset[str]:
    """Return the names of the frames that a run was trained on, by its split and not by `data`'s.

    Of a project that the split does not fit, it has no frames.
    """
    try:
        split = build(run.cfg.split, key="split")(data.labels, data.project)
    except UserError:
        return frozenset()
    return frozenset(data.labels.names[row] for row in split.train)


def _check_project(cfg: DictConfig, data: PoseData) -> None:
    """Refuse a project with which the predictions of a model cannot be compared.

    Raises:
        ConfigError: it has other bodyparts, or one animal where the model finds several.
    """
    project, metadata = data.project, cfg.metadata
    for name, found, labelled in (
        ("bodyparts", metadata.bodyparts, project.bodyparts),
        ("unique bodyparts", metadata.unique_bodyparts, project.unique_bodyparts),
    ):
        if list(found) != list(labelled):
            raise ConfigError(
                "project",
                f"{project.source} has the {name} {listed(labelled, None)}; those of the model are "
                f"{listed(found, None)}.",
            )
    several = metadata.num_individuals > 1
    if several and not project.multianimal and not cfg.evaluation.force_multi_animal:
        raise ConfigError(
            "project",
            f"{project.source} has one animal, and the model finds {metadata.num_individuals}: "
            "evaluation.force_multi_animal=true scores it so.",
        )


def evaluate_run(
    run: Run,
    data: PoseData,
    device: torch.device,
    *,
    snapshot: Path | None = None,
    detector_snapshot: Path | None = None,
    conditions: Mapping[str, Conditions] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Score what a run has: its pose model, its detector, and the two together.

    Args:
        run: its tree may differ from that of its folder.
        data: project, labels and split.
        device: where to compute.
        snapshot: weights of the pose model; None: the best.
        detector_snapshot: weights of the detector; None: the best.
        conditions: the poses that `conditions` names in each split, if known already.
        progress: draw a bar, if there is a terminal.
    """
    if run.cfg.method != "td":
        model = run.model(snapshot).to(device)
        if run.cfg.method == "ctd":
            source = None if conditions else condition_source(run.cfg)
            given = split_conditions(source, data, device) if source else conditions
            return evaluate_conditional(
                model, data, run.cfg, device, conditions=given, progress=progress
            )
        return evaluate_model(model, data, run.cfg, device, progress=progress)
    pose = snapshot or run.best_pose_snapshot
    return evaluate_top_down(
        run.model(pose).to(device) if pose else None,
        run.detector(device, detector_snapshot),
        data,
        run.cfg,
        device,
        progress=progress,
    )


def snapshots_used(run: Run) -> dict[str, int | str]:
    """Return epoch, name and choice of the best snapshot of each network, as in `metrics.json`."""
    used: dict[str, int | str] = {}
    for prefix, path in (("", run.best_pose_snapshot), ("detector.", run.best_detector_snapshot)):
        if path is not None:
            used |= {f"{prefix}epoch": snapshot_epoch(path), f"{prefix}snapshot": path.name}
            if is_best(path):
                settings = run.cfg.detector if prefix else run.cfg.trainer
                used[f"{prefix}{CHOSEN_BY}"] = str(settings.key_metric)
    return used
