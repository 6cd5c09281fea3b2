"""Training: the Lightning module, snapshots, loggers, the run folder and its status."""

from dlcexp.training.fit import train
from dlcexp.training.run import Run, RunFolder
from dlcexp.training.scoring import evaluate

__all__ = ["Run", "RunFolder", "evaluate", "train"]
