"""The folder of a sweep of two recipes over five folds."""

import sys
from pathlib import Path

import pytest

# Tests are imported one by one (--import-mode=importlib): their common helpers need a place.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """A sweep of `optimizer.lr=0.001,0.01` over five folds with a known metric."""
    from sweep_support import FAST, SLOW, write_run, write_sweep

    for number, (score, fold, rate) in enumerate(
        (score, fold, rate)
        for rate, scores in ((0.001, SLOW), (0.01, FAST))
        for fold, score in enumerate(scores)
    ):
        changes = {"optimizer.lr": rate, "split.fold": fold}
        metrics = {"epoch": 2, "snapshot": "snapshot-best-002.pt", "test.mAP": score}
        rows = [{"epoch": e, "test.mAP": score - 2 + e, "train.total_loss": 1 / e} for e in (1, 2)]
        write_run(tmp_path / str(number), changes, metrics=metrics, rows=rows)
    return write_sweep(tmp_path, [("test.mAP", "maximize")], swept=["optimizer.lr", "split.fold"])
