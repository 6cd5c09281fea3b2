"""A node of the wrong type anywhere in the tree is composed or refused with a message."""

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from dlcexp.composition import compose
from dlcexp.config.build import plain
from dlcexp.config.checks import check_keys, check_tree
from dlcexp.deeplabcut.export import cannot_build, cannot_say, export_config
from dlcexp.errors import UserError

WRONG = (3, [1], "x")


def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value of a tree, nodes first."""
    for name, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, name)
        if isinstance(child, dict | list):
            yield from places(child, (*path, name))


def with_value(tree: Mapping[str, Any], path: tuple, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(dict(tree))
    node: Any = changed
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return changed


@pytest.mark.slow
@pytest.mark.parametrize("words", [["model=paf"], ["net_type=top_down_hrnet_w32"]], ids=str)
def test_each_node_of_a_tree_may_be_wrong(words, mouse_project):
    tree = plain(compose(f"project={mouse_project.as_posix()}", *words))
    for number, path in enumerate(places(tree)):
        whole = isinstance(tree[path[0]], dict) and len(path) < 3
        for value in WRONG if whole else [WRONG[number % 3]]:
            with suppress(UserError):
                cfg = check_keys(with_value(tree, path, value))
                check_tree(cfg)
                if whole:
                    cannot_build(cfg), cannot_say(cfg), export_config(cfg)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.heads.bodypart=3", "model.heads.bodypart"),
        ("model.heads=[1]", "model.heads"),
        ("model.backbone=x", "`backbone`"),
        ("model=3", "model"),
        ("scheduler.milestones=x", "scheduler.milestones"),
        ("scheduler.milestones=[1,x]", "scheduler.milestones"),
        ("data.train=5", "data.train"),
        ("data=[1]", "data"),
        ("detector=3", "detector"),
        ("weights=[1]", "weights"),
        ("logger=3", "logger"),
        ("+logger.mine=3", "logger.mine"),
        ("optimizer={a:1}", "optimizer"),
        ("+model.backbone.recipe=3", "model.backbone.recipe"),
        ("metadata=3", "metadata"),
        ("trainer=[]", "trainer"),
        ("callbacks=3", "callbacks"),
        ("split=3", "split"),
        ("trainer.limit_train_batches=2", "write '+trainer.limit_train_batches=2'"),
        ("+trainer.limit_train_batches=0", "trainer.limit_train_batches: 0 is not"),
        ("trainer.limit_batches=2", "Did you mean 'limit_train_batches'"),
        ("trainer.max_time=3", "callbacks=timer"),
        ("+trainer.max_time=3", "callbacks=timer"),
        ("+trainer.gradient_clip_algorithm=value", "without trainer.gradient_clip_val"),
    ],
)
def test_an_override_of_the_wrong_type_names_its_key(override, key, mouse_project):
    with pytest.raises(UserError, match=re.escape(key)):
        compose(f"project={mouse_project.as_posix()}", "model=heatmap", override)
