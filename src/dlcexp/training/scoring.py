"""Scoring a finished run again: another snapshot, split or threshold."""

from collections.abc import Sequence
from pathlib import Path

from dlcexp.config.build import allowing
from dlcexp.config.composition import modified
from dlcexp.data.loading import PoseData
from dlcexp.evaluation.evaluate import Evaluation, evaluate_model
from dlcexp.training.hardware import choose_hardware
from dlcexp.training.run import Run


def evaluate(
    run: Run, *, snapshot: Path | None = None, overrides: Sequence[str] = (), progress: bool = False
) -> Evaluation:
    """Predict and score the train and test frames of a run.

    Args:
        run: a finished run.
        snapshot: weights to use; None: the best.
        overrides: on top of the run's tree, such as `"split=kfold"`, `"evaluation.pcutoff=0.4"`.
        progress: draw a bar, if there is a terminal.

    Raises:
        ConfigError: an override that does not fit.
        SnapshotError: the weights are missing or do not fit.
    """
    cfg = modified(run.cfg, overrides)
    device = choose_hardware(cfg).device
    with allowing(cfg.allow_targets):
        model = run.model(snapshot).to(device)
        return evaluate_model(model, PoseData(cfg), cfg, device, progress=progress)
