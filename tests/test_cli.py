"""The command line: what it says, its exit codes, and that it answers fast."""

import os
import re
import resource
import subprocess
import sys

import pytest
from process_support import run_process

from dlcexp.cli import main
from dlcexp.commands import NAMES


def dlcexp(*words: str, cwd=None, env=None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dlcexp.cli", *words]
    return run_process(command, cwd=cwd, env={**os.environ, **(env or {})})


def cpu_seconds(*words: str) -> float:
    """User and system time of one call, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert dlcexp(*words).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_fits_one_screen_and_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 34
    assert max(map(len, text.splitlines())) <= 110
    assert all(command in text for command in NAMES)


def test_train_help_lists_groups_with_their_options(capsys):
    main(["train", "--help"])
    text = capsys.readouterr().out
    assert "model/backbone=" in text
    assert "reduce_lr_on_plateau" in text
    for key in (
        "conditions=",
        "weights.path=",
        "weights.lr_scale",
        "model.recipe.graph=",
        "pytorch_config=",
    ):
        assert key in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "'trian'.*'train'"),
        (["batch_sz=3"], "batch_sz: .*'batch_size'"),
        (["--cfg", "job", "batch_sz=3"], "batch_sz: .*'batch_size'"),
        (["export", "model=dekrr"], "model: 'dekrr'.*'dekr'"),
        (["--frobnicate"], "'--frobnicate'"),
        (["evaluate"], r"\[run=\]PATH is needed"),
        (["batch_size", "=", "16"], "write batch_size=16$"),
        (["evaluate", "run=x", "device=", "cpu"], "write device=cpu$"),
        (["demo", "a", "b"], "dlcexp demo"),
        (["--cfg", "job", f"project={'x' * 300}"], "x: File name too long"),
        (["--cfg", "job", f"seed={'1' * 5000}"], "cannot read the override 'seed=1"),
        (["--cfg", "job", f"batch_size={'[' * 400}"], "cannot read the override 'batch_size="),
        (["--cfg", "job", "seed=4294967296"], "seed: 4294967296 .*to 4294967295"),
        (["--batch_size=4", "--cfg", "job"], "'--batch_size'.* batch_size=4"),
        (["--cfg", "job", "--resolve", "optimizer.lr=abc"], "optimizer.lr: 'abc' .*a number"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, message, tmp_path):
    done = dlcexp(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert re.search(message, done.stderr)
    assert list(tmp_path.iterdir()) == [], "a mistake leaves nothing behind"


@pytest.mark.parametrize(
    ("file", "meant"),
    [
        ("status.json", "dlcexp evaluate some/where"),
        ("sweep.yaml", "dlcexp report some/where"),
        ("config.yaml", "dlcexp project=some/where"),
    ],
)
def test_a_path_without_a_command_is_answered_by_what_it_is_for(
    file, meant, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some" / "where").mkdir(parents=True)
    (tmp_path / "some" / "where" / file).touch()
    assert main(["some/where"]) == 2
    assert f"Did you mean '{meant}'?" in capsys.readouterr().err


def test_help_takes_under_half_a_second_of_cpu_time():
    assert min(cpu_seconds("--help") for _ in range(3)) < 0.5


def test_composing_takes_under_one_and_a_half_seconds_of_cpu_time():
    assert min(cpu_seconds("--cfg", "job", "--resolve", "model=paf") for _ in range(3)) < 1.5


def test_cfg_shows_final_numbers(tmp_path):
    done = dlcexp("--cfg", "job", "--resolve", "net_type=dekr_w32", cwd=tmp_path)
    assert done.returncode == 0
    assert "${" not in done.stdout
    assert "backbone_output_channels: 480" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_info_shows_how_the_tree_was_composed(tmp_path):
    done = dlcexp("--info", "defaults-tree", cwd=tmp_path)
    assert done.returncode == 0
    assert "model/backbone: hrnet_w18" in done.stdout


def test_the_package_runs_as_a_module(tmp_path):
    done = run_process([sys.executable, "-m", "dlcexp", "--version"], cwd=tmp_path)
    assert done.stdout.startswith("dlcexp ")


def test_completion_knows_options_after_a_command_word():
    line = "dlcexp train optimizer=ada"
    env = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = dlcexp("-sc", "query=bash", env=env)
    assert "optimizer=adamw" in done.stdout
