"""`dlcexp schema` is valid and true of what dlcexp composes; every key has a meaning and a unit."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf

from dlcexp.cli import main
from dlcexp.composition import compose
from dlcexp.config.augmentation_keys import AUGMENTATIONS
from dlcexp.config.options import Option, read_options
from dlcexp.config.reference import option_keys
from dlcexp.config.schema import TREE
from dlcexp.config.value_types import Fields, Key
from dlcexp.trees import ABSENT, join, select

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = list(read_options(ROOT / "conf"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["schema"]) == 0
    schema = json.loads(text.getvalue())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def problems(validator: Draft202012Validator, document: dict) -> list[str]:
    return [f"{each.json_path}: {each.message[:200]}" for each in validator.iter_errors(document)]


def placed(option: Option) -> dict:
    """What an option says, where it stands in the tree."""
    document = option.values
    for part in reversed(option.place.split(".") if option.place else []):
        document = {part: document}
    return document


@pytest.mark.parametrize("option", OPTIONS, ids=lambda each: f"{each.group}={each.name}")
def test_every_option_is_valid_where_it_stands(option, validator):
    assert problems(validator, placed(option)) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "multirun_examples").rglob("*.yaml")), ids=lambda path: path.stem
)
def test_every_example_of_an_overlay_is_valid(path, validator):
    if "experiment" not in path.parts:
        pytest.skip("an option of a group")
    assert problems(validator, yaml.safe_load(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["method=td", "logger=[csv,wandb]", "scheduler=sequential_lr"],
        ["method=ctd", "model=rtmpose", "model/backbone=prenet_cspnext_m"],
        ["net_type=dlcrnet_stride16_ms5", "+data.train.mine={_target_: albumentations.Blur}"],
    ],
    ids=str,
)
def test_a_composed_tree_is_valid(words, validator):
    assert problems(validator, OmegaConf.to_container(compose(*words))) == []


@pytest.mark.parametrize(
    "overlay",
    [
        {"optimizr": {"lr": 1}},
        {"batch_size": "many"},
        {"batch_size": 0},
        {"trainer": {"devics": 2}},
        {"trainer": {"precision": "bf16"}},
        {"optimizer": {"lr": "fast"}},
        {"optimizer": {"lrr": 1}},
        {"detector": {"optimizer": {"lrr": 1}}},
        {"model": {"heads": {"bodypart": {"predictor": {"nms_treshold": 1}}}}},
        {"model": {"backbone": {"freeze_bn_stats": "maybe"}}},
        {"data": {"train": {"affine": {"rotatio": 90}}}},
        {"data": {"train": {"hflipp": True}}},
    ],
    ids=str,
)
def test_a_mistake_in_an_overlay_is_seen(overlay, validator):
    assert problems(validator, overlay)


@pytest.mark.parametrize(
    "overlay",
    [
        {"epochs": "${model.recipe.epochs}", "optimizer": {"lr": "${..recipe.lr}"}},
        {"weights": "runs/mouse/done", "scheduler": None},
        {"optimizer": {"_target_": "mylab.Optimizer", "speed": 3}},
        {"defaults": [{"override /optimizer": "mine"}, "_self_"], "hydra": {"job": {}}},
    ],
    ids=str,
)
def test_what_an_overlay_may_say_is_let_through(overlay, validator):
    assert problems(validator, overlay) == []


def test_every_key_of_an_option_has_a_meaning():
    silent = {
        f"{option.group}={option.name}: {key.key}"
        for option in OPTIONS
        if option.group.partition("/")[0] not in ("method", "net_type", "experiment", "hydra", "")
        for key in option_keys(option)
        if not key.meaning and not key.key.endswith(("_target_", "_partial_"))
    }
    assert silent == set()


def declared(fields: Fields, path: str = "") -> Iterator[tuple[str, Key]]:
    for name, key in fields.keys.items():
        yield join(path, name), key
        if key.fields is not None:
            yield from declared(key.fields, join(path, name))


@pytest.mark.parametrize("fields", [TREE, AUGMENTATIONS], ids=["tree", "augmentations"])
def test_every_declared_key_has_a_meaning_and_a_number_its_unit(fields):
    for path, key in declared(fields):
        types = str([each.schema for each in key.types])
        is_number = "'integer'" in types.replace("['string', 'integer']", "") or "'number'" in types
        assert key.meaning, path
        assert bool(key.unit) or not is_number or key.fields is not None, path


def test_defaults_are_in_conf_and_not_in_the_declarations():
    values = OmegaConf.to_container(compose("method=td"))
    without = [
        path
        for path, key in declared(TREE)
        if key.needed and select(values, path, ABSENT) is ABSENT
    ]
    assert without == []


def test_the_reference_page_has_every_key_with_its_unit_default_and_meaning(capsys):
    assert main(["schema", "--reference"]) == 0
    page = capsys.readouterr().out
    for path, key in declared(TREE):
        row = rf"^\| `{re.escape(path)}` \|.*\| {re.escape(key.meaning)} \|$"
        assert re.search(row, page, re.MULTILINE), path
    assert "| `save_epochs` | a whole number from 1 up | epochs | `25` | " in page
    assert "| `optimizer.weight_decay` | a number | `0.01` | " in page


def test_options_of_ones_own_are_in_the_schema(tmp_path, capsys):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.SGD\nlr: 7.0\n")
    assert main(["schema", "--config-dir", str(tmp_path)]) == 0
    assert "mine" in capsys.readouterr().out
