"""Files that are either whole or absent: written under a temporary name, then renamed."""

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; on success it replaces `path`, on error it is removed.

    The temporary name keeps the suffix of `path`, because writers choose their format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder; none where it does not exist."""
    return [each.name for each in folder.iterdir()] if folder.is_dir() else []


def expanded(path: str | Path) -> Path:
    """Expand `~` and `~name` of a path; that of an unknown user stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (that of pathlib raises RuntimeError)


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


def _umask() -> int:
    """Return the process's file mode mask; reading it needs setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
