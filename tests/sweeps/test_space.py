import math
from collections.abc import Iterable

import pytest
from sweep_support import space_of

from dlcexp.config.overrides import Override, parse_overrides
from dlcexp.errors import ConfigError
from dlcexp.sweeps.space import (
    Choices,
    Condition,
    Interval,
    dimension_of,
    drawn,
    grid,
    paired,
)


def typed(jobs: Iterable[list[Override]]) -> list[list[str]]:
    """The overrides of jobs as one would type them."""
    return [list(map(str, job)) for job in jobs]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("optimizer=adamw", None),
        ("split.test=[a,b]", None),
        ("project='a,b'", None),
        ("optimizer=adamw,sgd", Choices("optimizer", ("adamw", "sgd"))),
        ("batch_size=choice(4,8)", Choices("batch_size", ("4", "8"))),
        ("split.fold=range(3)", Choices("split.fold", ("0", "1", "2"))),
        ("optimizer.lr=range(0.1,0.35,0.1)", Choices("optimizer.lr", ("0.1", "0.2", "0.3"))),
        (
            "data.train.affine=null,{rotation: 9}",
            Choices("data.train.affine", ("null", "{rotation:9}")),
        ),
        ("+a.b=1,2", Choices("+a.b", ("1", "2"))),
        (
            "optimizer@detector.optimizer=adam,sgd",
            Choices("optimizer@detector.optimizer", ("adam", "sgd")),
        ),
        (
            "model/backbone=glob(hrnet_*)",
            Choices("model/backbone", ("hrnet_w18", "hrnet_w32", "hrnet_w48")),
        ),
        ("optimizer.lr=interval(0.1,0.2)", Interval("optimizer.lr", 0.1, 0.2)),
        (
            "optimizer.lr=tag(log,interval(1e-5,1e-2))",
            Interval("optimizer.lr", 1e-5, 1e-2, log=True),
        ),
        ("epochs=int(interval(1,9))", Interval("epochs", 1, 9, integer=True)),
        ("epochs=tag(int,log,interval(1,9))", Interval("epochs", 1, 9, log=True, integer=True)),
    ],
)  # fmt: skip
def test_an_override_is_a_dimension(word, expected):
    assert dimension_of(Override.parse(word)) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a=interval(2,1)", r"^a: .*2\.0.*1\.0"),
        ("a=tag(log,interval(0,1))", r"^a: .*0"),
        ("a=tag(loog,interval(1,2))", "'loog'"),
        ("model/backbone=glob(nothing*)", "^model/backbone: "),
    ],
)
def test_what_varies_nothing_is_told(word, message):
    with pytest.raises(ConfigError, match=message):
        dimension_of(Override.parse(word))


def test_a_grid_crosses_all_with_all_the_last_fastest():
    space = space_of(["seed=1", "b=1,2"], {"a": "x,y"})
    assert typed(grid(space)) == [
        ["seed=1", "a=x", "b=1"],
        ["seed=1", "a=x", "b=2"],
        ["seed=1", "a=y", "b=1"],
        ["seed=1", "a=y", "b=2"],
    ]
    assert space.swept == ["a", "b"]


def test_the_command_line_wins_over_a_file():
    space = space_of(["a=z", "+b=1,2"], {"a": "x,y", "b": "3,4", "c": None, "d": [1, 2]})
    assert typed([space.fixed]) == [["c=null", "d=[1,2]", "a=z"]]
    assert space.dimensions == (Choices("+b", ("1", "2")),)


def test_paired_values_go_side_by_side():
    space = space_of(["a=1,2", "b=3,4", "c=0"], {})
    assert typed(paired(space)) == [["c=0", "a=1", "b=3"], ["c=0", "a=2", "b=4"]]
    with pytest.raises(ConfigError, match=r"\ba\b.*\b2\b.*\bb\b.*\b3\b"):
        typed(paired(space_of(["a=1,2", "b=3,4,5"], {})))


def test_dimensions_exist_only_where_their_condition_holds():
    where = {"optimizer=sgd,rmsprop": {"optimizer.momentum": "0.8,0.9"}}
    space = space_of(["optimizer=adamw,sgd"], {}, where)
    assert typed(grid(space)) == [
        ["optimizer=adamw"],
        ["optimizer=sgd", "optimizer.momentum=0.8"],
        ["optimizer=sgd", "optimizer.momentum=0.9"],
    ]
    fixed = space_of(["optimizer=rmsprop"], {}, where)
    assert len(typed(grid(fixed))) == 2
    assert Condition.parse("a=1,2 b=3").holds(parse_overrides(["a=2", "b=3"]))
    assert not Condition.parse("a=1,2 b=3").holds(parse_overrides(["a=2", "b=3", "a=4"]))


def test_a_grid_has_no_interval():
    with pytest.raises(ConfigError, match=r"lr: .*hydra/sweeper=optuna"):
        typed(grid(space_of(["lr=interval(0.1,1.0)"], {})))


def test_draws_follow_the_seed_and_the_limits():
    words = ["lr=tag(log,interval(1e-5,1e-1))", "n=int(interval(2,4))", "m=a,b"]
    lines = typed(drawn(space_of(words, {}), 400, seed=1))
    assert lines == typed(drawn(space_of(words, {}), 400, seed=1))
    assert lines != typed(drawn(space_of(words, {}), 400, seed=2))
    rates = [float(line[0].removeprefix("lr=")) for line in lines]
    assert min(rates) >= 1e-5
    assert max(rates) <= 1e-1
    # Evenly in the logarithm: half of the draws lie below the geometric mean.
    assert sum(rate < 1e-3 for rate in rates) == pytest.approx(200, abs=4 * math.sqrt(100))
    assert {line[1] for line in lines} == {"n=2", "n=3", "n=4"}


def test_nothing_is_drawn_twice():
    lines = typed(drawn(space_of(["a=1,2", "b=x,y"], {}), 50, seed=0))
    assert sorted(map(tuple, lines)) == [
        ("a=1", "b=x"), ("a=1", "b=y"), ("a=2", "b=x"), ("a=2", "b=y"),
    ]  # fmt: skip


def test_all_is_run_with_each_variant():
    space = space_of(["b=1,2"], {}, {}, [None, "c.d=null e=3"])
    assert typed(grid(space)) == [
        ["b=1"],
        ["b=1", "c.d=null", "e=3"],
        ["b=2"],
        ["b=2", "c.d=null", "e=3"],
    ]
    assert space.swept == ["b", "c.d", "e"]
