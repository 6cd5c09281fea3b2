"""Jobs that share the composing of their options are what they are composed alone."""

from pathlib import Path

import pytest

import dlcexp
from dlcexp.config.options import conf_folder
from dlcexp.config.overrides import parse_overrides
from dlcexp.errors import ConfigError
from dlcexp.sweeps.sweep import Experiments

LINES = [
    "seed=3 optimizer.lr=1e-2",
    "optimizer.lr=1e-2 optimizer=sgd optimizer.momentum=0.5",
    "~data.train.gaussian_noise ++data.train.hflip=true",
    "data.train.crop_sampling={width:64} +data.train.grayscale.p=0.5",
    "method=td detector.epochs=3 optimizer@detector.optimizer=sgd detector.optimizer.lr=1e-5",
    "~data.train.affine.p=0.5 seed=4 device='cpu'",
    "own/model=big seed=1",
    "own/model=small epochs=7 batch_size=${seed}",
    "experiment=quiet optimizer=sgd",
]
OVERLAY = """# @package _global_
defaults:
  - override /hydra/job_logging: disabled
  - override /hydra/sweeper: optuna
  - override /hydra/sweeper/sampler: random
hydra:
  help: {app_name: ours}
seed: 5
"""
MISTAKES = [
    "+optimizer.lr=3",
    "~optimizer.rate",
    "~optimizer.lr=3",
    "optimizer.rate=3",
    "optimizer.lr@rate=3",
    "seed=few",
    "epochs=",
]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with options in a group of the user's own, and an overlay that speaks of Hydra."""
    (tmp_path / "own" / "model").mkdir(parents=True)
    option = "# @package _global_\nbatch_size: 5\n"
    (tmp_path / "own" / "model" / "big.yaml").write_text(option)
    (tmp_path / "own" / "model" / "small.yaml").write_text("# @package _global_\nepochs: 2\n")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "quiet.yaml").write_text(OVERLAY)
    return tmp_path


def test_jobs_are_those_that_hydra_composes(own: Path) -> None:
    experiments = Experiments(conf_folder(), own)
    for line in LINES:
        words = [f"+{word}" if word.startswith("own/") else word for word in line.split()]
        assert experiments.tree(parse_overrides(words)) == dlcexp.compose(*words, config_dir=own), (
            line
        )
    for word in MISTAKES:
        with pytest.raises(ConfigError) as alone:
            dlcexp.compose("seed=1", word, config_dir=own)
        with pytest.raises(ConfigError) as shared:
            experiments.tree(parse_overrides(["seed=1", word]))
        assert str(shared.value) == str(alone.value)


def test_a_finished_run_takes_overrides_as_hydra_does() -> None:
    from dlcexp.config.compose import modified

    tree = dlcexp.compose()
    with pytest.raises(ConfigError, match=r"seed: .*'seed=3'"):
        modified(tree, parse_overrides(["+seed=3"]))
    with pytest.raises(ConfigError, match=r"epochs: .*\d+.*0"):
        modified(tree, parse_overrides(["~epochs=0"]))
