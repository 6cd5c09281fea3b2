"""Handling of signals that end a process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# The exit codes by which a shell reports the end by a signal; SIGHUP: the connection was lost.
TERMINATED = 128 + signal.SIGTERM
HUNG_UP = 128 + getattr(signal, "SIGHUP", 1)
_ENDINGS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


@contextmanager
def termination() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end what is inside at once as an error does, with a shell's exit code.

    A signal that is ignored stays so, as SIGHUP by `nohup`.

    Without, it would end the process wherever it is, or by Lightning after the step with code 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return

    def end(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    with _handling([each for each in _ENDINGS if signal.getsignal(each) != signal.SIG_IGN], end):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore further interrupts while what is inside ends processes and records how they ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handling([signal.SIGINT, *_ENDINGS], signal.SIG_IGN):
        yield


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Let the first Ctrl-C interrupt what is inside, and ignore those that follow.

    A second one could otherwise come before the first has led to `uninterrupted`.
    """
    of_main_thread = threading.current_thread() is threading.main_thread()
    if not of_main_thread or signal.getsignal(signal.SIGINT) != signal.default_int_handler:
        yield
        return

    def interrupt(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    with _handling([signal.SIGINT], interrupt):
        yield


@contextmanager
def _handling(signals: list[signal.Signals], handler: Any) -> Iterator[None]:
    before = {each: signal.signal(each, handler) for each in signals}
    try:
        yield
    finally:
        for each, former in before.items():
            signal.signal(each, former)
