"""Compare the start-up time of dlcexp with that of a bare Hydra application.

    python benchmarks/startup.py [repetitions] [project=PATH]

The commands run in turn, several times. The minimum user plus system time of the process counts.
With a multi-animal project, the largest tree is measured too: DLCRNet with all edges of the
project.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

BARE = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    pass

main()
"""

COMMANDS = {
    "dlcexp --help": ["-m", "dlcexp.cli", "--help"],
    "dlcexp --cfg job --resolve": ["-m", "dlcexp.cli", "--cfg", "job", "--resolve"],
    **{
        f"dlcexp --cfg job --resolve {arguments}": [
            *("-m", "dlcexp.cli", "--cfg", "job", "--resolve", *arguments.split()),
        ]
        for arguments in ("method=td", "method=ctd", "net_type=dlcrnet_stride32_ms5")
    },
    "dlcexp --cfg job pytorch_config=FILE": [
        *("-m", "dlcexp.cli", "--cfg", "job", "pytorch_config=pytorch_config.yaml"),
        *("project=demo", "optimizer=sgd"),
    ],
}


def main() -> None:
    arguments = sys.argv[1:]
    repetitions = next((int(argument) for argument in arguments if argument.isdecimal()), 5)
    largest = [
        ("--cfg", "job", "--resolve", "net_type=dlcrnet_stride16_ms5", project)
        for project in arguments
        if project.startswith("project=")
    ]
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        export = ["-m", "dlcexp.cli", "export", "net_type=rtmpose_m"]
        cpu_seconds([*export, "export.file=pytorch_config.yaml"], folder)
        commands = {
            "a bare Hydra application": [str(bare), "--cfg", "job"],
            **COMMANDS,
            **{" ".join(["dlcexp", *line[:-1]]): ["-m", "dlcexp.cli", *line] for line in largest},
        }
        seconds = {name: float("inf") for name in commands}
        for _ in range(repetitions):
            for name, arguments in commands.items():
                seconds[name] = min(seconds[name], cpu_seconds(arguments, folder))
    reference = seconds["a bare Hydra application"]
    for name, value in seconds.items():
        print(f"{name:<60}{value:6.2f} s  {value / reference:5.1f} x")


def cpu_seconds(arguments: list[str], folder: str) -> float:
    """Run a command; return the user plus system time of its process, in seconds."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


if __name__ == "__main__":
    main()
