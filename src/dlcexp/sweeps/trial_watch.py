"""Reports of a job's process to the study of its trial, and the pruner's decision."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from dlcexp.runs.metric_names import spelling
from dlcexp.sweeps.optuna_parts import build_pruner, open_storage, quiet


class TrialWatch:
    """Reports the evaluations of a job to its trial, in whatever process the job runs.

    Args:
        folder: of the sweep.
        settings: `hydra.sweeper`.
        number: of the trial.
        metric: what is reported.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], number: int, metric: str) -> None:
        self._metric = metric
        with quiet():
            storage = open_storage(folder, settings["storage"])
            study = optuna.load_study(
                study_name=settings["study_name"],
                storage=storage,
                pruner=build_pruner(settings["pruner"]),
            )
            trial_id = storage.get_trial_id_from_study_id_trial_number(
                storage.get_study_id_from_name(settings["study_name"]), number
            )
            self._trial = optuna.trial.Trial(study, trial_id)
            self._reported = set(storage.get_trial(trial_id).intermediate_values)

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> str | None:
        """Report an evaluation; the reason where training should stop."""
        value = metrics.get(spelling(self._metric, metrics))
        if value is None or math.isnan(value):
            return None
        with quiet():
            if epoch not in self._reported:
                self._trial.report(value, epoch)
            if self._trial.should_prune():
                return f"pruned after epoch {epoch}, with {self._metric} {value:.4g}"
        return None
