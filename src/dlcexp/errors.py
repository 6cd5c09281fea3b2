"""Mistakes a user can make, each reported in one message and without a traceback.

Everything here derives from `UserError`; the command line prints its text and exits with 2.
Any other exception is a failure of ours and keeps its traceback.
"""

from collections.abc import Callable, Iterable

from dlcexp.spelling import closest


class UserError(Exception):
    """A mistake that the user can correct; the message states which and how."""


class ConfigError(UserError):
    """A key of the tree that is unknown, of the wrong type, or in conflict with another.

    Args:
        key: full dotted path of the key, as one would write it in an override.
        problem: what is wrong, with the value and what is allowed.
        override: the override to blame, as typed; empty where the key names it.
        suggestion: that override as it was probably meant; empty where none is known.
    """

    def __init__(self, key: str, problem: str, *, override: str = "", suggestion: str = "") -> None:
        super().__init__(f"{key}: {problem}" if key else problem)
        self.key, self.override, self.suggestion = key, override, suggestion


class Mistakes(UserError):  # noqa: N818 (a group of errors)
    """Several mistakes of one command, one per line.

    Args:
        errors: two or more, in the order in which the user typed them.
    """

    def __init__(self, errors: Iterable[UserError]) -> None:
        self.errors = tuple(errors)
        lines = "".join(f"\n  {error}" for error in self.errors)
        super().__init__(f"{len(self.errors)} mistakes:{lines}")


class ProjectError(UserError):
    """A project, label file or image that is missing, unreadable or contradicts itself."""


class SnapshotError(UserError):
    """A snapshot or checkpoint that is missing, unreadable or does not fit the model."""


class StorageError(UserError, OSError):
    """A disk that is full, or a folder that cannot be written to or was removed."""

    def __str__(self) -> str:
        return f"{f'{self.filename}: ' if self.filename else ''}{self.strerror}."


def together(errors: Iterable[UserError]) -> UserError:
    """Return one error for all, each of them once; there must be one at least."""
    distinct = list({str(each): each for error in errors for each in separate(error)}.values())
    return distinct[0] if len(distinct) == 1 else Mistakes(distinct)


def separate(error: UserError) -> tuple[UserError, ...]:
    """Return the errors that `error` puts together; itself if it is a single one."""
    return error.errors if isinstance(error, Mistakes) else (error,)


def run_checks(*checks: Callable[[], object]) -> None:
    """Call every check, and raise the mistakes that any of them finds together."""
    errors = []
    for check in checks:
        try:
            check()
        except UserError as error:
            errors.append(error)
    if errors:
        raise together(errors)


def not_one_of(key: str, value: object, known: Iterable[str], before: str = "") -> ConfigError:
    """Return the error for a value that is not one of the known names; `before` opens it."""
    known = list(known)
    hint = nearest(str(value), known)
    return ConfigError(key, f"{before}{value!r} is not one of {', '.join(known)}.{hint}")


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a sentence that names the candidate closest to `name`, empty if none is close."""
    found = closest(name, candidates)
    return f" Did you mean {found!r}?" if found else ""
