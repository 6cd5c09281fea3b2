"""A project and a model so small that an epoch takes a moment, through the real code."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

# Tests are imported one by one (--import-mode=importlib): their common helpers need a place.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def small_tree(small_words: list[str]) -> dict[str, Any]:
    """The composed tree of a model so small that an epoch takes a moment."""
    from dlcexp.composition import compose

    cfg = compose(
        *small_words,
        "seed=0",
        "epochs=4",
        "save_epochs=2",
        "scheduler.milestones=[2,3]",
        "trainer.eval_interval=2",
        "evaluation.examples=1",
    )
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


@pytest.fixture
def tree(small_tree: dict[str, Any]) -> Callable[..., DictConfig]:
    """The small tree with dotted keys changed: `tree({"trainer.precision": "bf16-mixed"})`."""

    def changed(changes: dict[str, Any] | None = None) -> DictConfig:
        cfg = OmegaConf.create(small_tree)
        for key, value in (changes or {}).items():
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
        return cfg

    return changed
