"""`metrics.csv` in the run folder."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from dlcexp.files import replacing
from dlcexp.training.loggers.naming import DETECTOR, of_detector
from dlcexp.vocabulary import HISTORY


class CSVLogger(Logger):
    """`metrics.csv`: one row per epoch, appended; `metrics-detector.csv` for a detector.

    When a metric appears for the first time, its column joins at the right and the file is
    rewritten. When an epoch comes again after a resume, its row and the later ones are replaced.

    Args:
        save_dir: the run folder.
    """

    def __init__(self, save_dir: str | Path = ".") -> None:
        super().__init__()
        self._pose = _Table(Path(save_dir) / HISTORY)
        self._detector = _Table(Path(save_dir) / "metrics-detector.csv")

    @property
    def name(self) -> str:
        """Name among loggers."""
        return "csv"

    @property
    def version(self) -> None:
        """There is one run a folder."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the tree is in `config.yaml` already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append the row of epoch `step`; all names of a detector's row begin with `detector.`."""
        table = self._detector if of_detector(metrics) else self._pose
        row = {name.removeprefix(DETECTOR): value for name, value in metrics.items()}
        table.append(int(step or 0), row)


class _Table:
    """A CSV file with one row per epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []
        self._last_epoch: int | None = None

    def append(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add the row of an epoch."""
        if self._last_epoch is None:
            self._continue(epoch)
        row = {"epoch": epoch, **metrics}
        new = [name for name in row if name not in self._columns]
        if new:
            rows = _read_rows(self.path)
            self._columns += new
            self._rewrite([*rows, row])
        else:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                self._writer(file).writerow(row)
                file.flush()
                os.fsync(file.fileno())
        self._last_epoch = epoch

    def _continue(self, epoch: int) -> None:
        """Take up a file of an earlier process: its columns, and its rows before `epoch`."""
        rows = _read_rows(self.path)
        if rows:
            self._columns = [name for name in rows[0] if name]
            self._rewrite([row for row in rows if _epoch(row) < epoch])

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        with (
            replacing(self.path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(rows)

    def _writer(self, file: Any) -> csv.DictWriter:
        return csv.DictWriter(
            file, self._columns, restval="", extrasaction="ignore", lineterminator="\n"
        )


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Return the whole rows of a file; what a killed process left half-written is dropped."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.DictReader(whole.splitlines()) if row.get("epoch", "").isdigit()]


def _epoch(row: Mapping[str, Any]) -> int:
    return int(row["epoch"])
