"""`dlcexp schema`: valid, true of everything that dlcexp composes, and as fresh as the page."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf

from dlcexp.cli import main
from dlcexp.composition import compose
from dlcexp.config.catalogue import option_entries
from dlcexp.config.options import Option, read_options

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
    told_in_the_tree = ("", "data", "data_detector", "trainer", "method", "net_type", "experiment")
    silent = {
        f"{option.group}={option.name}: {entry.key}"
        for option in OPTIONS
        if option.group.partition("/")[0] not in (*told_in_the_tree, "hydra", "sweep")
        for entry in option_entries(option)
        if not entry.meaning and not entry.key.endswith(("_target_", "_partial_"))
    }
    assert silent == set()


def test_the_reference_page_is_fresh(capsys):
    assert main(["schema", "--reference"]) == 0
    page = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    if f"torch\n{version('torch')}." not in page:
        pytest.skip("docs/reference.md tells the arguments of another torch than this")
    assert capsys.readouterr().out == page, "dlcexp schema --reference > docs/reference.md"


def test_options_of_ones_own_are_in_the_schema(tmp_path, capsys):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.SGD\nlr: 7.0\n")
    assert main(["schema", "--config-dir", str(tmp_path)]) == 0
    assert "mine" in capsys.readouterr().out
