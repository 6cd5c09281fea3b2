"""Sweeps: the folder of one of two recipes over five folds, and ones whose jobs take a second."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joblib.externals.loky import get_reusable_executor
from process_support import run_process


class Sweeps:
    """Runs sweeps of a small experiment in one working folder.

    Args:
        home: the working folder.
        common: words that make a job short.
    """

    def __init__(self, home: Path, common: list[str]) -> None:
        self.home, self.common = home, common
        self.started: list[subprocess.Popen[str]] = []

    def command(self, *words: str, common: bool = True) -> list[str]:
        line = [sys.executable, "-m", "dlcexp.cli", "-m"]
        return [*line, *(self.common if common else []), *words]

    def run(self, *words: str, common: bool = True) -> subprocess.CompletedProcess[str]:
        """In a process of its own, as a user does."""
        return run_process(self.command(*words, common=common), cwd=self.home)

    def main(self, *words: str) -> int:
        """In this process, where torch is imported already; only jobs that need no other one."""
        from dlcexp.cli import main

        before = Path.cwd()
        os.chdir(self.home)
        try:
            return main(["-m", *self.common, *words])
        finally:
            os.chdir(before)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """The same, and go on meanwhile; the head of a process group of its own."""
        process = subprocess.Popen(
            self.command(*words),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=os.name != "nt",
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End what a failed test has left running, jobs included, and the workers of joblib.

        joblib keeps its workers for the next sweep of the same process, which is another test: they
        would look for their files in a working folder that has been removed.
        """
        get_reusable_executor().shutdown(kill_workers=True)
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def folder(self, name: str) -> Path:
        return self.home / name

    def states(self, name: str) -> dict[str, dict[str, Any]]:
        """`status.json` of each job."""
        paths = sorted(self.folder(name).glob("*/status.json"))
        return {path.parent.name: json.loads(path.read_text()) for path in paths}


@pytest.fixture
def sweeps(small_words: list[str], tmp_path: Path) -> Iterator[Sweeps]:
    short = ["epochs=1", "save_epochs=1", "trainer.eval_interval=1", "evaluation.examples=0"]
    sweeps = Sweeps(tmp_path, [*small_words, *short, "sweep.metric=test.rmse"])
    yield sweeps
    sweeps.end()
