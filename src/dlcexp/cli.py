"""The command line: finds the command, and turns its errors into messages and exit codes."""

import errno
import os
import signal
import sys
from collections.abc import Sequence

from dlcexp.commands import NAMES, SUMMARIES, command_module
from dlcexp.text import print_any_character

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
  dlcexp pytorch_config=FILE batch_size=4                start from any of DeepLabCut's files
  dlcexp                                                 train on a synthetic demo project

Commands (see dlcexp COMMAND --help):
{commands}

project=  a DeepLabCut project (folder or config.yaml), a COCO keypoint .json, or demo (the default)
group=option picks a file of options, key=value sets a key; `dlcexp train --help` lists them all,
the 34 names of DeepLabCut's models under net_type.
-m sweeps over comma-separated values; --config-dir DIR adds your own options.
Tab completion: eval "$(dlcexp -sc install=bash)"   (zsh, fish likewise)
"""

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `dlcexp`; a first argument without `=` names a command, without one it is `train`.

    Returns:
        The exit code: 0 done, 1 a failure of ours, 2 a user's mistake, 130 interrupted.
    """
    print_any_character()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in ("--help", "-h", "help"):
        table = "\n".join(f"  {name:<10}{summary}" for name, summary in SUMMARIES.items())
        print(HELP.format(commands=table), end="")
        return 0
    if given and given[0] == "--version":
        from dlcexp import __version__

        print(f"dlcexp {__version__}")
        return 0
    try:
        return _run(given)
    except KeyboardInterrupt:
        if arguments is None:  # the program ends, which a further Ctrl-C must not disturb
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("dlcexp: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`dlcexp export | head`); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: list[str]) -> int:
    from dlcexp.errors import UserError
    from dlcexp.files import storage

    try:
        if arguments and arguments[0] in ("-sc", "--shell-completion"):
            from dlcexp.completion import shell_completion

            return shell_completion(arguments[1:])
        with storage():
            return _run_command(arguments)
    except UserError as error:
        print(f"dlcexp: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"dlcexp: {error.filename}: {error.strerror}.", file=sys.stderr)
        return 2


def _run_command(arguments: list[str]) -> int:
    from dlcexp.commands.settings import parse, refuse_blanks
    from dlcexp.errors import UserError, nearest
    from dlcexp.files import expanded

    refuse_blanks(arguments)
    name = arguments.pop(0) if arguments and _is_command(arguments[0]) else "train"
    if name not in NAMES:
        if os.path.exists(expanded(name)):  # noqa: PTH110 (that of pathlib may raise)
            raise UserError(f"{name!r} is a path, not a command. Did you mean '{_use(name)}'?")
        raise UserError(
            f"{name!r} is not a command; the commands are {', '.join(NAMES)}."
            f"{nearest(name, NAMES)} An override has the form key=value."
        )
    module = command_module(name)
    if {"--help", "-h"} & set(arguments):
        from dlcexp.commands.help_text import help_text

        print(help_text(module.COMMAND), end="")
        return 0
    return int(module.run(**parse(module.COMMAND, arguments)))


def _use(path: str) -> str:
    """Return the command that a path alone probably means."""
    from dlcexp.files import expanded, kind_of_folder

    commands = {"run": f"dlcexp evaluate {path}", "sweep": f"dlcexp report {path}"}
    return commands.get(kind_of_folder(expanded(path)), f"dlcexp project={path}")


def _is_command(argument: str) -> bool:
    return "=" not in argument and not argument.startswith(("-", "~"))


if __name__ == "__main__":
    sys.exit(main())
