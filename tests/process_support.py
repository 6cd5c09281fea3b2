"""Run other processes in tests and wait for them, however busy the machine is."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HANG = 600
"""Seconds after which a process hangs; none takes a tenth of it on a quiet machine."""


def run_process(command: Sequence[Any], **keywords: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its exit code and output as text."""
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG, **keywords)


def wait_until(
    true: Callable[[], Any], process: "subprocess.Popen[Any] | None" = None, what: object = ""
) -> None:
    """Wait until a condition holds; fail if it never does.

    Args:
        true: the condition.
        process: the process that fulfils it; the test fails at once if it ends first.
        what: shown by the failure.
    """
    until = time.monotonic() + HANG
    while not true():
        ended = process is not None and process.poll() is not None
        assert true() or not ended, f"the process has ended: {what}"
        assert time.monotonic() < until, f"nothing happened in {HANG} s: {what}"
        time.sleep(0.05)


# A process that holds a lock until its input ends; with a child, if asked, that outlives it.
HOLDER = """
import os, sys
from pathlib import Path
from dlcexp.locks import held

with held(Path(sys.argv[1]), "x", ""):
    if len(sys.argv) > 2 and not os.fork():
        os.close(1)
        sys.stdin.read()
        os._exit(0)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path, *child: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of a file meanwhile."""
    command = [sys.executable, "-c", HOLDER, str(path), *child]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
