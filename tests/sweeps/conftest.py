"""The folder of a sweep of two recipes over five folds."""

import sys
from pathlib import Path

import pytest

# Tests are imported one by one (--import-mode=importlib): their common helpers need a place.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """A sweep of `optimizer.lr=0.001,0.01` over five folds with a known metric."""
    from sweep_support import write_folds

    return write_folds(tmp_path)
