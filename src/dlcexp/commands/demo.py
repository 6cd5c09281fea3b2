"""`dlcexp demo`: draw the synthetic DeepLabCut project."""

import shlex
from pathlib import Path

from dlcexp.commands.settings import FOLDER, Command, Setting, whole
from dlcexp.errors import UserError

COMMAND = Command(
    name="demo",
    about="""
        Draws a synthetic DeepLabCut project into DIR: articulated animals on cluttered backgrounds,
        labelled frames of several videos, and a video. Any DeepLabCut tool opens it. Without DIR it
        is drawn into the cache, where `project=demo` (the default) finds it.
    """,
    settings=(
        Setting("folder", FOLDER, "folder of the new project", shown="DIR", positional=True),
        Setting("seed", whole(0), "random seed of the drawing; needs DIR", shown="0"),
    ),
    examples=("dlcexp demo arena", "dlcexp demo arena2 seed=1"),
)


def run(folder: Path | None, seed: int | None) -> int:
    """Draw the project, and print how to train on it."""
    from dlcexp.data.draw_demo import demo_project, write_demo_project

    if folder is not None:
        folder = write_demo_project(folder, seed=seed or 0)
    elif seed is not None:
        raise UserError("seed: needs a folder: dlcexp demo DIR seed=1")
    else:
        folder = demo_project()
    print(f"a DeepLabCut project is in {folder}")
    print(f"train on it with: {shlex.join(['dlcexp', f'project={folder}'])}")
    return 0
