"""`dlcexp demo`: draw the synthetic DeepLabCut project."""

from dlcexp.commands.arguments import wants_help
from dlcexp.errors import UserError
from dlcexp.files import expanded

HELP = """\
dlcexp demo [DIR] [seed=0]

Draws a synthetic DeepLabCut project into DIR: articulated animals on cluttered backgrounds,
labelled frames of several videos, and a video. Any DeepLabCut tool opens it. Without DIR it goes
to the cache, where `project=demo` (the default) finds it.
"""


def run(words: list[str]) -> int:
    if wants_help(words):
        print(HELP, end="")
        return 0
    from dlcexp.data.draw_demo import demo_project, write_demo_project

    seeds = [word.partition("=")[2] for word in words if word.startswith("seed=")]
    folders = [word for word in words if "=" not in word and not word.startswith("-")]
    if len(seeds) > 1 or len(folders) > 1 or len(seeds) + len(folders) != len(words):
        raise UserError(f"cannot read {' '.join(words)!r}; the form is dlcexp demo [DIR] [seed=0].")
    if seeds and not seeds[0].isdecimal():
        raise UserError(f"seed: {seeds[0]!r} is not a whole number from 0.")
    if folders:
        seed = int(seeds[0]) if seeds else 0
        folder = write_demo_project(expanded(folders[0]), seed=seed)
    elif seeds:
        raise UserError("seed: needs a folder, dlcexp demo DIR seed=1.")
    else:
        folder = demo_project()
    print(f"a DeepLabCut project is in {folder}")
    print(f"train on it with: dlcexp project={folder}")
    return 0
