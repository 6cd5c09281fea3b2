"""The commands, one module each: `COMMAND` declares what it takes, and `run` does it.

A module imports nothing heavy until its `run` is called, so that help and completion are instant.
"""

from importlib import import_module
from types import ModuleType

# A line of `dlcexp --help` each, here so that it imports none of them.
SUMMARIES = {
    "train": "compose, validate, train, evaluate (the default: `train` may be left out)",
    "evaluate": "score a finished run again: other snapshot, split or thresholds",
    "browse": "draw augmented training batches with labels and targets, before training",
    "predict": "poses in images and videos, in DeepLabCut's files",
    "export": "print the resolved pytorch_config.yaml that DeepLabCut loads",
    "import": "show what a pytorch_config.yaml is, as the shortest command line",
    "diff": "show what differs between two runs, files or command lines",
    "report": "which run of a sweep is best and why: a table, and a page that works offline",
    "best": "the winner of a sweep: its folder, weights and pytorch_config.yaml",
    "schema": "print the keys and their types, for editors or as a reference page",
    "explain": "what a key means, its value, and where that comes from",
    "install": "make a run a new shuffle of its DeepLabCut project",
    "demo": "draw the synthetic DeepLabCut project",
}
NAMES = tuple(SUMMARIES)


def command_module(name: str) -> ModuleType:
    """Return the module of a command."""
    return import_module(f"dlcexp.commands.{name}")
