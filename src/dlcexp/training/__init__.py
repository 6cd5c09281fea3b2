"""Training: the Lightning module, snapshots, loggers, the run folder and its status."""

from dlcexp.training.fit import train
from dlcexp.training.run import Run, RunFolder

__all__ = ["Run", "RunFolder", "train"]
