"""The short forms of `weights`, and its mistakes."""

import re
from pathlib import Path

import pytest

from dlcexp.config.composition import compose, expand
from dlcexp.errors import ConfigError


def test_the_short_forms_are_written_out() -> None:
    words = ["weights=runs/a", "weights.lr_scale.backbone=0.1"]
    assert expand(words) == ["weights.path=runs/a", "++weights.lr_scale.backbone=0.1"]
    assert expand(["weights=a,b"]) == ["weights.path=a,b"]


def test_weights_compose() -> None:
    given = [
        "weights=runs/a",
        "weights.freeze=backbone.stage2",
        "weights.lr_scale.backbone=0.1",
        "weights.lr_scale.heads.bodypart=2",
    ]
    weights = compose(*given).weights
    assert weights.path == "runs/a"
    assert weights.freeze == ["backbone.stage2"]
    assert weights.lr_scale == {"backbone": 0.1, "heads.bodypart": 2.0}
    assert compose("weights={path: a, freeze: [backbone]}").weights.freeze == ["backbone"]
    assert compose().weights == {"path": None, "bodyparts": None, "freeze": [], "lr_scale": {}}


def test_an_overlay_names_weights_in_short(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nweights: runs/a\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")
    assert compose("experiment=mine", config_dir=tmp_path).weights.path == "runs/a"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("weights.frezee=backbone", "Did you mean 'freeze'"),
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
