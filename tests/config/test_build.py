"""`build` makes what the tree says, and nothing that is not on the allow-list."""

import functools

import pytest
import torch

from dlcexp.config.build import allowing, build, check_targets, find_class
from dlcexp.errors import ConfigError

ADAMW = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.1}


def test_a_partial_target_becomes_a_partial_with_plain_arguments():
    partial = build({**ADAMW, "betas": [0.8, 0.9]}, key="optimizer")
    assert isinstance(partial, functools.partial)
    assert partial.func is torch.optim.AdamW
    assert type(partial.keywords["betas"]) is list


def test_a_recipe_is_a_recommendation_and_never_an_argument():
    assert build({**ADAMW, "recipe": {"lr": 1}}).keywords == {"lr": 0.1}


def test_an_unknown_keyword_names_the_full_key_and_the_nearest_argument():
    with pytest.raises(ConfigError, match=r"optimizer\.lrr: AdamW .*1.*'lr'"):
        build({"_target_": "torch.optim.AdamW", "_partial_": True, "lrr": 1}, key="optimizer")


def test_a_keyword_deep_in_the_node_is_found_too():
    node = {
        "a": [{"b": {"_target_": "torch.optim.lr_scheduler.StepLR", "_partial_": True, "x": 1}}]
    }
    with pytest.raises(ConfigError, match=r"s\.a\[0\]\.b\.x"):
        check_targets(node, "s")


def test_a_missing_argument_is_named():
    with pytest.raises(ConfigError, match=r"^scheduler: .*StepLR.*optimizer, step_size"):
        check_targets({"_target_": "torch.optim.lr_scheduler.StepLR"}, "scheduler")


def test_what_a_constructor_refuses_is_a_message_with_the_key():
    partial = {"_target_": "torch.optim.SGD", "params": [torch.zeros(1)], "lr": -1.0}
    with pytest.raises(ConfigError, match=r"^optimizer: .*SGD.*-1\.0"):
        build(partial, key="optimizer")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "torch.hub.load",
        "numpy.load",
        "builtins.eval",
        "pathlib.Path.write_text",
        "dlcexp.files.os.system",
        "dlcexp.files.write_text",
        "dlcexp.config.build.find_class",
        "torch.optim.lr_scheduler.types.FunctionType",
        "torch.optim.adamw.torch.load",
        "albumentations.core.utils.np.load",
        # Functions and modules under another name, through a module that is allowed.
        "logging.os.system",
        "dlcexp.files.tempfile.mkstemp",
        "dlcexp.files.Path.unlink",
        "dlcexp.errors.Iterable.__class__",
        "dlcexp.data.draw_demo.np.load",
        "dlcexp.config.build.sys.exit",
        "torch.optim.optimizer.torch.load",
        "torch.optim.sgd.torch.serialization.load",
        "albumentations.core.serialization.yaml.load",
        "",
        None,
        7,
    ],
)
def test_targets_that_are_not_classes_of_allowed_packages_are_refused(target):
    with pytest.raises(ConfigError):
        find_class(target, "key")


def test_a_misspelt_target_names_its_neighbour():
    with pytest.raises(ConfigError, match=r"^optimizer\._target_: .*AdamWW.*'AdamW'"):
        find_class("torch.optim.AdamWW", "optimizer._target_")


def test_a_user_extends_the_list_for_a_while():
    with allowing(["collections."]):
        assert build({"_target_": "collections.OrderedDict"}) == {}
    with pytest.raises(ConfigError):
        build({"_target_": "collections.OrderedDict"})
