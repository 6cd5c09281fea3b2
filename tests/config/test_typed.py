"""The value of a key that is text or a path is what was typed, whatever characters it has."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlcexp.composition import compose_run, rewritten
from dlcexp.config.build import arguments, find_class
from dlcexp.config.compose import compose_tree
from dlcexp.config.options import conf_folder, option, options
from dlcexp.config.overrides import Override
from dlcexp.config.schema import TREE
from dlcexp.config.typed import in_grammar, read_typed, text_key
from dlcexp.config.value_types import Fields
from dlcexp.errors import ConfigError
from dlcexp.trees import nodes

# Names of folders as people have them.
FOLDERS = ["Mäuse (2)", "bob's data", 'the "new" one', "a=b", "a,b", "[1]", "two words", "日本"]
FOLDERS += ["{x}", "100%", "a#b", "a;b & c", "-x", "2024_01_15", "12", "1e3", "true", "0x1F"]
FOLDERS += ["C:\\data\\(2)", "range(3", "é+e\u0301"]


def declared(node: Fields, path: str = "") -> Iterator[str]:
    """The keys of the schema that take any text."""
    for name, key in node.keys.items():
        if text_key(f"{path}{name}"):
            yield f"{path}{name}"
        if key.fields:
            yield from declared(key.fields, f"{path}{name}.")


TEXTS = [*declared(TREE), "hydra.run.dir", "hydra.sweep.dir", "split.test", "logger.wandb.run_name"]
PATHS = ["project", "weights", "weights.path", "resume", "conditions", "detector.snapshot"]
PATHS += ["export.file", "export.like", "hydra.run.dir", "hydra.sweep.dir"]
PATHS += ["model.backbone.weights", "detector.model.weights"]


@pytest.mark.parametrize("key", TEXTS)
def test_a_key_that_is_text_needs_no_quotes(key):
    assert read_typed([f"{key}=Mäuse (2)"])[0].value == "Mäuse (2)"


# A key of each type that allows texts, and whether that allows numbers, and lists.
TYPES = {
    "project": (False, False),
    "split.test": (False, True),
    "conditions": (True, False),
    "evaluation.comparison_bodyparts": (True, True),
}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("key", TYPES)
def test_a_text_is_what_was_typed(key, folder):
    numbers, lists = TYPES[key]
    other = {"12": [12] * numbers, "[1]": [[1] if numbers else ["1"]] * lists}.get(folder)
    (read,) = read_typed([f"{key}={folder}"])
    assert read.value == (other or [folder])[0]
    assert Override.parse(read.text) == read
    assert read_typed([f"{key}=/data/{folder}/x"])[0].value == f"/data/{folder}/x"


@pytest.mark.parametrize("folder", [name for name in FOLDERS if "," not in name])
def test_each_value_of_a_sweep_is_what_was_typed(folder):
    (read,) = read_typed([f"project=/a/{folder},{folder}"], sweep=True)
    assert [each.value for each in read.alternatives()] == [f"/a/{folder}", folder]


def test_a_comma_in_a_path_needs_quotes_in_a_sweep_only():
    (read,) = read_typed(["project='/a,b','/c, d',e"], sweep=True)
    assert [each.value for each in read.alternatives()] == ["/a,b", "/c, d", "e"]
    assert read_typed(["project=/a,b"])[0].value == "/a,b"
    assert read_typed(["project='/a,b'"])[0].value == "/a,b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("split.test=[2024_01_15,12,Mäuse,'a,b']", ["2024_01_15", "12", "Mäuse", "a,b"]),
        ("evaluation.comparison_bodyparts=[1,2_0]", [1, "2_0"]),
        ("conditions=12", 12),
        ("batch_size=1_6", 16),
        ("weights.path=null", None),
        ("project=a\\ b", "a b"),
        ("hydra.run.dir=ä/${now:%Y}", "ä/${now:%Y}"),
        ("weights={path:x}", {"path": "x"}),
        ("model.recipe.graph=[[0,1],[1,2]]", [[0, 1], [1, 2]]),
    ],
)
def test_other_values_stay_what_they_are(text, value):
    assert read_typed([text])[0].value == value


@pytest.mark.parametrize("text", ["seed=1,2", "project=a,b", "project=choice(a,b)", "a=b=c"])
def test_what_hydra_reads_as_a_sweep_stays_as_it_was_typed(text):
    assert in_grammar(text, sweep=True) == text


def test_arguments_of_classes_that_are_text_are_known():
    """Those of the options of splits and loggers, by the types of the classes."""
    found = 0
    for group in ("split", "logger"):
        for name in options(group, conf_folder()):
            for path, node in nodes(option(group, name).values, group):
                if not isinstance(node, dict) or "_target_" not in node:
                    continue
                for argument in arguments(find_class(node["_target_"], path))[0].values():
                    text = argument.problem("1 a,b") is None and argument.problem({}) is not None
                    if text and argument.name not in ("save_dir", "mode"):
                        assert text_key(f"{path}.{argument.name}"), (path, argument.name)
                        found += 1
    assert found > 5


@pytest.mark.parametrize("key", PATHS)
def test_home_is_expanded_whatever_the_shell(key, monkeypatch):
    monkeypatch.setenv("HOME", "/home/bob b")
    monkeypatch.setenv("USERPROFILE", "/home/bob b")
    home = os.path.expanduser("~")  # noqa: PTH111
    assert read_typed([f"{key}=~/mouse"])[0].value == str(Path(home, "mouse"))
    (both,) = read_typed([f"{key}=~/a,~"], sweep=True)
    assert [each.value for each in both.alternatives()] == [str(Path(home, "a")), home]


@pytest.fixture
def projects(tmp_path):
    """A project in a folder of each name that this file system takes."""
    made = []
    for number, name in enumerate(FOLDERS):
        folder = tmp_path / str(number) / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(
            "Task: mouse\nscorer: me\ndate: Nov24\nmultianimalproject: false\nbodyparts: [a, b]\n"
        )
        made.append(folder)
    return made


def test_a_project_is_found_in_any_folder(projects):
    for folder in projects[:8]:
        assert rewritten([f"project={folder}"])[0].value == str(folder)
    for folder in (projects[0], projects[1], projects[4]):
        assert compose_tree(rewritten([f"project={folder}"])).metadata.num_bodyparts == 2


def test_the_run_folder_is_the_one_that_was_typed(projects, monkeypatch):
    monkeypatch.setenv("HOME", str(projects[0]))
    monkeypatch.setenv("USERPROFILE", str(projects[0]))
    tree, folder = compose_run(["project=~", "hydra.run.dir=~/2024_01_15"])
    assert tree.project == str(projects[0])
    assert folder == projects[0] / "2024_01_15"


def test_own_options_are_found_in_any_folder(projects):
    for folder in (projects[0], projects[1], projects[-1]):
        (folder / "experiment").mkdir()
        (folder / "experiment" / "mine.yaml").write_text("# @package _global_\nbatch_size: 3\n")
        tree = compose_tree([Override("experiment", "mine")], folder)
        assert tree.batch_size == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("batch_size: 3\n", "does not begin with '# @package _global_'"),
        ("\ufeff# @package _global_\nbatch_size: 3\n", "byte-order mark"),
        ("", "does not begin with '# @package _global_'"),
    ],
)
def test_an_overlay_without_its_first_line_is_refused(content, problem, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=problem):
        compose_tree([Override("experiment", "mine")], tmp_path)
