"""One job of a sweep, in whatever process it was given to."""

import gc
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from dlcexp.errors import StorageError
from dlcexp.files import storage
from dlcexp.locks import RUN_LOCK, file_lock
from dlcexp.results.ledger import Job, Ledger
from dlcexp.runs.status import (
    COMPLETED,
    FAILED,
    INTERRUPTED,
    MISTAKE,
    Status,
    explain,
    kind_of,
    read_status,
    write_status,
)
from dlcexp.sweeps.devices import use_devices_of_its_own
from dlcexp.sweeps.submitted import hand_back
from dlcexp.vocabulary import LOG

if TYPE_CHECKING:
    from dlcexp.training.epochs import Watch

logger = logging.getLogger(__name__)


def run_job(cfg: DictConfig) -> None:
    """Run the job in the folder that Hydra was given; this is Hydra's task function.

    How it ended is recorded in that folder; a failure raises nothing, so that launchers continue.

    Raises:
        KeyboardInterrupt: the user interrupts the sweep.
        SystemExit: submitit wants the process to end; see `dlcexp.sweeps.submitted`.
    """
    from hydra.core.hydra_config import HydraConfig

    folder = Path(HydraConfig.get().runtime.output_dir)
    use_devices_of_its_own(folder.parent)
    # A sweep that was killed may have left a job that is still running, for example on a cluster.
    with file_lock(folder / RUN_LOCK):
        if read_status(folder).status == COMPLETED:
            return
        with _printing_to(folder / LOG):
            try:
                with storage(folder):
                    _train(folder, HydraConfig.get().sweeper)
            except KeyboardInterrupt:
                record_failure(folder, KeyboardInterrupt())
                raise
            except BaseException as error:
                record_failure(folder, error)
                hand_back(folder, error)
    _release_memory()


def _train(folder: Path, sweeper: DictConfig) -> None:
    from dlcexp.runs.folder import Pruned
    from dlcexp.training import train

    ledger = Ledger(folder.parent)
    job = ledger.job_in(folder.name)
    text = ledger.tree_file(job).read_text(encoding="utf-8")
    # The parser of YAML reads JSON too, but takes 400 times as long.
    tree: Any = DictConfig(json.loads(text)) if text.startswith("{") else OmegaConf.create(text)
    try:
        watch = _watch(ledger, job, sweeper)
        train(tree, folder, overrides=list(job.overrides), watch=watch)
    except Pruned as stop:
        logger.info("%s", stop)


def _watch(ledger: Ledger, job: Job, sweeper: DictConfig) -> "Watch | None":
    """Return what evaluations are reported to: the job's trial, if the study has one objective."""
    record = ledger.record()
    if job.trial is None or record is None or len(record.objectives) > 1:
        return None
    from dlcexp.sweeps.optuna_parts import study_name
    from dlcexp.sweeps.trial_watch import TrialWatch

    settings: Any = OmegaConf.to_container(sweeper)
    settings["study_name"] = study_name(settings["study_name"], job.study)
    return TrialWatch(ledger.folder, settings, job.trial, record.objectives[0].metric)


def record_failure(folder: Path, error: BaseException) -> None:
    """Record an error that `train` could not: it was raised before the run folder was begun."""
    if read_status(folder).status == FAILED:
        return
    kind = kind_of(error)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(StorageError):
        write_status(folder, Status(FAILED, explain(error), kind, 0.0, started))
    with suppress(OSError), (folder / LOG).open("a", encoding="utf-8") as file:
        if kind in (MISTAKE, INTERRUPTED):
            print(explain(error), file=file)
        else:
            traceback.print_exception(error, file=file)


@contextmanager
def logging_shown(shown: bool) -> Iterator[None]:
    """Show what a job logs in a separate process, or silence it."""
    package = logging.getLogger("dlcexp")
    handler: logging.Handler = logging.NullHandler()
    if shown:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    with ExitStack() as stack:
        if not shown:
            sink = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(redirect_stderr(sink))
        try:
            yield
        finally:
            package.removeHandler(handler)


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Append what a job prints, its table of scores, to the file of what it logs."""
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file):
        yield


def _release_memory() -> None:
    """Free the memory of this job for the next job of this process."""
    gc.collect()
    _freeze()
    if "torch" in sys.modules:
        import torch

        from dlcexp.runs.memory import return_freed_memory

        return_freed_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@cache
def _freeze() -> None:
    """Exclude the objects of torch and other modules from later garbage collections."""
    gc.freeze()
