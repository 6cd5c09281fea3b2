"""Sphinx configuration: Markdown pages with MyST, furo theme, commands page from `--help`."""

import io
import os
from contextlib import redirect_stdout
from importlib.metadata import version as version_of
from typing import Any

from dlcexp.cli import main
from dlcexp.commands import NAMES

os.environ["COLUMNS"] = "100"

project = "dlcexp"
version = release = version_of("dlcexp")
author = copyright = "the authors of dlcexp; Apache-2.0"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
pygments_style = "friendly"

html_theme = "furo"
html_title = f"dlcexp {version}"
html_show_sourcelink = False


def help_of(*command: str) -> str:
    """Return the output of `dlcexp COMMAND --help`."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        main([*command, "--help"])
    return printed.getvalue().strip()


def commands(app: Any, name: str, source: list[str]) -> None:
    """Fill the page `commands` with the help of each command."""
    if name == "commands":
        helps = {"dlcexp": help_of()} | {f"dlcexp {each}": help_of(each) for each in NAMES}
        source[0] += "".join(
            f"\n## {head}\n\n```text\n{text}\n```\n" for head, text in helps.items()
        )


def setup(app: Any) -> None:
    """Register the hook; Sphinx calls this function."""
    app.connect("source-read", commands)
