"""A run of a tool that is resumed when its run folder is, and gets each epoch once."""

import json
import shutil
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.loggers.logger import Logger

from dlcexp.errors import ConfigError
from dlcexp.files import write_text
from dlcexp.training.loggers.naming import of_detector, with_slashes
from dlcexp.yaml_files import read_json

# File of a run folder that records its runs in the tools.
_RECORDS = "loggers.json"


@dataclass
class Record:
    """A record of what a tool has been sent of a run folder.

    Attributes:
        run: identifier of the run there.
        place: where the run is kept; elsewhere it is another run.
        epochs: the last epoch sent, by stage.
        result: the same when the final numbers were sent.
    """

    run: str | None = None
    place: str | None = None
    epochs: dict[str, int] = field(default_factory=dict)
    result: dict[str, int] | None = None


class RunLogger(Logger):
    """Shows a run folder as one run of a tool.

    A resumed job continues the run that it had, and sends nothing twice: an epoch that is trained
    once more, after a kill, has the numbers that it had.

    Args:
        save_dir: the run folder.
    """

    # The package of the tool, and the extra of dlcexp that brings it.
    package: ClassVar[str]
    extra: ClassVar[str | None] = None

    def __init__(self, save_dir: str | Path = ".") -> None:
        super().__init__()
        self.folder = Path(save_dir)
        self.record = Record(**_read(self.folder).get(self.package, {}))

    @classmethod
    def check_arguments(cls, given: Mapping[str, Any], key: str) -> None:
        """Refuse a node of the tree before anything is built.

        Raises:
            ConfigError: the tool is not installed, or does not take one of the arguments.
        """
        if cls.extra and find_spec(cls.package) is None:
            install = f"pip install 'dlcexp[{cls.extra}]'"
            raise ConfigError(key, f"{cls.package} is not installed. Install it: {install}")

    @property
    def name(self) -> str:
        """Name of the tool."""
        return self.package

    @property
    def version(self) -> str | None:
        """Identifier of the run in the tool, once it has begun."""
        return self.record.run

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send the row of epoch `step`, unless it has been sent."""
        axis = "detector/epoch" if of_detector(metrics) else "epoch"
        epoch = int(step or 0)
        if epoch > self.record.epochs.get(axis, 0):
            self.send_epoch(with_slashes(metrics), axis, epoch)
            self.record.epochs[axis] = epoch
            self.remember()

    def log_result(
        self, metrics: Mapping[str, Any], images: Mapping[str, Path], files: Iterable[Path]
    ) -> None:
        """Send the final numbers, pictures by name, and files, once for the epochs behind them."""
        if self.record.result != self.record.epochs:
            self.send_summary(with_slashes(metrics))
            self.send_images(images)
            self.send_files(files)
            self.record.result = dict(self.record.epochs)
            self.remember()

    @abstractmethod
    def send_epoch(self, row: Mapping[str, float], axis: str, epoch: int) -> None:
        """Send one epoch; `axis` is the name of what counts it, `epoch` or `detector/epoch`."""

    @abstractmethod
    def send_summary(self, metrics: Mapping[str, Any]) -> None:
        """Send the final numbers."""

    @abstractmethod
    def send_images(self, images: Mapping[str, Path]) -> None:
        """Send image files by name."""

    def send_files(self, paths: Iterable[Path]) -> None:
        """Send files; a tool that keeps none is sent none."""

    @abstractmethod
    def close(self, *, failed: bool) -> None:
        """End the run."""

    def last_epoch(self) -> int:
        """Return the last epoch of the pose model, or of the detector if there is no other."""
        epochs = self.record.epochs
        return epochs.get("epoch") or max(epochs.values(), default=0)

    def remember(self) -> None:
        """Keep the record in the run folder."""
        records = _read(self.folder) | {self.package: asdict(self.record)}
        write_text(self.folder / _RECORDS, json.dumps(records, indent=2) + "\n")


def forget(folder: Path) -> None:
    """Let the next run in a folder be a new one in every tool."""
    (folder / _RECORDS).unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / _RECORDS
    return read_json(path) if path.is_file() else {}
