"""`dlcexp explain`: each kind of origin, each kind of key, groups, mistakes, and the page."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dlcexp.cli import main

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
PAGE = (ROOT / "docs" / "how-to" / "explain.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^ {4}(dlcexp [^\n]*)\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def explained(capsys: pytest.CaptureFixture[str], arguments: str) -> str:
    assert main(["explain", *shlex.split(arguments)]) == 0
    return capsys.readouterr().out


def line_of(file: str, text: str) -> str:
    """Return the place of the line of a file that begins with a text."""
    lines = (CONF / file).read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(lines, start=1) if line.strip().startswith(text))
    return f"conf/{file}:{number}"


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[each[0] for each in EXAMPLES])
def test_the_page_shows_what_is_printed(command, output, capsys):
    without_lines = re.compile(r"(?<=\.yaml):\d+")
    printed = explained(capsys, command.removeprefix("dlcexp explain "))
    assert without_lines.sub("", printed) == without_lines.sub("", output)


def test_the_page_has_examples():
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize(
    ("arguments", "value", "places"),
    [
        ("save_epochs", "25", [line_of("config.yaml", "save_epochs: ")]),
        (
            "batch_size model=dekr",
            "8",
            [line_of("config.yaml", "batch_size: "), line_of("model/dekr.yaml", "batch_size: ")],
        ),
        (
            "detector.optimizer.lr method=td",
            "0.0001",
            [line_of("optimizer/adamw.yaml", "lr: "), line_of("detector/_base.yaml", "lr: ")],
        ),
        (
            "scheduler.milestones model=dekr",
            r"\[90,120\]",
            [
                line_of("scheduler/lr_list.yaml", "milestones: "),
                line_of("config.yaml", "recipe: "),
                line_of("model/dekr.yaml", "milestones: "),
            ],
        ),
        ("data.train.affine.scaling method=td", r"\[1\.0,1\.0\]", ["conf/data/top_down.yaml:"]),
        ("trainer.eval_interval", "10", [line_of("trainer/default.yaml", "eval_interval: ")]),
        ("optimizer.lr experiment=demo", "0.003", [line_of("experiment/demo.yaml", "lr: ")]),
        ("hydra.sweep.dir", "auto", [line_of("multirun.yaml", "dir: auto")]),
        ("hydra.job.chdir", "false", [line_of("config.yaml", "chdir: ")]),
        ("metadata.num_bodyparts", "7", [line_of("config.yaml", "metadata: ")]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_value_is_traced_to_the_lines_that_set_it(arguments, value, places, capsys):
    printed = explained(capsys, arguments)
    assert re.match(rf"{re.escape(arguments.split()[0])}={value}\n", printed)
    found = re.findall(r"conf/\S+:\d+", printed)
    assert len(found) == len(places), printed
    assert all(one.startswith(other) for one, other in zip(found, places, strict=True)), printed


@pytest.mark.parametrize(
    ("arguments", "override"),
    [
        ("batch_size batch_size=2 batch_size=4", "batch_size=4"),
        ("optimizer.lr model.recipe.lr=0.1", "model.recipe.lr=0.1"),
        (
            "data.train.affine.rotation data.train.affine={rotation:3}",
            "data.train.affine={rotation:3}",
        ),
        ("weights.path weights=/tmp", "weights=/tmp"),
        (
            "data.train.rotation +data.train.rotation=9 data.train.affine=null",
            "+data.train.rotation=9",
        ),
    ],
)
def test_an_override_is_printed_as_typed(arguments, override, capsys):
    assert f"the override {override}\n" in explained(capsys, arguments)


def test_an_imported_file_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "batch_size=5", "export.file=mine.yaml"]) == 0
    capsys.readouterr()
    printed = explained(capsys, "batch_size pytorch_config=mine.yaml")
    assert "the override pytorch_config=mine.yaml: batch_size=5\n" in printed


def test_options_and_overlays_of_a_folder_are_found(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "optimizer/mine.yaml": "# SGD of our lab.\n_target_: torch.optim.SGD\n"
        "_partial_: true\nlr: 7\n",
        "experiment/night.yaml": "# @package _global_\n# Slow.\nepochs: 9\nseed: ${epochs}\n",
    }.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True)
        (tmp_path / "own" / name).write_text(text, encoding="utf-8")
    line = "optimizer.lr seed optimizer --config-dir own optimizer=mine experiment=night"
    printed = explained(capsys, line)
    assert "own/optimizer/mine.yaml:4  7\n" in printed
    assert "own/experiment/night.yaml:4  ${epochs}\n" in printed
    assert "own/experiment/night.yaml:3  epochs: 9\n" in printed
    assert re.search(r"\* mine +SGD of our lab\.\n", printed)


def test_what_a_value_is_computed_from_is_printed(capsys):
    printed = explained(capsys, "model.heads.bodypart.offset_config.channels model=dekr")
    assert "model.heads.bodypart.offset_config.num_offset_per_kpt=15\n" in printed
    assert "metadata.num_bodyparts=7\n" in printed


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        ("data.longest_max_size", ["meaning  scale the longer", "type     a whole", "unit     px"]),
        ("data.train.rotation", ["data.train.rotation is not set", "unit     degrees"]),
        ("optimizer.foreach", ["is not set", "class    torch.optim.AdamW", "default  null"]),
        ("model.backbone.interpolate_branches", ["class    dlcexp.models.backbones.HRNet"]),
        ("model.heads.bodypart.offset_config.num_blocks", ["adaptive blocks per keypoint"]),
        ("model.recipe.padding", ["unit     px"]),
    ],
)
def test_a_key_is_described_wherever_it_is_declared(key, facts, capsys):
    printed = explained(capsys, f"{key} model=dekr optimizer=adamw")
    assert [fact for fact in facts if fact not in printed] == []


def test_a_node_is_printed_key_by_key(capsys):
    printed = explained(capsys, "trainer.early_stopping")
    assert printed.startswith("trainer.early_stopping: when training ends early\n")
    assert re.search(r"^ {2}trainer\.early_stopping\.patience=null\s+evaluations", printed, re.M)


@pytest.mark.parametrize(
    ("group", "rows"),
    [
        ("model/backbone", [r"\* hrnet_w18 +HRNet-W18", r"  resnet_50 +ResNet-50"]),
        ("logger", [r"\* csv +metrics\.csv", r"  wandb "]),
        ("net_type", [r"  dekr_w32 +DeepLabCut"]),
        ("hydra/sweeper", [r"\* grid ", r"  optuna "]),
    ],
)
def test_a_group_is_printed_option_by_option(group, rows, capsys):
    printed = explained(capsys, group)
    assert all(re.search(f"^  {row}", printed, re.MULTILINE) for row in rows), printed


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ("bacth_size modle", ["bacth_size: .*'batch_size'", "modle: .*'model'"]),
        ("model/bakcbone", ["'model/backbone'"]),
        ("lr", ["'optimizer.lr'"]),
        ("trainer.devics", ["trainer has precision, .*'devices'"]),
        ("detector.epochs", ["method=bu has none. Add method=td"]),
        ("batch_size bacth_size=3", ["bacth_size: .*3.*'batch_size'"]),
        ("batch_size=3", ["KEY"]),
    ],
)
def test_a_mistake_is_one_message(arguments, messages, capsys):
    assert main(["explain", *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert all(re.search(message, printed.err) for message in messages), printed.err


def test_output_for_a_terminal_fits_and_other_output_is_not_wrapped(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    wide = explained(capsys, "model/backbone optimizer.lr")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    narrow = explained(capsys, "model/backbone optimizer.lr")
    assert max(map(len, narrow.splitlines())) <= 60 < max(map(len, wide.splitlines()))
    assert narrow.split() == wide.split()


def test_keys_of_the_tree_are_explained_without_torch():
    script = (
        "import sys; from dlcexp.cli import main; "
        "main(['explain', 'batch_size', 'trainer', 'data.train.affine.rotation', 'split']); "
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stderr == "False\n"
