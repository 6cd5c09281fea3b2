"""Changes of a tree and the words for them mean the same."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcexp.config.compose import compose_tree
from dlcexp.config.overrides import Change, command_line, literal

TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF) | st.sampled_from("\\'\",=[]{}$ :#~"),
    max_size=12,
).filter(lambda text: "${" not in text)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcde_", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=80)
@given(VALUES)
def test_hydra_reads_a_literal_as_the_value(value):
    read = OverridesParser.create().parse_override(f"key={literal(value)}").value()
    assert read == value
    assert type(read) is type(value)


@settings(max_examples=50)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_a_shell_splits_a_command_line_into_its_words(words):
    assert shlex.split(command_line(words))[1:] == words


@pytest.mark.parametrize(
    "change",
    [
        Change("batch_size", 3),
        Change("data.train.collate", {"type": "ResizeFromDataSizeCollate", "min_scale": 0.4}),
        Change("data.inference.resize", {"width": 64, "height": 64}, "add"),
        Change("model.heads.bodypart.weight_init", kind="delete"),
        Change("model.backbone_output_channels", 64),
        Change("export.extra.runner.gpus", [0, 1], "add"),
        Change("scheduler.milestones", [1, 2]),
    ],
    ids=lambda change: change.word(),
)
def test_a_change_does_to_a_tree_what_its_word_does(change):
    tree = compose_tree([])
    change.apply(tree)
    assert tree == compose_tree([change.word()])
