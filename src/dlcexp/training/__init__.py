"""Training: the Lightning module, snapshots, loggers, the run folder and its status."""

from dlcexp.runs.folder import RunFolder
from dlcexp.runs.run import Run
from dlcexp.training.fit import train
from dlcexp.training.scoring import evaluate

__all__ = ["Run", "RunFolder", "evaluate", "train"]
