"""Memory that tensors leave on a CPU is kept for the next ones."""

import ctypes
from typing import Any

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_KEPT = 2**31 - 1  # bytes, the most that mallopt takes
_LARGE = 2**30  # bytes from which on a tensor has separate pages
_AT_ONCE = 2**26  # bytes by which the heap grows


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, where it is glibc; elsewhere nothing happens.

    By itself it returns the pages of every large tensor to the system, which must then clear new
    ones for every layer. The process needs somewhat more at its peak (a tenth to a sixth, of a
    network on 1024 px), and stays at that until `return_freed_memory`.
    """
    library = _library()
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_TOP_PAD, _AT_ONCE)


def return_freed_memory() -> None:
    """Return to the system what was freed; nothing happens where the library is not glibc."""
    library = _library()
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def _library() -> Any:
    """Return the C library; on Windows, where programs have none by that name, an empty object."""
    try:
        return ctypes.CDLL(None)
    except TypeError:
        return object()
