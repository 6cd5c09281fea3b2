"""Handling of signals that end a process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What a shell calls the end by SIGTERM.
TERMINATED = 128 + signal.SIGTERM


@contextmanager
def termination() -> Iterator[None]:
    """Let SIGTERM end what is inside at once as an error does, with the exit code of a shell.

    Without, it would end the process wherever it is, or by Lightning after the step with code 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return

    def end(*_: Any) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
