"""A name of another tool is answered with what to type, which is there."""

import pytest

from dlcexp import compose
from dlcexp.config.compose import compose_tree
from dlcexp.config.options import groups, options
from dlcexp.config.overrides import Override
from dlcexp.config.synonyms import SYNONYMS
from dlcexp.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("learning_rate=0.1", "'optimizer.lr='"),
        ("lr=0.1", "'optimizer.lr'"),
        ("num_workers=4", "'trainer.num_workers'"),
        ("workers=4", "'trainer.num_workers='"),
        ("GPU=0", "'device=cuda:0'"),
        ("shuffle=1", "'split=dlc_shuffle split.shuffle='"),
    ],
)
def test_the_message_names_what_to_type(typed, meant):
    with pytest.raises(ConfigError, match=r"there is no such key") as error:
        compose(typed)
    assert f"Did you mean {meant}" in str(error.value)


@pytest.mark.parametrize("line", sorted({each for meant in SYNONYMS.values() for each in meant}))
def test_what_to_type_is_an_option_or_a_key(line):
    words = line.split()
    if words[0] == "dlcexp":
        return  # a command, which is read in test_settings.py
    typed = [Override.with_text(word) for word in words]
    choices = [each for each in typed if each.key in groups() and each.key != "logger"]
    assert all(each.value in options(each.key) for each in choices)
    tree = compose_tree([*choices, Override("method", "td")])
    for each in typed:
        parent, _, name = each.key.rpartition(".")
        node = tree
        for part in parent.split(".") if parent else []:
            node = node[part]
        assert name in node or each.key == "data.top_down_crop.width"
