import pytest
from lightning.pytorch import callbacks as lightning
from omegaconf import OmegaConf

from dlcexp.composition import compose
from dlcexp.config.resolvers import tree_hash
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
