"""The folder of a sweep: what was asked for, its jobs, and how far each of them is.

    sweep.yaml    the sweep as typed     conf/   the config folders as they were when it began
    jobs.jsonl    one line per job       0/ 1/   a run folder for each
    lock          held by the process that runs the sweep

Whatever is killed at whatever moment, the folder records what is complete: a line of the ledger or
a file is whole or absent, and a job's state is in the folder of the job.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlcexp.errors import ProjectError, UserError
from dlcexp.files import write_json, write_text
from dlcexp.locks import held
from dlcexp.runs.status import QUEUED, RUNNING, Status, read_status, write_status
from dlcexp.vocabulary import SWEEP_FILE
from dlcexp.yaml_files import dump_yaml, read_yaml

# Folders of `conf/`: the options that come with dlcexp, and those of `--config-dir`.
PACKAGED, OWN = "dlcexp", "own"
# Folder of `conf/` with the resolved trees of the jobs.
TREES = "jobs"
STARTS = "starts.json"

# Sweeps that are looked through for one of the same command.
_NEWEST = 20


@dataclass(frozen=True)
class Job:
    """One experiment of a sweep.

    Attributes:
        number: its place in the sweep, from 0.
        folder: name of its run folder in that of the sweep.
        overrides: what it is composed from.
        hash: of its resolved tree.
        trial: its number in an Optuna study; None elsewhere.
        study: the fold or seed of that study, where there is one for each; None: the only one.
    """

    number: int
    folder: str
    overrides: tuple[str, ...]
    hash: str
    trial: int | None = None
    study: str | None = None


@dataclass(frozen=True)
class Objective:
    """The metric that a sweep optimizes: a key of `metrics.json`, and the direction."""

    metric: str
    direction: str  # maximize or minimize


@dataclass(frozen=True)
class SweepRecord:
    """The content of `sweep.yaml`.

    Attributes:
        id: hash of what is swept: the same command has the same.
        command: the command line as it was typed.
        overrides: all that were typed.
        swept: keys that vary, in order.
        created: ISO time.
        objectives: what decides.
        sweeper, launcher: names of their options.
        environment: versions that decide the numbers.
    """

    id: str
    command: str
    overrides: tuple[str, ...]
    swept: tuple[str, ...]
    created: str
    objectives: tuple[Objective, ...]
    sweeper: str
    launcher: str
    environment: dict[str, Any]


class Ledger:
    """Reads and writes the folder of a sweep.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record_file = folder / SWEEP_FILE
        self.jobs_file = folder / "jobs.jsonl"
        self.conf = folder / "conf"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from running the sweep in this folder meanwhile.

        Raises:
            UserError: one of them does, or the folder cannot be written.
        """
        remedy = "Wait for it, or use a different folder: hydra.sweep.dir=DIR."
        with held(self.folder / "lock", self.folder, remedy):
            yield

    def record(self) -> SweepRecord | None:
        """Read `sweep.yaml`; None before the sweep has begun.

        Raises:
            UserError: the file is not one of a sweep.
        """
        if not self.record_file.is_file():
            return None
        try:
            content = read_yaml(self.record_file)
            content["objectives"] = tuple(Objective(**each) for each in content["objectives"])
            for name in ("overrides", "swept"):
                content[name] = tuple(content[name])
            return SweepRecord(**content)
        except (ProjectError, KeyError, TypeError, ValueError) as error:
            raise _foreign(self.record_file) from error

    def begin(self, record: SweepRecord, packaged: Path, own: Path | None) -> None:
        """Write down what is asked for; the first time, copy the folders that jobs compose from.

        The record is written after the copies: where it is, they are whole.
        """
        if not self.record_file.is_file():
            shutil.rmtree(self.conf, ignore_errors=True)
            _copy_yaml(packaged, self.conf / PACKAGED)
            if own is not None:
                _copy_yaml(own, self.conf / OWN)
        content = json.loads(json.dumps(asdict(record)))
        write_text(self.record_file, dump_yaml(content))

    @property
    def config_folders(self) -> tuple[Path, Path | None]:
        """The copies of the config folders: dlcexp's, and that of `--config-dir`."""
        own = self.conf / OWN
        return self.conf / PACKAGED, own if own.is_dir() else None

    def jobs(self) -> list[Job]:
        """Return every job, by its number; the last line on a job counts, a torn one does not.

        Raises:
            UserError: lines that are whole and not those of jobs.
        """
        found: dict[int, Job] = {}
        if self.jobs_file.is_file():
            for line in self.jobs_file.read_text(encoding="utf-8").splitlines():
                try:
                    content = json.loads(line)
                except json.JSONDecodeError:
                    continue  # the process was killed while it wrote
                try:
                    content["overrides"] = tuple(content["overrides"])
                    found[content["number"]] = Job(**content)
                except (KeyError, TypeError) as error:
                    raise _foreign(self.jobs_file) from error
        return [found[number] for number in sorted(found)]

    def job_in(self, folder: str) -> Job:
        """Return the job whose run folder has that name."""
        return next(job for job in self.jobs() if job.folder == folder)

    def tree_file(self, job: Job) -> Path:
        """Return the resolved tree of a job, as it was composed when the job was added."""
        return self.conf / TREES / f"{job.folder}.json"

    def starts(self) -> dict[str, str | None]:
        """Return what `auto` weights have become in this sweep, by network."""
        file = self.conf / STARTS
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    def keep_starts(self, starts: Mapping[str, str | None]) -> None:
        """Keep what `auto` weights have become, for jobs to come."""
        if starts != self.starts():
            write_json(self.conf / STARTS, starts)

    def add(self, job: Job) -> None:
        """Append a job, or what has changed of one."""
        # A line begins a new line: after one that was torn, too.
        whole = not self.jobs_file.is_file() or self.jobs_file.read_bytes()[-1:] in (b"", b"\n")
        line = json.dumps(asdict(job)) + "\n"
        with self.jobs_file.open("ab") as file:
            file.write((b"" if whole else b"\n") + line.encode())
            file.flush()
            os.fsync(file.fileno())

    def path(self, job: Job) -> Path:
        """Return the run folder of a job."""
        return self.folder / job.folder

    def status(self, job: Job) -> Status:
        """Read the status of a job."""
        return read_status(self.path(job))

    def mark(self, job: Job, status: str, kind: str, error: str) -> None:
        """Record how a job ended that can no longer record it itself."""
        before = self.status(job)
        write_status(self.path(job), Status(status, error, kind, before.seconds))


