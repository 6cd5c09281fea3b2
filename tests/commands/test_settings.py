"""What commands take: declarations fit their functions, values are typed, mistakes come at once."""

import inspect
import shlex
from pathlib import Path

import pytest

from dlcexp.commands import NAMES, command_module
from dlcexp.commands.help_text import help_text
from dlcexp.commands.settings import (
    CONFIG_DIR,
    PATH,
    PATHS,
    RUN,
    SWITCH,
    TEXT,
    Command,
    Setting,
    one_of,
    parse,
    switch,
    whole,
)
from dlcexp.errors import UserError

DECLARED = {name: command_module(name).COMMAND for name in NAMES}
SHOW = Command(
    name="show",
    about="Shows something.",
    settings=(
        Setting("sources", PATHS, "what to show"),
        Setting("output", PATH, "file to write"),
        Setting("show.size", whole(1), "pixels", default=64),
        Setting("csv", SWITCH, "write a table", default=True, flags=("--csv",)),
        Setting("--info", one_of("all", "paths", bare="all"), "show how", flags=("-i",)),
        switch("--multirun", "sweep", "-m"),
        CONFIG_DIR,
    ),
    exclusive=("--info", "--multirun"),
    takes_overrides=True,
    namespace="show",
)
PRINT = Command(
    name="print",
    about="Prints something.",
    settings=(
        Setting("folder", PATH, "a folder", shown="DIR", required=True, positional=True),
        Setting("metric", TEXT, "a metric", shown="NAME"),
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_command_is_called_with_what_it_declares(name):
    command = DECLARED[name]
    passed = {setting.parameter for setting in command.settings}
    passed |= {"overrides"} if command.takes_overrides else set()
    assert set(inspect.signature(command_module(name).run).parameters) == passed
    assert command.name == name


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_command_are_read(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("DIR", "runs/mouse/DIR"):
        Path(folder).mkdir(parents=True)
    assert DECLARED[name].examples
    for example in DECLARED[name].examples:
        words = shlex.split(example.partition("    ")[0].partition(" > ")[0])[1:]
        command = DECLARED[words.pop(0) if words[0] in NAMES else "train"]
        parse(command, words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"size": 64, "csv": True, "info": None, "multirun": False, "overrides": []}),
        (["show.size=7", "csv=false"], {"size": 7, "csv": False}),
        (["csv=False", "--csv"], {"csv": True}),
        (["--csv=false"], {"csv": False}),
        (["sources=[a.mp4,b.mp4]"], {"sources": ["a.mp4", "b.mp4"]}),
        (["sources=a,b (1)=ä.mp4"], {"sources": ["a,b (1)=ä.mp4"]}),
        (["output='my file.csv'"], {"output": Path("my file.csv")}),
        (["output=~/x"], {"output": Path.home() / "x"}),
        (["output=a", "output=b"], {"output": Path("b")}),
        (["--info", "lr=3"], {"info": "all", "overrides": ["lr=3"]}),
        (["-i", "paths"], {"info": "paths"}),
        (
            ["-m", "lr=1,2", "~csv", "+size=3"],
            {"multirun": True, "overrides": ["lr=1,2", "~csv", "+size=3"]},
        ),
        (["-cd", ".", "a=b"], {"config_dir": Path(), "overrides": ["a=b"]}),
        (["--config-dir=."], {"config_dir": Path()}),
    ],
    ids=str,
)
def test_values_have_their_types(words, expected):
    values = parse(SHOW, words)
    assert {key: values[key] for key in expected} == expected


def test_a_path_that_holds_an_equals_sign_is_a_positional_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lr=0.1").mkdir()
    assert parse(PRINT, ["lr=0.1"]) == {"folder": Path("lr=0.1"), "metric": None}
    assert parse(PRINT, ["metric=a=b", "folder=x"]) == {"folder": Path("x"), "metric": "a=b"}


