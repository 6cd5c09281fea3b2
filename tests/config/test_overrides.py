"""An override is read as Hydra reads it, written so that Hydra reads it back, and applied alike."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from dlcexp.config.compose import compose_tree
from dlcexp.config.overrides import Override, command_line, literal
from dlcexp.errors import ConfigError

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


KEYS = st.from_regex(r"[a-z_]{1,6}(\.[a-z_]{1,6}|\.[0-9]){0,2}", fullmatch=True)
GROUPS = st.from_regex(r"[a-z_]{1,6}(/[a-z_]{1,6}){0,2}", fullmatch=True)
OVERRIDES = st.builds(Override, KEYS, VALUES, st.sampled_from(["", "+", "++", "~"])) | st.builds(
    Override, GROUPS, TEXT, st.sampled_from(["", "+"]), st.none() | KEYS
)


@settings(max_examples=100, deadline=None)
@given(OVERRIDES)
def test_an_override_is_read_back_as_it_was_written(override):
    assert Override.parse(override.text) == override


@pytest.mark.parametrize(
    ("text", "key", "value", "prefix", "package"),
    [
        ("batch_size=4", "batch_size", 4, "", None),
        ("batch_size= 4", "batch_size", 4, "", None),
        ("+data.x='a=b'", "data.x", "a=b", "+", None),
        ("++weights.lr_scale.backbone=1e-1", "weights.lr_scale.backbone", 0.1, "++", None),
        ("~data.train.affine", "data.train.affine", None, "~", None),
        ("~epochs=3", "epochs", 3, "~", None),
        ("model/heads=[identity]", "model/heads", ["identity"], "", None),
        ("optimizer@detector.optimizer=sgd", "optimizer", "sgd", "", "detector.optimizer"),
        ("project=", "project", "", "", None),
        ("scheduler=null", "scheduler", None, "", None),
    ],
)
def test_the_parts_of_an_override(text, key, value, prefix, package):
    assert Override.parse(text) == Override(key, value, prefix, package, text)


@pytest.mark.parametrize(
    ("text", "place"),
    [("model/backbone=x", "model"), ("optimizer@detector.optimizer=sgd", "detector.optimizer")],
)
def test_the_place_of_a_group_choice(text, place):
    assert Override.parse(text).place == place


@pytest.mark.parametrize("text", ["epochs", "=1", "a=b=c", "a=(1)", "project=~/mouse", "--cfg", ""])
def test_what_hydra_cannot_read_is_refused_with_its_text(text):
    with pytest.raises(ConfigError, match="cannot read the override") as error:
        Override.parse(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=1,2", ["1", "2"]),
        ("a=x,'y z'", ["x", "'y z'"]),
        ("a=choice([1,2],{b:c})", ["[1,2]", "{b:c}"]),
        ("a=range(0.1,0.4,0.1)", ["0.1", "0.2", "0.3"]),
        ("a=range(3)", ["0", "1", "2"]),
        ("a='1,2'", ["'1,2'"]),
    ],
)
def test_the_values_of_a_sweep_as_typed(text, values):
    override = Override.parse(text)
    assert override.values() == values
    assert override.is_sweep == (len(values) > 1)
    assert [each.text for each in override.alternatives()] == [f"a={value}" for value in values]


@pytest.mark.parametrize(
    ("text", "alternatives"),
    [
        ("+a=interval(0.5,8)", ["+a=0.5", "+a=8.0"]),
        ("a=int(interval(1,8))", ["a=1", "a=8"]),
        ("a=tag(log,int,interval(1,8))", ["a=1", "a=8"]),
        ("model=glob(r*)", ["model=glob(r*)"]),
    ],
)
def test_a_sweep_without_a_list_of_values(text, alternatives):
    override = Override.parse(text)
    assert [each.text for each in override.alternatives()] == alternatives
    with pytest.raises(ConfigError, match=override.key):
        override.values()


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("run=multirun/lr=0.1,epochs=3", "run", "multirun/lr=0.1,epochs=3"),
        ("source='a b.mp4'", "source", "a b.mp4"),
        ("source=~/video (1).mp4", "source", "~/video (1).mp4"),
        ("seed=007", "seed", "007"),
        ("run=", "run", ""),
        ("FILE", "FILE", None),
    ],
)
def test_a_setting_of_a_command_is_text(text, key, value):
    setting = Override.with_text(text)
    assert (setting.key, setting.value) == (key, value)


@pytest.mark.parametrize(
    "override",
    [
        Override("batch_size", 3),
        Override("data.train.collate", {"type": "ResizeFromDataSizeCollate", "min_scale": 0.4}),
        Override("data.inference.resize", {"width": 64, "height": 64}, "+"),
        Override("model.heads.bodypart.weight_init", prefix="~"),
        Override("model.backbone_output_channels", 64),
        Override("export.extra.runner.gpus", [0, 1], "+"),
        Override("scheduler.milestones", [1, 2]),
    ],
    ids=str,
)
def test_an_override_does_to_a_tree_what_hydra_does(override):
    tree = compose_tree([])
    override.apply(tree)
    assert tree == compose_tree([override])
