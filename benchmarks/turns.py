"""Run processes in turns, so that noise of the machine affects all of them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHON_OF_DEEPLABCUT = Path(__file__).resolve().parents[1] / ".venv-dlc" / "bin" / "python"


class Worker:
    """A process that works for one turn per line on its standard input.

    At the end of a turn, the process prints `turn`, the seconds of the turn, and other numbers.
    """

    def __init__(self, command: list[str], threads: int) -> None:
        self.seconds: list[float] = []  # of each turn
        self.numbers: list[float] = []  # other numbers of the last turn
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def take_turn(self) -> None:
        """Run one turn of the process, and read its seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        for line in self.process.stdout:
            if line.startswith("turn "):
                seconds, *self.numbers = map(float, line.split()[1:])
                self.seconds.append(seconds)
                return
        self.log.seek(0)
        sys.exit(f"{self.process.args} exited before its last turn\n{self.log.read()}")

    def end(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.communicate()


def environment(threads: int) -> dict[str, str]:
    """Return the environment variables of a process with `threads` threads and no network."""
    pools = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    offline = {"HF_HUB_OFFLINE": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    return {**os.environ, **pools, **offline, "DLClight": "True"}
