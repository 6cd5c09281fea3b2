"""Processes that stay warm between jobs: torch is imported once, images are decoded once.

A worker that dies ends only its job, and raises an error in the process that waits for it.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any

# A call with its arguments, as it goes to a worker.
Call = tuple[Callable[..., Any], tuple[Any, ...]]


class WorkerDied(Exception):  # noqa: N818  (what happened, not whose mistake)
    """Raised where the process of a worker is gone, with how it ended."""


class Worker:
    """A process that does one call after the other.

    Args:
        environment: variables that it has in addition to ours.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, dict(environment)))
        self._process.start()
        theirs.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Do a call in the worker.

        Raises:
            WorkerDied: the process ended before it was done.
        """
        try:
            self._connection.send((function, arguments))
            wait([self._connection, self._process.sentinel])
            if self._connection.poll():
                return self._connection.recv()
        except (EOFError, ConnectionError):
            pass
        self._process.join()
        raise WorkerDied(_how_it_died(self._process.exitcode or 0))

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(connection: Connection, environment: Mapping[str, str]) -> None:
    """Do calls until the other end sends no more."""
    # Ctrl-C reaches the whole group of processes; the one that started us handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            function, arguments = connection.recv()
            connection.send(function(*arguments))
        except (EOFError, ConnectionError):
            sys.exit(0)


def _end_with_parent() -> None:
    """End this process with a killed sweep, so that it does not continue to write."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _how_it_died(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{hint}"
