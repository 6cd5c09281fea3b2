"""The options that a file of DeepLabCut's is made from, against the names that DeepLabCut gives."""

from pathlib import Path

import pytest
from parity_support import config_files

from dlcexp.config.options import options
from dlcexp.deeplabcut.choose_options import choose
from dlcexp.deeplabcut.defaults import assume
from dlcexp.errors import ConfigError
from dlcexp.project import open_project
from dlcexp.yaml_files import read_mapping


@pytest.fixture
def record(parity, tmp_path):
    """A config on record in a file, and its project."""

    def open_record(name, net):
        file = tmp_path / f"{net}.yaml"
        file.write_text(parity.config(name, net), encoding="utf-8")
        return file, open_project(str(parity.project(name)))

    return open_record


def sections_of(file: Path) -> dict:
    sections = assume(read_mapping(file))
    return sections | {"method": str(sections.get("method") or "bu").lower()}


def test_every_file_that_deeplabcut_wrote_is_the_net_type_that_it_was_made_with(record):
    """The name of a record is what DeepLabCut was asked for: net type, and detector."""
    known, seen = options("net_type"), 0
    for original in config_files():
        name, _, detector = original.stem.partition("__")
        file, project = record(original.parent.name, original.stem)
        choice = choose(sections_of(file), file, project)
        if name in known:
            seen += 1
            assert choice.net_type == name, file
        chosen = [each.value for each in choice.overrides if each.key == "detector"]
        assert chosen == ([detector] if detector not in ("", "ssdlite") else []), file
    assert seen > 40


def test_a_model_that_no_net_type_has_is_told_by_its_groups(record):
    file, project = record("openfield", "dekr_w18")
    sections = sections_of(file)
    resnet = sections_of(record("openfield", "resnet_50")[0])["model"]["backbone"]
    sections["model"] = sections["model"] | {"backbone": resnet}
    choice = choose(sections, file, project)
    assert choice.net_type is None
    assert list(map(str, choice.overrides[:2])) == ["model=dekr", "model/backbone=resnet_50"]


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"type": "SGD", "params": {"lr": 0.1}}, {"optimizer=sgd"}),
        ({"type": "AdamW", "params": {"lr": 0.1}}, set()),
        ({"type": "RMSprop", "params": {}}, {"optimizer=rmsprop"}),
    ],
)
def test_an_optimizer_is_chosen_by_its_class(record, node, words):
    file, project = record("openfield", "resnet_50")
    sections = sections_of(file)
    sections["runner"] = sections["runner"] | {"optimizer": node}
    chosen = choose(sections, file, project).overrides
    assert {each.text for each in chosen if each.key == "optimizer"} == words


def test_a_class_that_there_is_no_option_for_names_its_neighbour(record):
    file, project = record("openfield", "resnet_50")
    sections = sections_of(file)
    sections["runner"] = sections["runner"] | {"optimizer": {"type": "Adagrd"}}
    with pytest.raises(ConfigError, match=r"^runner\.optimizer\.type: .*'Adagrd'.*'Adagrad'"):
        choose(sections, file, project)
