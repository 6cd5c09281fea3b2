"""The commands, one module each: `COMMAND` declares what it takes, and `run` does it.

A module imports nothing heavy until its `run` is called, so that help and completion are instant.
"""

from importlib import import_module
from types import ModuleType

NAMES = (
    "train",
    "evaluate",
    "browse",
    "predict",
    "export",
    "import",
    "diff",
    "report",
    "best",
    "schema",
    "explain",
    "install",
    "demo",
)


def command_module(name: str) -> ModuleType:
    """Return the module of a command."""
    return import_module(f"dlcexp.commands.{name}")
