"""The short forms of `weights`, and its mistakes."""

from pathlib import Path

import pytest

from dlcexp.composition import compose
from dlcexp.config.overrides import parse_overrides
from dlcexp.config.rewrite import expand
from dlcexp.errors import ConfigError


def test_the_short_forms_are_written_out() -> None:
    words = ["weights=runs/a", "weights.lr_scale.backbone=0.1"]
    expanded = expand(parse_overrides(words))
    assert list(map(str, expanded)) == ["weights.path=runs/a", "++weights.lr_scale.backbone=0.1"]


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
    with pytest.raises(ConfigError, match=r"weights\.path: .*gone'"):
        compose(*words, "resume=never")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["weights.freeze=backbon"], r"weights\.freeze: .*'backbon'.*'backbone'"),
        (
            ["weights.freeze=heads.bodyprt"],
            r"weights\.freeze: .*bodyprt'.*'heads\.bodypart'",
        ),
        (["weights.lr_scale.neck=0.1"], r"weights\.lr_scale: .*'neck'.*backbone"),
        (
            ["weights.freeze=backbone.model", "weights.lr_scale.backbone.model.stage2=0.1"],
            r"weights\.lr_scale\.backbone\.model\.stage2: .*weights\.freeze=backbone\.model",
        ),
        (
            ["weights.freeze=backbone", "weights.lr_scale.backbone=0.1"],
            r"weights\.lr_scale\.backbone: .*weights\.freeze=backbone",
        ),
    ],
)
def test_modules_are_told_before_the_network_is_built(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(*words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("weights.frezee=backbone", r"weights\.frezee: .*'backbone'.*'freeze'"),
        ("+weights=a", r"weights: .*'weights=a'"),
        ("weights=nowhere/a", r"weights\.path: .*'nowhere/a'.*snapshot"),
        ("weights=", r"weights\.path: '' "),
        ("weights=[a,b]", r"weights\.path: \['a', 'b'\] .*snapshot"),
        ("weights.freeze=[1]", r"weights\.freeze: \[1\] "),
        ("weights.lr_scale.backbone=low", r"weights\.lr_scale\.backbone: 'low' .*number"),
        (
            "weights.lr_scale.backbone=0",
            r"lr_scale\.backbone: 0 .*weights\.freeze=backbone",
        ),
        ("weights.lr_scale=0.1", r"weights\.lr_scale: 0\.1 .*weights\.lr_scale\.backbone=0\.1"),
        ("weights.bodyparts=[nose,nose]", r"weights\.bodyparts: 'nose' "),
        (
            "weights.bodyparts=superanimal_quadrupet",
            r"bodyparts: .*'superanimal_quadruped'",
        ),
    ],
)
def test_a_mistake_in_weights_is_told(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose(word)
