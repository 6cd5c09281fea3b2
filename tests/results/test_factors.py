"""The keys that tell experiments apart, as a user would type them."""

import pytest
from sweep_support import tree_with

from dlcexp.results.factors import find_factors, values_by_key
from dlcexp.trees import ABSENT


def found(*experiments, swept=()):
    """Names and values of the factors of experiments, each (changes to the tree, words)."""
    trees = [tree_with(changes) for changes, _ in experiments]
    words = [values_by_key(said) for _, said in experiments]
    return {
        factor.name: [factor.value(t, w) for t, w in zip(trees, words, strict=True)]
        for factor in find_factors(trees, words, swept)
    }


WEIGHTS, FROZEN = "model.backbone.weights", "model.backbone.freeze_bn_stats"
SGD = {"optimizer._target_": "torch.optim.SGD", "optimizer.momentum": 0.9}


@pytest.mark.parametrize(
    ("experiments", "expected"),
    [
        pytest.param([({}, []), ({}, [])], {}, id="equal"),
        pytest.param(
            [({}, ["optimizer=adamw"]), (SGD, ["optimizer=sgd"])],
            {"optimizer": ["adamw", "sgd"]},
            id="an option explains all keys of its node",
        ),
        pytest.param(
            [({}, []), (SGD, ["optimizer=sgd"])],
            {"optimizer": ["AdamW", "sgd"]},
            id="a default option is told by its class",
        ),
        pytest.param(
            [({}, []), ({"optimizer.lr": 0.01}, ["optimizer.lr=1e-2"])],
            {"optimizer.lr": [0.001, 0.01]},
            id="a key has its value even where it was not typed",
        ),
        pytest.param(
            [({}, []), (SGD, [])],
            {"optimizer": ["AdamW", "SGD"]},
            id="what nobody typed is found in the trees, the class first",
        ),
        pytest.param(
            [({}, ["epochs=2", "device=cpu"]), ({"device": "cuda"}, ["device=cuda"])],
            {},
            id="where it computes is no factor",
        ),
        pytest.param(
            [({}, ["net_type=dekr_w18"]), ({"model.a": 1}, ["net_type=dekr_w32"])],
            {"net_type": ["dekr_w18", "dekr_w32"]},
            id="a group that leaves no key of its own",
        ),
        pytest.param(
            [({}, ["epochs=2"]), ({"callbacks": {}}, ["epochs=2"])],
            {},
            id="an empty node that older experiments lack is no factor",
        ),
        pytest.param(
            [
                ({"callbacks": {}}, ["callbacks=none"]),
                ({"callbacks.ema.decay": 0.9}, ["callbacks=ema"]),
            ],
            {"callbacks": ["none", "ema"]},
            id="callbacks",
        ),
        pytest.param(
            [({"model.recipe.lr": 1}, []), ({"model.recipe.lr": 2}, [])],
            {},
            id="a recommendation takes effect elsewhere",
        ),
        pytest.param(
            [({"a.b.lr": 1}, ["a.b.lr=1"]), ({"a.b.lr": 2}, ["++a.b.lr=2"])],
            {"b.lr": [1, 2]},
            id="the last two parts of a key are its name",
        ),
        pytest.param(
            [
                ({WEIGHTS: "hf://timm/a", FROZEN: True}, ["net_type=a"]),
                ({WEIGHTS: "hf://timm/b", FROZEN: True}, ["net_type=b"]),
                ({WEIGHTS: None, FROZEN: False}, ["net_type=c"]),
            ],
            {"net_type": ["a", "b", "c"]},
            id="the start follows from the network",
        ),
        pytest.param(
            [
                ({"model.backbone.name": "a", FROZEN: True, WEIGHTS: "a"}, []),
                ({"model.backbone.name": "b", FROZEN: False, WEIGHTS: None}, []),
            ],
            {"backbone.name": ["a", "b"]},
            id="also from one that was not typed",
        ),
        pytest.param(
            [
                ({FROZEN: True, WEIGHTS: "a", "seed": 1}, ["seed=1"]),
                ({FROZEN: False, WEIGHTS: None, "seed": 2}, ["seed=2"]),
            ],
            {"seed": [1, 2], "backbone.weights": ["a", None]},
            id="runs with different starts are not repeats",
        ),
        pytest.param(
            [
                ({FROZEN: True, WEIGHTS: "a", "seed": 1}, ["seed=1"]),
                ({FROZEN: "auto", WEIGHTS: "auto", "seed": 2}, ["seed=2"]),
            ],
            {"seed": [1, 2]},
            id="a run that has not begun has no start yet",
        ),
        pytest.param(
            [
                ({"trainer.precision": "bf16-mixed", "seed": 1}, ["seed=1"]),
                ({"trainer.precision": "auto", "seed": 2}, ["seed=2"]),
            ],
            {"seed": [1, 2]},
            id="nor a precision",
        ),
        pytest.param(
            [({}, ["~optimizer.lr"]), ({}, [])],
            {},
            id="what was typed without effect is no factor",
        ),
    ],
)
def test_factors(experiments, expected):
    assert found(*experiments) == expected


def test_names_are_longer_where_the_tails_are_equal():
    both = ({"a.b.lr": 1, "c.b.lr": 1}, []), ({"a.b.lr": 2, "c.b.lr": 3}, [])
    words = [(changes, [f"{k}={v}" for k, v in changes.items()]) for changes, _ in both]
    assert list(found(*words)) == ["a.b.lr", "c.b.lr"]


def test_an_experiment_without_a_tree_is_told_by_its_words():
    trees = [tree_with({"optimizer.lr": 0.1}), {}]
    words = [{"optimizer.lr": "0.1"}, {"optimizer.lr": "1e6"}]
    (factor,) = find_factors(trees, words)
    assert [factor.value(t, w) for t, w in zip(trees, words, strict=True)] == [0.1, "1e6"]


def test_the_order_is_that_of_the_sweep():
    experiments = [
        ({"seed": s, "optimizer.lr": r}, [f"seed={s}", f"optimizer.lr={r}"])
        for s in (0, 1)
        for r in (0.1, 0.2)
    ]
    assert list(found(*experiments, swept=["optimizer.lr", "seed"])) == ["optimizer.lr", "seed"]


def test_values_by_key():
    words = ["a=1", "+b='x y'", "~c", "++d={e: 1}", "f=a=b"]
    expected = {"a": "1", "b": "x y", "c": "(removed)", "d": "{e: 1}", "f": "a=b"}
    assert values_by_key(words) == expected
    assert repr(ABSENT) == "–"
