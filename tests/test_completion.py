"""Completion answers from the declarations of commands, and from Hydra for overrides."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dlcexp.cli import main
from dlcexp.commands import NAMES
from dlcexp.completion import complete

EXECUTABLE = Path(sys.executable).with_name("dlcexp")


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mouse").mkdir(parents=True)
    (tmp_path / "runs" / ".hidden").touch()
    (tmp_path / "runs" / "notes.txt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ev", ["evaluate"]),
        ("predict so", ["source="]),
        ("predict run=x predict.pre", ["predict.precision="]),
        ("predict predict.precision=b", ["predict.precision=bf16"]),
        ("predict label=", ["label=true", "label=false"]),
        ("predict --l", ["--label"]),
        ("predict run=runs/", ["run=runs/mouse/", "run=runs/notes.txt"]),
        ("predict run=runs/.", ["run=runs/.hidden"]),
        ("predict output=r", ["output=runs/"]),
        ("report ru", ["runs/"]),
        ("report runs/", ["runs/mouse/"]),
        ("report runs direction=ma", ["direction=maximize"]),
        ("report runs met", ["metric="]),
        ("best runs --ex", ["--export"]),
        ("import runs/n", ["runs/notes.txt"]),
        ("evaluate runs/m", ["runs/mouse/"]),
        ("diff runs/mouse runs/n", ["runs/notes.txt"]),
        ("project=runs/m", ["project=runs/mouse/"]),
        ("pytorch_config=runs/n", ["pytorch_config=runs/notes.txt"]),
        ("hydra.run.dir=runs/m", ["hydra.run.dir=runs/mouse/"]),
        ("weights=runs/n", ["weights=runs/notes.txt"]),
        ("-m weights.path=runs/n", ["weights.path=runs/notes.txt"]),
        ("predict runs conditions=runs/m", ["conditions=runs/mouse/"]),
        ("--cfg ", ["job", "hydra", "all"]),
        ("--config-dir r", ["runs/"]),
        ("train --multi", ["--multirun"]),
        ("nowhere/at/all/", []),
    ],
)
def test_a_word_is_completed_from_the_declaration(line, expected, files):
    words = line.split(" ")
    assert complete(words[:-1], words[-1])[0] == expected


def test_names_that_are_given_already_are_left_out(files):
    candidates, overrides = complete(["predict", "run=runs", "--label", "optimizer=sgd"], "")
    assert "source=" in candidates
    assert not {"run=", "label=", "--label"} & set(candidates)
    assert overrides == ["optimizer=sgd"]


@pytest.mark.parametrize("line", ["report runs ", "predict run=runs", "predict --l", "best runs"])
def test_hydra_is_not_asked_where_no_override_can_be(line, files):
    words = line.split(" ")
    assert complete(words[:-1], words[-1])[1] is None


def bash(line: str, folder: Path) -> list[str]:
    """What the real bash offers at the end of a line."""
    script = """
        eval "$(dlcexp -sc install=bash)"
        COMP_WORDS=($COMP_LINE); COMP_CWORD=$COMP_LAST; COMP_POINT=${#COMP_LINE}
        hydra_bash_completion
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    environment = {
        **os.environ,
        "PATH": f"{EXECUTABLE.parent}{os.pathsep}{os.environ['PATH']}",
        "COMP_LINE": line,
        "COMP_LAST": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(
    not shutil.which("bash") or not EXECUTABLE.exists(), reason="needs bash and an installed dlcexp"
)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dlcexp predict run=ru", ["run=runs/"]),
        ("dlcexp report runs/m", ["runs/mouse/"]),
        ("dlcexp predict predict.backend=", ["predict.backend=torch", "predict.backend=onnx"]),
        ("dlcexp predict run=runs optimizer=adamw", ["optimizer=adamw"]),
        ("dlcexp train optimizer=adamw optimizer.weight_d", ["optimizer.weight_decay="]),
        ("dlcexp rep", ["report"]),
        ("dlcexp train project=ru", ["project=runs/"]),
        ("dlcexp diff runs/n", ["runs/notes.txt"]),
    ],
)
def test_bash_completes(line, expected, files):
    assert bash(line, files) == expected


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_candidates_are_printed_as_the_script_of_the_shell_reads_them(
    shell, files, monkeypatch, capsys
):
    monkeypatch.setenv("COMP_LINE", "dlcexp report runs/mouse ")
    monkeypatch.delenv("COMP_POINT", raising=False)
    assert main(["-sc", f"query={shell}"]) == 0
    separator = {"bash": " ", "fish": "\n"}[shell]
    assert capsys.readouterr().out.split(separator)[:-1] == ["metric=", "direction=", "output="]


@pytest.mark.parametrize("words", [[], ["install=bsh"], ["instal=bash"], ["install=bash", "x"]])
def test_an_unknown_shell_or_action_is_one_message(words, capsys):
    assert main(["-sc", *words]) == 2
    assert "install=bash" in capsys.readouterr().err


def test_settings_are_completed_without_torch(files):
    code = (
        "import sys, json; from dlcexp.completion import complete;"
        f"[complete([name], 'x') for name in {NAMES}];"
        "print(json.dumps([m for m in ('torch', 'hydra', 'omegaconf') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
