"""All mistakes of a command come in one error, in the order in which they were typed."""

import re

import pytest

from dlcexp.cli import main
from dlcexp.composition import compose
from dlcexp.config.compose import modified
from dlcexp.config.mistakes import all_mistakes
from dlcexp.config.overrides import parse_overrides
from dlcexp.errors import ConfigError, Mistakes, UserError


def keys_of(message: str) -> list[str]:
    """The key that each line of a message begins with."""
    return re.findall(r"^  ([^\s:]+): ", message, flags=re.MULTILINE)


# One command each; the mistakes are found by Hydra, by the schema, by the classes and by the
# checks across keys, which run one after the other.
COMMANDS = [
    ["batch_sz=3", "optimizer.lrr=1", "split=kfoldd", "data.train.affine.rotaton=3"],
    ["batch_size=a", "modle=dekr", "+optimizer.lrr=3", "epochs=-1", "data.train.hflip=7"],
    ["+scheduler.a=1", "+optimizer.b=1", "+optimizer.c=2", "batch_size=0"],
    ["trainer.devices=0", "model=dekrr", "seed=x"],
    ["evaluation.comparison_bodyparts=[nobody]", "optimizer.lr=fast", "weights.freeze=[tail]"],
]


@pytest.mark.parametrize("overrides", COMMANDS, ids=" ".join)
def test_every_mistake_is_named_once_and_in_order(overrides):
    with pytest.raises(Mistakes) as caught:
        compose(*overrides)
    typed = [override.lstrip("+").partition("=")[0] for override in overrides]
    assert keys_of(str(caught.value)) == typed
    assert len(caught.value.errors) == len(overrides)


@pytest.mark.parametrize("command", [["--cfg", "job"], ["export"], ["-m", "seed=1,2"]])
def test_every_command_that_composes_does_so(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "batch_sz=3", "epochs=0", "optimizer=adamww"]) == 2
    error = capsys.readouterr().err
    assert keys_of(error) == ["batch_sz", "epochs", "optimizer"]
    assert "'batch_size'" in error
    assert "'adamw'" in error
    assert not list(tmp_path.iterdir())


def test_a_finished_run_refuses_all_that_does_not_fit_it():
    words = ["batch_sz=3", "evaluation.pcutoff=-1", "method=td"]
    with pytest.raises(Mistakes) as caught:
        modified(compose(), parse_overrides(words))
    assert [error.key for error in caught.value.errors] == [
        "batch_sz",
        "evaluation.pcutoff",
        "method",
    ]


def test_what_only_follows_from_a_mistake_is_not_another():
    # Without the method that was meant there is no detector, and no momentum without the optimizer.
    for overrides in (
        ["method=topdown", "detector.epochs=3"],
        ["optimizer=xyz", "optimizer.momentum=1"],
    ):
        with pytest.raises(ConfigError) as caught:
            compose(*overrides)
        assert caught.value.key == overrides[0].partition("=")[0]


def test_a_mistake_is_looked_for_under_the_option_that_was_meant():
    with pytest.raises(Mistakes) as caught:
        compose("optimizer=sgdd", "optimizer.momentum=much")
    assert [error.key for error in caught.value.errors] == ["optimizer", "optimizer.momentum"]
    assert "torch.optim.SGD" not in str(caught.value)


def test_what_was_probably_meant_is_not_blamed():
    with pytest.raises(ConfigError) as caught:
        compose("detector=ssdlight")  # ssdlite needs method=td
    assert "'ssdlite'" in str(caught.value)


def test_an_attempt_that_never_succeeds_ends():
    attempts = []

    def attempt(overrides):
        attempts.append(list(overrides))
        raise ConfigError("seed", "is refused.", suggestion="seed=1")

    with pytest.raises(UserError, match="seed: is refused"):
        all_mistakes(parse_overrides(["seed=3", "epochs=1"]), attempt)
    assert len(attempts) < 4