@pytest.mark.parametrize("name", [n for n, each in DECLARED.items() if RUN.name in each.by_name])
def test_a_run_is_given_by_name_or_by_position(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lr=0.1").mkdir()
    source = ["source=a.mp4"] if name == "predict" else []
    overrides = ["split=kfold", "~callbacks"] if DECLARED[name].takes_overrides else []
    for run in ("run=lr=0.1", "lr=0.1"):
        values = parse(DECLARED[name], [*overrides, *source, run])
        assert values["run_folder"] == Path("lr=0.1")
        assert values.get("overrides", []) == overrides


def test_the_first_two_words_of_diff_may_be_overrides():
    values = parse(DECLARED["diff"], ["lr=1", "--config-dir=.", "", "seed=2"])
    assert (values["first"], values["second"], values["overrides"]) == ("lr=1", "", ["seed=2"])


@pytest.mark.parametrize(
    ("command", "words", "parts"),
    [
        (SHOW, ["show.size=many"], ["show.size: 'many'", "whole number from 1"]),
        (SHOW, ["show.size=0"], ["show.size: '0'", "whole number from 1"]),
        (SHOW, ["csv=yes"], ["csv: 'yes'", "true or false"]),
        (SHOW, ["--info=path"], ["--info: 'path'", "all, paths", "'paths'"]),
        (SHOW, ["show.siez=3"], ["show.siez: ", "'show.size'"]),
        (SHOW, ["--multrun"], ["'--multrun'", "'--multirun'"]),
        (SHOW, ["--batch-size", "16"], ["'--batch-size'", "without dashes: batch_size=16"]),
        (SHOW, ["--lr=0.1", "seed=2"], ["'--lr'", "without dashes: lr=0.1"]),
        (SHOW, ["--config-dir"], ["--config-dir: needs a value"]),
        (SHOW, ["--config-dir=nowhere"], ["--config-dir: there is no 'nowhere'"]),
        (SHOW, ["output="], ["output: needs a path"]),
        (SHOW, ["output"], ["'output'", "key=value"]),
        (SHOW, ["-m", "-i"], ["-m and -i exclude each other"]),
        (PRINT, [], ["DIR is needed"]),
        (PRINT, ["a", "b"], ["'b'"]),
        (PRINT, ["a", "metrik=b"], ["metrik: ", "'metric'"]),
        (PRINT, ["metrik=b", "a"], ["metrik: ", "'metric'"]),
    ],
    ids=lambda value: value.name if isinstance(value, Command) else str(value),
)
def test_a_mistake_names_setting_value_and_what_is_allowed(command, words, parts):
    with pytest.raises(UserError) as error:
        parse(command, words)
    assert [part for part in parts if part not in str(error.value)] == []
    assert len(str(error.value).splitlines()) == 1


def test_all_mistakes_come_at_once_in_the_order_in_which_they_were_typed():
    with pytest.raises(UserError) as error:
        parse(
            DECLARED["predict"], ["csv=maybe", "shuffle=x", "device=cpu", "sorce=a", "run=nowhere"]
        )
    lines = str(error.value).splitlines()[-4:]
    for line, part in zip(lines, ("csv: 'maybe'", "shuffle: 'x'", "run: ", "'sorce'"), strict=True):
        assert part in line


def test_a_run_that_is_not_there_is_named_with_the_nearest(tmp_path):
    (tmp_path / "run-1").mkdir()
    command = Command("use", "Uses a run.", settings=(RUN,))
    with pytest.raises(UserError, match=r"^run: .*'run-1'\?$"):
        parse(command, [f"run={tmp_path / 'rnu-1'}"])


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_setting_within_the_width_of_the_terminal(name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = help_text(DECLARED[name])
    assert text.startswith(f"dlcexp {name} ")
    assert all(setting.form in text for setting in DECLARED[name].settings)
    sections = (section.rows for section in DECLARED[name].sections)
    rows = [row for rows in sections for row in (rows() if callable(rows) else rows)]
    unbroken = {*DECLARED[name].examples, *(typed for typed, _ in rows)}
    wide = {line.strip() for line in text.splitlines() if len(line) > min(columns, 100)}
    assert wide <= unbroken


def test_choices_of_predict_are_those_of_the_finder():
    from dlcexp.inference.finder import BACKENDS, PRECISIONS

    kinds = {setting.name: setting.kind for setting in DECLARED["predict"].settings}
    assert kinds["predict.precision"].choices == tuple(PRECISIONS)
    assert kinds["predict.backend"].choices == BACKENDS
