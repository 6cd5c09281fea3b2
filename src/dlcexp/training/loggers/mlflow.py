"""MLflow."""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

from dlcexp.errors import ConfigError
from dlcexp.text import first_line
from dlcexp.training.loggers.naming import name_of, sweep_of
from dlcexp.training.loggers.run_logger import Record, RunLogger
from dlcexp.trees import leaves

logger = logging.getLogger(__name__)


class MLFlowLogger(RunLogger):
    """One MLflow run for each job, in a local store or on a server.

    Without `tracking_uri` and without the environment variable MLFLOW_TRACKING_URI the store is
    `mlflow.db` in the working folder, which `mlflow ui` shows. The names of metrics are those in
    Weights & Biases (`test/mAP`), with `_` for what MLflow does not allow in a name; final numbers
    have `final/` before them.

    Args:
        experiment_name: MLflow's experiment; None takes the name of the sweep, or `dlcexp`.
        run_name: name of the run; None takes that of the run folder.
        tracking_uri: a server (`http://host:5000`), a database (`sqlite:///mlflow.db`) or a folder
            (`file:mlruns`).
        tags: further tags of the run.
        artifact_location: where a new experiment keeps its files; None leaves it to MLflow.
        save_dir: the run folder.
    """

    package = extra = "mlflow"

    def __init__(
        self,
        experiment_name: str | None = None,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        tags: Mapping[str, str] | None = None,
        artifact_location: str | None = None,
        save_dir: str | Path = ".",
    ) -> None:
        super().__init__(save_dir)
        self._experiment_name = experiment_name or sweep_of(self.folder) or "dlcexp"
        self._run_name = run_name or name_of(self.folder)
        self._uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _local_store()
        self._tags = dict(tags or {})
        self._artifact_location = artifact_location
        self._place = _without_password(self._uri)
        self._new = False
        if self.record.place != self._place:
            self.record = Record(place=self._place)

    @property
    def experiment(self) -> Any:
        """The `MlflowClient`; the run is begun at the first call.

        Raises:
            ConfigError: there is no store, or no server that answers, at `tracking_uri`.
        """
        return self._lightning.experiment

    @cached_property
    def _lightning(self) -> Any:
        _keep_to_itself()
        try:
            with _few_retries(), self._alone():
                return self._begin()
        except _failures() as error:
            raise ConfigError("logger.mlflow", f"{self._place}: {_first_line(error)}") from error

    def _alone(self) -> AbstractContextManager[Any]:
        """Return a lock, so that jobs that begin at once do not all make the database."""
        path = self._uri.partition("sqlite:///")[2]
        return FileLock(f"{path}.lock") if path else nullcontext()

    def _begin(self) -> Any:
        from lightning.pytorch.loggers import MLFlowLogger as Runs
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        if self._uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient(self._uri)
        if client.get_experiment_by_name(self._experiment_name) is None:
            with suppress(MlflowException):  # another job was quicker
                client.create_experiment(self._experiment_name, self._artifact_location)
        if self.record.run is not None:
            try:
                client.update_run(self.record.run, status="RUNNING")
            except MlflowException:  # it has been deleted
                self.record = Record(place=self._place)
        runs = Runs(
            self._experiment_name,
            self._run_name,
            self._uri,
            self._tags,
            run_id=self.record.run,
        )
        self._new = self.record.run is None
        self.record.run = runs.run_id
        self.remember()
        return runs

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Send the resolved tree as parameters; MLflow lets no run change them later."""
        self.experiment  # noqa: B018  (begins the run)
        if self._new:
            named = {_allowed(key): value for key, value in leaves(params).items()}
            with self._failures_logged():
                self._lightning.log_hyperparams(named)

    def send_epoch(self, row: Mapping[str, float], axis: str, epoch: int) -> None:
        """Log one point of each curve."""
        with self._failures_logged():
            self._lightning.log_metrics({_allowed(n): v for n, v in row.items()}, epoch)

    def send_summary(self, metrics: Mapping[str, Any]) -> None:
        """Log numbers as metrics, the names of snapshots as tags."""
        numbers = {n: v for n, v in metrics.items() if isinstance(v, int | float)}
        self.send_epoch({f"final/{n}": v for n, v in numbers.items()}, "", self.last_epoch())
        with self._failures_logged():
            for name in metrics.keys() - numbers.keys():
                self.experiment.set_tag(self.version, _allowed(name), str(metrics[name]))

    def send_images(self, images: Mapping[str, Path]) -> None:
        """Log artifacts, in the folder that their names begin with."""
        with self._failures_logged():
            for name, path in images.items():
                self.experiment.log_artifact(self.version, str(path), name.rpartition("/")[0])

    def send_files(self, paths: Iterable[Path]) -> None:
        """Log artifacts."""
        with self._failures_logged():
            for path in paths:
                self.experiment.log_artifact(self.version, str(path))

    def close(self, *, failed: bool) -> None:
        """End the run as FINISHED or FAILED, if it had begun."""
        if "_lightning" in self.__dict__:
            with self._failures_logged():
                self._lightning.finalize("failed" if failed else "success")

    @contextmanager
    def _failures_logged(self) -> Iterator[None]:
        """Log that a server fails, without ending the training, later than at the start."""
        try:
            yield
        except _failures() as error:
            logger.warning("MLflow at %s is not up to date: %s", self._place, _first_line(error))


def _failures() -> tuple[type[Exception], ...]:
    """Return the errors raised where a store does not exist or cannot be used."""
    from mlflow.exceptions import MlflowException

    if find_spec("sqlalchemy") is None:
        return MlflowException, OSError
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, OSError, SQLAlchemyError


def _local_store() -> str:
    return f"sqlite:///{Path('mlflow.db').resolve().as_posix()}"


def _without_password(text: str) -> str:
    """Remove the password from the address of a store, for files and messages."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _keep_to_itself() -> None:
    """Turn off MLflow's telemetry, unless the user set it, and all its logs but warnings."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow  # noqa: F401  (it sets the levels of its logs, too)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def _few_retries() -> Iterator[None]:
    """Limit retries, so that the start of a run does not wait for minutes on an absent server."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ.setdefault(name, "1")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)


def _allowed(name: str) -> str:
    """Replace characters that MLflow does not allow in names of metrics, parameters, tags."""
    return re.sub(r"[^A-Za-z0-9_./ -]", "_", name)


def _first_line(error: BaseException) -> str:
    return _without_password(first_line(error))
