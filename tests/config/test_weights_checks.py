"""The short forms of `weights`, and its mistakes."""

import re
from pathlib import Path

import pytest

from dlcexp.composition import compose
from dlcexp.config.rewrite import expand
from dlcexp.errors import ConfigError


def test_the_short_forms_are_written_out() -> None:
    words = ["weights=runs/a", "weights.lr_scale.backbone=0.1"]
    assert expand(words) == ["weights.path=runs/a", "++weights.lr_scale.backbone=0.1"]
    assert expand(["weights=a,b"]) == ["weights.path=a,b"]


@pytest.fixture
def run(tmp_path: Path) -> str:
    """The path of a folder, which might be that of a run."""
    (tmp_path / "run").mkdir()
    return (tmp_path / "run").as_posix()


def test_weights_compose(run: str) -> None:
    given = [
        f"weights={run}",
        "weights.freeze=backbone.stage2",
        "weights.lr_scale={backbone: 0.1}",
        "weights.lr_scale.heads.bodypart=2",
    ]
    weights = compose(*given).weights
    assert weights.path == run
    assert weights.freeze == ["backbone.stage2"]
    assert weights.lr_scale == {"backbone": 0.1, "heads.bodypart": 2.0}
    weights = compose(f"weights={{path: {run}, lr_scale: {{backbone: 0.5}}}}").weights
    assert (weights.path, weights.freeze, weights.lr_scale) == (run, [], {"backbone": 0.5})
    assert compose().weights == {"path": None, "bodyparts": None, "freeze": [], "lr_scale": {}}


def test_an_overlay_names_weights_in_short(run: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = f"# @package _global_\nweights: {run}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")
    assert compose("experiment=mine", config_dir=tmp_path).weights.path == run


def test_a_run_that_goes_on_needs_its_weights_no_more(tmp_path: Path) -> None:
    words = [f"weights={tmp_path.as_posix()}/gone", f"hydra.run.dir={tmp_path.as_posix()}"]
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "last.ckpt").touch()
    assert compose(*words).weights.path.endswith("gone")
    with pytest.raises(ConfigError, match=r"weights\.path: there is no '.*gone'"):
        compose(*words, "resume=never")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["weights.freeze=backbon"], "weights.freeze: the network has no 'backbon'; it has"),
        (["weights.freeze=heads.bodyprt"], "Did you mean 'heads.bodypart'"),
        (["weights.lr_scale.neck=0.1"], "weights.lr_scale: the network has no 'neck'"),
        (
            ["weights.freeze=backbone.model", "weights.lr_scale.backbone.model.stage2=0.1"],
            "weights.lr_scale.backbone.model.stage2: has no effect beside weights.freeze=",
        ),
        (
            ["weights.freeze=backbone", "weights.lr_scale.backbone=0.1"],
            "weights.lr_scale.backbone: has no effect beside weights.freeze=backbone",
        ),
    ],
)
def test_modules_are_told_before_the_network_is_built(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        compose(*words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("weights.frezee=backbone", "Did you mean 'freeze'"),
        ("+weights=a", "Write 'weights=a'."),
        ("weights=nowhere/a", "weights.path: there is no 'nowhere/a'. Allowed: a snapshot"),
        ("weights=", "weights.path: '' is not allowed"),
        ("weights=[a,b]", "weights.path: ['a', 'b'] is not allowed. Allowed: a snapshot"),
        ("weights.freeze=[1]", "a name, or a list of names"),
        ("weights.lr_scale.backbone=low", "weights.lr_scale.backbone: 'low' is not a number"),
        ("weights.lr_scale.backbone=0", "weights.freeze=backbone"),
        ("weights.lr_scale=0.1", "weights.lr_scale.backbone=0.1"),
        ("weights.bodyparts=[nose,nose]", "'nose' is named twice"),
        ("weights.bodyparts=superanimal_quadrupet", "Did you mean 'superanimal_quadruped'"),
    ],
)
def test_a_mistake_in_weights_is_told(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        compose(word)
