"""TensorBoard."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2

from dlcexp.training.loggers.run_logger import RunLogger
from dlcexp.trees import leaves
from dlcexp.yaml_files import dump_yaml


class TensorBoardLogger(RunLogger):
    """Event files in `tensorboard/` of the run folder; `tensorboard --logdir runs` shows them.

    The names of metrics are those in Weights & Biases (`test/mAP`); final numbers have `final/`
    before them, and are in the table of hyper-parameters.

    Args:
        save_dir: the run folder.
    """

    package = extra = "tensorboard"

    def __init__(self, save_dir: str | Path = ".") -> None:
        super().__init__(save_dir)
        self._tree: dict[str, Any] = {}

    @cached_property
    def _events(self) -> Any:
        from lightning.pytorch.loggers import TensorBoardLogger as Events

        return Events(self.folder, name="tensorboard", version="", default_hp_metric=False)

    @property
    def experiment(self) -> Any:
        """The `SummaryWriter`, begun at the first call."""
        return self._events.experiment

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Send the resolved tree, as a text; as hyper-parameters it goes with the final numbers."""
        self._tree = leaves(params)
        text = dump_yaml(params)
        self.experiment.add_text("config", f"```yaml\n{text}```", self.last_epoch())

    def send_epoch(self, row: Mapping[str, float], axis: str, epoch: int) -> None:
        """Write one point of each curve."""
        self._events.log_metrics(row, epoch)
        self.experiment.flush()

    def send_summary(self, metrics: Mapping[str, Any]) -> None:
        """Write the final numbers next to the hyper-parameters."""
        numbers = {f"final/{n}": v for n, v in metrics.items() if isinstance(v, int | float)}
        self._events.log_hyperparams(self._tree, numbers, self.last_epoch())

    def send_images(self, images: Mapping[str, Path]) -> None:
        """Write pictures by name."""
        for name, path in images.items():
            picture = cv2.imread(str(path))[..., ::-1]
            self.experiment.add_image(name, picture, self.last_epoch(), dataformats="HWC")

    def close(self, *, failed: bool) -> None:
        """Close the event file."""
        self._events.finalize("failed" if failed else "success")
