"""Sphinx configuration: Markdown pages with MyST, furo theme, pages of commands and keys."""

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


def output_of(*command: str) -> str:
    """Return the output of `dlcexp COMMAND`."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        main(command)
    return printed.getvalue()


def generate(app: Any, name: str, source: list[str]) -> None:
    """Fill the page `commands` with the help of each command, and `reference` with every key."""
    if name == "commands":
        for command in ("", *NAMES):
            title = f"dlcexp {command}".strip()
            printed = output_of(*title.split()[1:], "--help").strip()
            source[0] += f"\n## {title}\n\n```text\n{printed}\n```\n"
    if name == "reference":
        source[0] += output_of("schema", "--reference").partition("\n")[2]


def setup(app: Any) -> None:
    """Register the hook; Sphinx calls this function."""
    app.connect("source-read", generate)
