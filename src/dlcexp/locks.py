"""Locks by which processes keep out of a place in which another one writes.

The operating system releases the lock of a process that is gone, however it ended.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dlcexp.errors import UserError
from dlcexp.files import remove, write_text

# In a run folder: held by the process that trains there.
RUN_LOCK = ".lock"


def file_lock(path: Path) -> FileLock:
    """Return the lock of a file; the thread that holds it may take it again."""
    return FileLock(path.absolute(), is_singleton=True)


@contextmanager
def held(path: Path, place: object, remedy: str) -> Iterator[None]:
    """Hold the lock of a file, and record in a file next to it which process does.

    Folders that are made for the lock and stay empty are removed.

    Args:
        path: the file; removed at the end.
        place: that which the lock protects, for the message.
        remedy: sentence for the message.

    Raises:
        UserError: another process holds the lock, or the folder cannot be written.
    """
    lock, holder = file_lock(path), path.with_name(f"{path.name}.txt")
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{place} is in use by {_read(holder)}. {remedy}") from None
    except OSError as error:
        raise UserError(f"{path.parent} cannot be written: {error.strerror}. {remedy}") from error
    try:
        write_text(holder, f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        remove(holder)
        if lock.lock_counter == 1:
            remove(path)  # on Windows it is removed once it is released
        lock.release()
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def _read(holder: Path) -> str:
    with suppress(OSError):
        return holder.read_text(encoding="utf-8")
    return "another process"
