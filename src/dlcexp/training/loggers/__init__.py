"""Loggers of the metrics of a run: `metrics.csv`, Weights & Biases, TensorBoard, MLflow.

All are Lightning loggers, so any other Lightning logger can be used with them. A run calls
`log_metrics(row, step=epoch)` once per epoch, `log_result` at the end, and `close` in any case.
"""

from collections.abc import Iterable

from lightning.pytorch.loggers.logger import Logger

from dlcexp.training.loggers.csv_table import CSVLogger
from dlcexp.training.loggers.mlflow import MLFlowLogger
from dlcexp.training.loggers.run_logger import RunLogger, forget
from dlcexp.training.loggers.tensorboard import TensorBoardLogger
from dlcexp.training.loggers.wandb import WandbLogger

__all__ = [
    "CSVLogger",
    "MLFlowLogger",
    "RunLogger",
    "TensorBoardLogger",
    "WandbLogger",
    "close",
    "forget",
]


def close(loggers: Iterable[Logger], *, failed: bool) -> None:
    """End every logger, with its own `close` or with Lightning's `finalize`."""
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.close(failed=failed)
        else:
            logger.finalize("failed" if failed else "success")
