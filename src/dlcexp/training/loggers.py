"""Where the metrics of a run go: `metrics.csv` in its folder, Weights & Biases.

Both are Lightning loggers, so any other Lightning logger stands beside them. A run calls
`log_metrics(row, step=epoch)` once an epoch, and `close` in the end, whatever happened.
"""

import csv
import math
import netrc
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch.loggers.logger import Logger

from dlcexp.files import replacing, write_text

# How the names of a detector's metrics begin; those of a pose model have nothing before them.
_DETECTOR = "detector."


class CSVLogger(Logger):
    """`metrics.csv`: one row an epoch, appended; `metrics-detector.csv` for a detector.

    When a metric appears for the first time, its column joins at the right and the file is
    rewritten. When an epoch comes again after a resume, its row and the later ones are replaced.

    Args:
        save_dir: the run folder.
    """

    def __init__(self, save_dir: str | Path = ".") -> None:
        super().__init__()
        self._pose = _Table(Path(save_dir) / "metrics.csv")
        self._detector = _Table(Path(save_dir) / "metrics-detector.csv")

    @property
    def name(self) -> str:
        """Name among loggers."""
        return "csv"

    @property
    def version(self) -> None:
        """There is one run a folder."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The tree is in `config.yaml` already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append the row of epoch `step`; all names of a detector's row begin with `detector.`."""
        detector = all(name.startswith(_DETECTOR) for name in metrics)
        table = self._detector if detector else self._pose
        row = {name.removeprefix(_DETECTOR): value for name, value in metrics.items()}
        table.append(int(step or 0), row)


class _Table:
    """A CSV file with one row an epoch."""

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


class WandbLogger(Logger):
    """One Weights & Biases run for each job, its files in the run folder.

    Without `mode` and without the environment variable WANDB_MODE, the run is online where an API
    key is set (WANDB_API_KEY or a netrc entry) and offline elsewhere; `wandb sync` uploads it.
    Metric names are those of `metrics.csv` with a slash for the first dot (`test/mAP`), by which
    W&B groups its charts.

    Args:
        project_name: project on W&B.
        run_name: name of the run; None takes that of the run folder.
        entity: team or user; None is the default of the key.
        group: what W&B groups the run under.
        tags: labels of the run.
        mode: online, offline or disabled.
        save_dir: the run folder.
        kwargs: further arguments of `wandb.init`.
    """

    def __init__(
        self,
        project_name: str = "dlcexp",
        run_name: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        mode: str | None = None,
        save_dir: str | Path = ".",
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.folder = Path(save_dir)
        self._settings = {
            "project": project_name,
            "name": run_name or self.folder.resolve().name,
            "entity": entity,
            "group": group,
            "tags": list(tags) or None,
            "mode": mode or _default_mode(),
            **kwargs,
        }
        self._run: Any = None

    @property
    def name(self) -> str:
        """Project on W&B."""
        return str(self._settings["project"])

    @property
    def version(self) -> str | None:
        """Identifier of the run on W&B, once it has begun."""
        return self._run.id if self._run else None

    @property
    def experiment(self) -> Any:
        """The `wandb.Run`, begun at the first call."""
        if self._run is None:
            self._run = self._begin()
        return self._run

    def _begin(self) -> Any:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(silent=True)
        online = self._settings["mode"] == "online"
        run = wandb.init(
            dir=str(self.folder),
            id=self._identifier(),
            # Offline, W&B merges the pieces of a resumed run by their common id when it syncs.
            resume="allow" if online else None,
            reinit="create_new",
            settings=settings,
            **self._settings,
        )
        run.define_metric("*", step_metric="epoch")
        run.define_metric("detector/*", step_metric="detector/epoch")
        return run

    def _identifier(self) -> str:
        """The id under which a resumed run goes on; kept beside W&B's own files."""
        path = self.folder / "wandb" / "run-id.txt"
        if not path.is_file():
            write_text(path, secrets.token_hex(4) + "\n")
        return path.read_text(encoding="utf-8").strip()

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Send the resolved tree as the configuration of the run."""
        self.experiment.config.update(params, allow_val_change=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send the row of epoch `step`."""
        detector = all(name.startswith(_DETECTOR) for name in metrics)
        axis = "detector/epoch" if detector else "epoch"
        self.experiment.log({axis: step, **_with_slashes(metrics)})

    def log_summary(self, metrics: Mapping[str, Any]) -> None:
        """Send the final numbers of the run."""
        self.experiment.summary.update(_with_slashes(metrics))

    def log_figures(self, paths: Sequence[Path]) -> None:
        """Send image files, under `figures/NAME`."""
        import wandb

        if paths:
            images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in paths}
            self.experiment.log(images)

    def close(self, *, failed: bool) -> None:
        """End the run, with exit code 1 if the job failed."""
        if self._run is not None:
            self._run.finish(exit_code=int(failed))
            self._run = None


def close(loggers: Iterable[Logger], *, failed: bool) -> None:
    """End every logger, with its own `close` or with Lightning's `finalize`."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.close(failed=failed)
        else:
            logger.finalize("failed" if failed else "success")


def _default_mode() -> str:
    """WANDB_MODE if it is set, else online where there is a key, else offline."""
    return os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")


def _has_key() -> bool:
    """Whether W&B would find an API key; the key itself is not read out."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    named = os.environ.get("NETRC")
    candidates = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for path in candidates:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _with_slashes(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Names with a slash for their first dot; numbers that are none are left out."""
    return {
        name.replace(".", "/", 1): value
        for name, value in metrics.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def _read_rows(path: Path) -> list[dict[str, str]]:
    """The whole rows of a file; what a killed process left half-written is dropped."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return [row for row in csv.DictReader(whole.splitlines()) if row.get("epoch", "").isdigit()]


def _epoch(row: Mapping[str, Any]) -> int:
    return int(row["epoch"])
