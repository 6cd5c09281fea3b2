"""Mistakes a user can make, each said in one message and without a traceback.

Everything here derives from `UserError`; the command line prints its text and exits with 2.
Any other exception is a failure of ours and keeps its traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake that the user can mend; the message says which and how."""


class ConfigError(UserError):
    """A key of the tree that is unknown, of the wrong type, or impossible beside another.

    Args:
        key: full dotted path of the key, as one would write it in an override.
        problem: what is wrong, with the value and what is allowed.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key = key


class ProjectError(UserError):
    """A project, label file or image that is missing, unreadable or contradicts itself."""


class SnapshotError(UserError):
    """A snapshot or checkpoint that is missing, unreadable or does not fit the model."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """A sentence that names the candidate closest to `name`, empty if none is close."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f" Did you mean {by_lower[matches[0]]!r}?" if matches else ""
