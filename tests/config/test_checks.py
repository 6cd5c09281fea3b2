"""Callbacks and the short forms of `weights`, and their mistakes."""

from pathlib import Path

import pytest
from lightning.pytorch import callbacks as lightning
from omegaconf import OmegaConf

from dlcexp.composition import compose
from dlcexp.config.overrides import parse_overrides
from dlcexp.config.resolvers import tree_hash
from dlcexp.config.rewrite import expand
from dlcexp.errors import ConfigError

TARGET = "+callbacks.mine._target_=lightning.pytorch.callbacks."


def test_callbacks_compose_and_none_is_the_default():
    assert list(compose("callbacks=[ema,timer]").callbacks) == ["ema", "timer"]
    assert compose("callbacks=ema", "callbacks.ema.decay=0.9").callbacks.ema.decay == 0.9
    assert {str(compose(*words).callbacks) for words in ((), ("callbacks=none",))} == {"{}"}
    assert compose("callbacks=null").callbacks == {}


def test_a_tree_without_callbacks_has_the_hash_of_before():
    tree = OmegaConf.to_container(compose())
    assert tree.pop("callbacks") == {}
    before = tree_hash(tree)
    assert tree_hash(tree | {"callbacks": {}}) == before
    averaged = OmegaConf.to_container(compose("callbacks=ema"))
    assert tree_hash(averaged) != before
    assert tree_hash(averaged) != tree_hash(
        OmegaConf.to_container(compose("callbacks=ema", "callbacks.ema.decay=0.9"))
    )


@pytest.mark.parametrize(
    ("name", "instead"), [("compile", "predict.backend=onnx"), ("autocast", "predict.precision")]
)
def test_what_only_deeplabcut_reads_is_named_with_what_to_set_here(name, instead, caplog):
    compose()
    assert "has no effect" not in caplog.text
    compose(f"inference.{name}.enabled=true")
    assert f"inference.{name}.enabled=true is written for DeepLabCut" in caplog.text
    assert instead in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["callbacks=emma"], r"^callbacks: 'emma' .*'ema'"),
        (["callbacks=ema", "callbacks.ema.decy=1"], r"^callbacks\.ema\.decy: .*'decay'"),
        (["callbacks=ema", "+callbacks.ema.decy=1"], r"^callbacks\.ema\.decy: .*'decay'"),
        (["callbacks=ema", "callbacks.ema.decay=x"], r"^callbacks\.ema\.decay: 'x' .*a number"),
        ([f"{TARGET}Tmer"], r"^callbacks\.mine\._target_: .*Tmer.*'Timer'"),
        (["+callbacks.mine._target_=os.system"], r"^callbacks\.mine\._target_: 'os.system' is not"),
        (["+callbacks.mine._target_=mylab.Mine"], r"^callbacks\.mine\._target_: .*allow_targets"),
        (["+callbacks.mine._target_=torch.optim.SGD"], r"^callbacks\.mine\._target_: SGD is not"),
        (["+callbacks.mine.decay=1"], r"^callbacks\.mine: .*no '_target_'"),
        (["callbacks=ema", "callbacks.ema=null"], r"^callbacks\.ema: .*'~callbacks\.ema'"),
        (["callbacks=ema", "+callbacks.ema._partial_=true"], r"^callbacks\.ema\._partial_: "),
        (
            [
                f"{TARGET}GradientAccumulationScheduler",
                "+callbacks.mine.scheduling={0: 2}",
                "trainer.accumulate_grad_batches=2",
            ],
            r"^trainer\.accumulate_grad_batches: 2, .*callbacks\.mine",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_named_with_its_key(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(*words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ModelCheckpoint", "trainer.max_snapshots"),
        ("OnExceptionCheckpoint", "last.ckpt"),
        ("EarlyStopping", r"trainer\.early_stopping\.patience"),
        ("TQDMProgressBar", r"trainer\.progress_bar"),
        ("RichProgressBar", r"trainer\.progress_bar"),
        ("LearningRateMonitor", "metrics.csv"),
        ("DeviceStatsMonitor", "each epoch"),
        ("BatchSizeFinder", "batch_size"),
        ("LearningRateFinder", r"optimizer\.lr"),
        ("BackboneFinetuning", r"weights\.freeze"),
        ("StochasticWeightAveraging", "callbacks=ema"),
        ("ModelPruning", "resume"),
        ("SpikeDetection", "resume"),
    ],
)
def test_a_callback_of_lightning_that_is_in_conflict_is_refused(name, remedy):
    assert hasattr(lightning, name)
    with pytest.raises(ConfigError, match=rf"^callbacks\.mine\._target_: {name} .*{remedy}"):
        compose(f"{TARGET}{name}")


def test_a_subclass_is_refused_as_its_parent(tmp_path, monkeypatch):
    (tmp_path / "stopping.py").write_text(
        "from lightning.pytorch.callbacks import EarlyStopping\n\n"
        "class Mine(EarlyStopping):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"^callbacks\.mine\._target_: Mine .*patience"):
        compose("allow_targets=[stopping.]", "+callbacks.mine._target_=stopping.Mine")


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
    assert compose().weights == {
        "path": None,
        "bodyparts": None,
        "freeze": [],
        "lr_scale": {},
        "layer_decay": None,
    }


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("weights.frezee=backbone", r"weights\.frezee: .*'backbone'.*'freeze'"),
        ("+weights=a", r"weights: .*'weights=a'"),
        ("weights=nowhere/a", r"weights\.path: .*'nowhere/a'.*snapshot"),
        ("weights=", r"weights\.path: '' "),
        ("weights=[a,b]", r"weights\.path: .*'\[a,b\]'.*snapshot"),
        ("weights.freeze=[1]", r"weights\.freeze: .*'1'"),
        ("weights.lr_scale.backbone=low", r"weights\.lr_scale\.backbone: 'low' .*number"),
        (
            "weights.lr_scale.backbone=0",
            r"lr_scale\.backbone: 0 .*weights\.freeze=backbone",
        ),
        ("weights.layer_decay=0", r"weights\.layer_decay: 0 .*above 0, at most 1"),
        ("weights.layer_decay=1.5", r"weights\.layer_decay: 1\.5 .*above 0, at most 1"),
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
