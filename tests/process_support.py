"""Run other processes in tests and wait for them, however busy the machine is."""

import subprocess
import time
from collections.abc import Callable, Sequence
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
