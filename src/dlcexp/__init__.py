"""Hydra-composed experiments for animal pose estimation, interchangeable with DeepLabCut.

From Python the same tree as on the command line:

    import dlcexp
    cfg = dlcexp.compose("project=~/mouse", "net_type=dekr_w32", "batch_size=4")
    run = dlcexp.train(cfg)
    print(run.metrics["test.rmse"])

`import dlcexp` imports nothing heavy; what follows is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "build": "dlcexp.config.build",
    "compose": "dlcexp.composition",
    "train": "dlcexp.training",
    "Run": "dlcexp.training",
    "evaluate": "dlcexp.training",
    "export": "dlcexp.deeplabcut",
    "predict": "dlcexp.inference",
}

__all__ = ["Run", "build", "compose", "evaluate", "export", "predict", "train"]

if TYPE_CHECKING:
    from dlcexp.composition import compose
    from dlcexp.config.build import build
    from dlcexp.deeplabcut import export
    from dlcexp.inference import predict
    from dlcexp.training import Run, evaluate, train


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dlcexp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