def _foreign(file: Path) -> UserError:
    return UserError(f"{file} is not of a sweep. Use a different folder: hydra.sweep.dir=DIR.")


def unfinished(parent: Path, identity: str) -> Path | None:
    """Return the newest sweep folder below `parent` that holds this sweep; None without any."""
    folders = sorted(parent.glob(f"*-{identity}"), reverse=True) if parent.is_dir() else []
    return next((each for each in folders if (each / SWEEP_FILE).is_file()), None)


def left_by(parent: Path, command: str) -> Path | None:
    """Return the newest sweep folder below `parent` that this command line has not finished."""
    for file in sorted(parent.glob(f"*/{SWEEP_FILE}"), reverse=True)[:_NEWEST]:
        ledger = Ledger(file.parent)
        with suppress(UserError):
            record = ledger.record()
            if record is not None and record.command == command:
                states = {ledger.status(job).status for job in ledger.jobs()}
                return file.parent if states & {QUEUED, RUNNING} else None
    return None


def check_same(record: SweepRecord, identity: str, folder: Path) -> None:
    """Refuse to mix two sweeps.

    Raises:
        UserError: the folder holds another one.
    """
    if record.id == identity:
        return
    raise UserError(
        f"{folder} holds another sweep:\n  {record.command}\nUse a different folder, "
        "hydra.sweep.dir=DIR, or repeat that command to resume it."
    )


# Large folders that `--config-dir .` may hold in addition to options.
_NO_OPTIONS = ("runs", "multirun", ".venv", ".git", "labeled-data")


def _copy_yaml(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*.yaml")):
        if any(part in _NO_OPTIONS for part in path.relative_to(source).parts):
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
