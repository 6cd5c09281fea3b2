"""The command table. Imports nothing heavy, so that `dlcexp --help` answers at once."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "train": "compose, validate, train, evaluate (the default: no command word needed)",
    "evaluate": "score a finished run again: other snapshot, split or thresholds",
    "browse": "draw augmented training batches with labels and targets, before training",
    "predict": "poses in images and videos, in DeepLabCut's files",
    "export": "print the resolved pytorch_config.yaml that DeepLabCut loads",
    "import": "show what a pytorch_config.yaml is, as the shortest command line",
    "diff": "show what differs between two runs, files or command lines",
    "report": "which run of a sweep is best and why: a table, and a page that works offline",
    "best": "the winner of a sweep: its folder, weights and pytorch_config.yaml",
    "schema": "print the keys and their types, for editors or as a reference page",
    "install": "make a run a new shuffle of its DeepLabCut project",
    "demo": "draw the synthetic DeepLabCut project",
}

HELP = """\
dlcexp: which model and which recipe is best for your animals?

  dlcexp project=~/mouse                                 train DEKR, evaluate, leave a run folder
  dlcexp project=~/mouse net_type=dekr_w32 batch_size=4  DeepLabCut's names; any key can be set
  dlcexp project=~/mouse method=td                       a detector, then poses in its boxes
  dlcexp project=~/mouse method=ctd conditions=RUN       correct the poses of a bottom-up run
  dlcexp project=~/mouse weights=RUN weights.freeze=backbone     fine-tune what another run learned
  dlcexp -m project=~/mouse model/backbone=hrnet_w18,hrnet_w32   a sweep: one run for each
  dlcexp project=~/mouse --cfg job --resolve             show the experiment, run nothing
  dlcexp browse project=~/mouse batch_size=8             see what the model will see
  dlcexp predict run=RUN source=video.mp4 --label        poses in videos and images
  dlcexp pytorch_config=FILE batch_size=4                any of its files, any version, as a start
  dlcexp                                                 train on a synthetic demo project

Commands (dlcexp COMMAND --help tells more):
{commands}

project=  a DeepLabCut project (folder or config.yaml), a COCO keypoint .json, or demo (the default)
group=option picks a file of options, key=value sets a key; `dlcexp train --help` lists them all,
the 34 names of DeepLabCut's models under net_type.
-m sweeps over comma-separated values; --config-dir DIR adds options of your own.
Tab completion: eval "$(dlcexp -sc install=bash)"   (zsh, fish likewise)
"""

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `dlcexp`; the first word without `=` names a command, none means `train`.

    Returns:
        The exit code: 0 done, 1 a failure of ours, 2 a user's mistake, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in ("--help", "-h", "help"):
        table = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
        print(HELP.format(commands=table), end="")
        return 0
    if words and words[0] == "--version":
        from dlcexp import __version__

        print(f"dlcexp {__version__}")
        return 0
    command = words.pop(0) if words and _is_command_word(words[0]) else "train"
    return _run(command, words)


def _is_command_word(word: str) -> bool:
    return not word.startswith("-") and "=" not in word and not word.startswith("~")


def _run(command: str, words: list[str]) -> int:
    from dlcexp.errors import UserError, nearest

    try:
        if command not in COMMANDS:
            raise UserError(
                f"{command!r} is not a command; there are {', '.join(COMMANDS)}."
                f"{nearest(command, COMMANDS)} An override has the form key=value."
            )
        _without_command_word()
        return int(import_module(f"dlcexp.commands.{command}").run(words))
    except UserError as error:
        print(f"dlcexp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dlcexp: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`dlcexp export | head`); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _without_command_word() -> None:
    """Hydra completes overrides from the second word on: hide our command word from it."""
    line = os.environ.get("COMP_LINE")
    if line:
        program, _, rest = line.partition(" ")
        first, _, others = rest.partition(" ")
        if first in COMMANDS:
            os.environ["COMP_LINE"] = f"{program} {others}"


if __name__ == "__main__":
    sys.exit(main())
