"""Files that are either whole or absent: written under a temporary name, then renamed."""

import errno
import hashlib
import json
import math
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dlcexp.errors import StorageError
from dlcexp.vocabulary import SWEEP_FILE

# What the user, not dlcexp, can mend: a disk, a quota, a permission, a name.
_OF_STORAGE = {
    code
    for code, name in errno.errorcode.items()
    if re.fullmatch("E(NOSPC|DQUOT|FBIG|ROFS|ACCES|PERM|IO|STALE|ISDIR|NOTDIR|NAMETOOLONG)", name)
}
_HOST = hashlib.sha1(platform.node().encode()).hexdigest()[:6]
_TEMPORARY = re.compile(r"\..*\.dlcexp-(?P<process>[0-9a-f]{6}-\d+)-[0-9a-f]{8}(\..*)?")
_DAY = 24 * 3600


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, on error it is removed.

    The temporary name keeps the suffix of `path`, because writers choose their format by it. The
    content is on the disk before it gets its name, so that a power failure leaves a whole file.

    Raises:
        StorageError: the disk is full, or the folder cannot be written to or is gone.
    """
    with storage(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        temporary = temporary_name(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            clear_leftovers(path.parent)
            temporary.touch()
            try:
                yield temporary
                _flush(temporary)
            except (RuntimeError, ValueError):
                _flush(temporary, more=1 << 20)  # some libraries do not report a full disk
                raise
            temporary.replace(path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
                gone = "was removed while a file in it was written"
                raise StorageError(error.errno, gone, str(path.parent)) from error
            raise


def _flush(path: Path, more: int = 0) -> None:
    """Wait until a file is on the disk; try to make it larger by `more` bytes before."""
    with path.open("ab") as file:
        file.write(bytes(more))
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def storage(path: Path | str = "") -> Iterator[None]:
    """Turn errors of the disk and of permissions into a message.

    Args:
        path: what is written, where the error does not name it.

    Raises:
        StorageError: instead of an `OSError` that the user can mend.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_STORAGE:
            raise
        name = error.filename if isinstance(error.filename, str) else ""
        shown = path if not name or _TEMPORARY.fullmatch(Path(name).name) else name
        raise StorageError(error.errno, error.strerror, str(shown)) from error


def temporary_name(path: Path) -> Path:
    """Return a hidden name next to `path`, which names this process, with the same suffix."""
    mark = f"dlcexp-{this_process()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem}.{mark}{path.suffix}")


@cache
def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes had begun to write into a folder; once per process."""
    for path in folder.iterdir():
        if is_leftover(path):
            remove(path)


def is_leftover(path: Path) -> bool:
    """Return True for a temporary file whose process ended; on other machines, after a day."""
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    if match["process"].startswith(_HOST):
        return has_ended(match["process"])
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except OSError:
        return False


def this_process() -> str:
    """Return a name of this process on this machine, for files that others read."""
    return f"{_HOST}-{os.getpid()}"


def has_ended(process: str) -> bool:
    """Return True if a process that `this_process` named is known to have ended."""
    host, _, number = process.partition("-")
    if host != _HOST or os.name == "nt":  # where signal 0 would end it
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it runs for a different user
    return False


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and can be removed."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder; none where it does not exist."""
    return [each.name for each in folder.iterdir()] if folder.is_dir() else []


def state(path: Path) -> tuple[int, int]:
    """Return the size of a file in bytes and the time of its last change in ns."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, which is read again only once it has changed."""
    return _digest(path, *state(path))


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashed(value: Any) -> str:
    """Return the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def kind_of_folder(path: Path) -> Literal["run", "sweep", ""]:
    """Return what dlcexp keeps in a folder, by the file that is written first."""
    if (path / SWEEP_FILE).is_file():
        return "sweep"
    return "run" if (path / "status.json").is_file() else ""


def expanded(path: str | Path) -> Path:
    """Expand `~` and `~name` of a path; that of an unknown user stays as it is."""
    try:
        return Path(os.path.expanduser(path))  # noqa: PTH111 (that of pathlib raises RuntimeError)
    except ValueError:  # a NUL in the name of the user
        return Path(path)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON: numbers that are none become null."""
    write_text(path, json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
