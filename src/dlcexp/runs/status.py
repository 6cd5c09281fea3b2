"""`status.json` of a run folder: how far the run is, and how it ended."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dlcexp.errors import ProjectError, StorageError, UserError
from dlcexp.files import storage, write_text
from dlcexp.vocabulary import STATUS
from dlcexp.yaml_files import read_json

QUEUED, RUNNING, COMPLETED = "queued", "running", "completed"
FAILED, PRUNED, KILLED = "failed", "pruned", "killed"

# Kinds of failure.
ERROR, DIVERGED, OUT_OF_MEMORY = "error", "diverged", "out of memory"
MISTAKE, INTERRUPTED = "mistake", "interrupted"

# Messages of torch without memory left, where it raises a plain RuntimeError.
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


@dataclass(frozen=True)
class Status:
    """The state of a run.

    Attributes:
        status: queued, running, completed, failed, pruned or killed.
        error: one line; None while all is well.
        kind: None, error, diverged, out of memory, killed, mistake or interrupted.
        seconds: how long its last start took so far.
        started: ISO time of its last start.
        process: which wrote it; see `dlcexp.files.this_process`.
    """

    status: str = QUEUED
    error: str | None = None
    kind: str | None = None
    seconds: float = 0.0
    started: str | None = None
    process: str | None = None


def read_status(folder: Path) -> Status:
    """Read the state of a run folder; queued where there is none, failed where it is damaged."""
    path = folder / STATUS
    if not path.is_file():
        return Status()
    try:
        content = read_json(path)
    except ProjectError:
        return Status(FAILED, f"{path} cannot be read", ERROR)
    return Status(**{name: content[name] for name in content if name in Status.__match_args__})


def write_status(folder: Path, status: Status) -> None:
    """Write `status.json`, whole or not at all; where the disk is full, into the former file.

    Raises:
        StorageError: the folder cannot be written to.
    """
    path = folder / STATUS
    text = json.dumps(asdict(status), indent=2) + "\n"
    try:
        write_text(path, text)
    except StorageError:
        if not path.is_file():
            raise
        with storage(path):
            content = text.encode().ljust(path.stat().st_size)
            with path.open("r+b") as file:
                file.write(content)


def kind_of(error: BaseException) -> str:
    """Return the kind of failure that an exception is."""
    if isinstance(error, UserError):
        return str(getattr(error, "kind", MISTAKE))
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return INTERRUPTED
    text = str(error).lower()
    if isinstance(error, MemoryError) or any(message in text for message in _NO_MEMORY):
        return OUT_OF_MEMORY
    return ERROR


def explain(error: BaseException) -> str:
    """Describe an exception in one line."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, SystemExit):
        return "terminated"
    text = str(error)
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
