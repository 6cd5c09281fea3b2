"""Interpolations of `conf/`: each is documented, and computes what its option needs."""

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from dlcexp.composition import compose
from dlcexp.config import resolvers
from dlcexp.config.compose import compose_tree
from dlcexp.config.overrides import Override, parse_overrides

ROOT = Path(__file__).resolve().parents[2]
CROPS = ["method=td", "model=heatmap"]


def value_of(text: str) -> Any:
    resolvers.register()
    tree = OmegaConf.create({"key": text, "none": [], "one": [2], "two": [2, 2]})
    return OmegaConf.to_container(tree, resolve=True)["key"]


def test_the_documentation_names_the_interpolations_of_the_options_and_no_others():
    files = (ROOT / "conf").rglob("*.yaml")
    used = {
        name
        for file in files
        for name in re.findall(r"\$\{dlcexp\.(\w+):", file.read_text("utf-8"))
    }
    page = (ROOT / "docs" / "concepts" / "tree.md").read_text("utf-8")
    assert set(re.findall(r"`dlcexp\.(\w+)`", page)) == used


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${dlcexp.subtract:20,5,1}", 15),
        ("${dlcexp.subtract:5,5,1}", 1),
        ("${dlcexp.divide:17,2}", 8),
        ("${dlcexp.divide:1,2,1}", 1),
        ("${dlcexp.divide:300,6,10}", 50),
        ("${dlcexp.divide:30,6,10}", 10),
        ("${dlcexp.lookup:true,{true:[1,2]},[]}", [1, 2]),
        ("${dlcexp.lookup:32,{32:{a:1},16:2},3}", {"a": 1}),
        ("${dlcexp.lookup:8,{32:1,16:2},3}", 3),
        ("${dlcexp.lookup:true,{true:null},3}", None),
        ("${dlcexp.deconvolution_channels:64,5,${none}}", [64]),
        ("${dlcexp.deconvolution_channels:64,5,${one}}", [64, 5]),
        ("${dlcexp.deconvolution_channels:64,5,${two}}", [64, 32, 5]),
    ],
)
def test_an_interpolation_gives_its_value(text, value):
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        ([*CROPS, "model.recipe.deconvolve=true"], "heads.bodypart.heatmap_config.strides", [2]),
        ([*CROPS, "model.recipe.deconvolve=true"], "heads.bodypart.locref_config.final_conv", None),
        (["model=dlcrnet", "model.backbone.output_stride=32"], "recipe.coarse", True),
        (
            ["model=dlcrnet", "model.backbone.output_stride=32"],
            "heads.bodypart.heatmap_config.channels",
            [2304, 1152, 7],
        ),
        (
            ["model=paf", "model.backbone.interpolate_branches=true"],
            "backbone_output_channels",
            480,
        ),
        (
            ["model=dekr", "model.backbone.interpolate_branches=false"],
            "backbone_output_channels",
            18,
        ),
    ],
    ids=str,
)
def test_a_key_that_others_follow_keeps_its_effect(overrides, key, value):
    assert OmegaConf.select(compose(*overrides).model, key) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${dlcexp.choose:${dlcexp.equal:td,td},[3],[]}", [3]),
        ("${dlcexp.choose:${dlcexp.equal:bu,td},1,null}", None),
        ("${dlcexp.half:7}", 3),
        ("${dlcexp.half:1}", 1),
        ("${dlcexp.remaining:20,5}", 15),
        ("${dlcexp.remaining:3,5}", 1),
        ("${dlcexp.sixth:30,10}", 10),
    ],
)
def test_the_options_of_a_sweep_begun_with_version_0_1_are_understood(text, value):
    """A sweep is resumed with its own copy of them."""
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("words", "width", "height"),
    [
        ([], 448, 448),
        (["data.longest_max_size=256"], 256, 256),
        (["data.longest_max_size=250"], 224, 224),
        (["data.longest_max_size=640"], 448, 448),
        (["data.resize.width=320", "data.resize.height=256"], 320, 256),
        (["data.resize.width=320"], 320, 320),
        (["data.longest_max_size=256", "data.train.crop_sampling.width=128"], 128, 256),
        (["data.resize=null"], 448, 448),
    ],
)
def test_training_crops_follow_the_size_of_resized_frames(words, width, height):
    tree = compose_tree([*parse_overrides(words), Override("model", "dekr")])
    crop = tree.data.train.crop_sampling
    assert (crop.width, crop.height) == (width, height)
