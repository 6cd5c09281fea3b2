"""Work that continues in another thread while its results are used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Results that wait to be used, at most.
WAITING = 2


def ahead(items: Iterable[T], waiting: int = WAITING) -> Iterator[T]:
    """Yield the items in order, the next ones made in a thread while the caller works on one.

    Args:
        items: iterated in that thread alone; what it raises is raised here, in its place.
        waiting: how many are made ahead.
    """
    remaining, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        made: deque[Future[T | object]] = deque(
            thread.submit(next, remaining, end) for _ in range(waiting)
        )
        while (item := made.popleft().result()) is not end:
            made.append(thread.submit(next, remaining, end))
            yield item  # type: ignore[misc]


def behind(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the function of each item, computed in a thread while the caller makes the next."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        last: Future[R] | None = None
        for item in items:
            following = thread.submit(function, item)
            if last is not None:
                yield last.result()
            last = following
        if last is not None:
            yield last.result()
