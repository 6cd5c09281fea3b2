"""Limbs chosen after training: when, where the choice stands, and that a run goes on with it."""

import pytest
import torch
from omegaconf import OmegaConf
from training_support import scores

from dlcexp.composition import compose
from dlcexp.config.build import allowing
from dlcexp.data.loading import PoseData
from dlcexp.training import RunFolder, train
from dlcexp.training.select_edges import _is_to_be_settled, settle_edges

HEAD = "model.heads.bodypart"
EDGES = f"{HEAD}.predictor.edges_to_keep"
OWN = ["allow_targets=[own_classes.]"]
PREDICTOR = "own_classes.MyPartAffinityFieldPredictor"


@pytest.mark.parametrize(
    ("words", "settled"),
    [
        (["model=paf"], True),
        (["model=dlcrnet"], True),
        (["model=paf", "train.select_edges=false"], False),
        (["model=paf", "model.recipe.graph=skeleton"], False),  # a tree
        (["model=paf", f"{EDGES}=[0,1,2,3,4,5]"], False),
        (["model=dekr"], False),
        (["model=paf", *OWN, f"{HEAD}._target_=own_classes.MyDLCRNetHead"], True),
        (["model=paf", *OWN, f"{HEAD}.predictor._target_={PREDICTOR}"], True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_edges_are_chosen_where_there_is_a_choice(words, settled):
    cfg = compose(*words)
    with allowing(cfg.allow_targets):
        assert _is_to_be_settled(cfg) is settled


@pytest.mark.slow
def test_the_choice_stands_in_both_configurations_and_a_run_goes_on_with_it(tmp_path, caplog):
    sizes = ["data.resize", "data.train.crop_sampling"]
    cfg = compose(
        *("model=paf", "model/backbone=timm", "model.backbone.model_name=resnet10t"),
        *(f"{each}.{side}=64" for each in sizes for side in ("width", "height")),
        *("epochs=1", "save_epochs=1", "batch_size=4", "device=cpu", "evaluation.examples=0"),
        *("split.train_fraction=0.2", "trainer.progress_bar=false", "logger=none"),
        "evaluation.oks_sigma=5",  # any pose is similar, after so little training
    )
    every = list(OmegaConf.select(cfg, EDGES))
    run = train(cfg, tmp_path)
    chosen = list(OmegaConf.select(run.cfg, EDGES))
    exported = OmegaConf.load(tmp_path / "pytorch_config.yaml")
    assert list(OmegaConf.select(exported, EDGES)) == chosen
    assert 6 <= len(chosen) <= len(every)
    assert set(chosen) <= set(every)
    log = (tmp_path / "log.txt").read_text()
    assert f"{len(chosen)} of 21" in log
    assert run.model().heads["bodypart"].predictor.edges.tolist() == chosen
    strict = OmegaConf.merge(cfg, {"evaluation": {"oks_sigma": 1e-4}})
    with caplog.at_level("INFO", logger="dlcexp"):
        assert settle_edges(strict, RunFolder(tmp_path), PoseData(cfg), torch.device("cpu")) is None
    assert "all 21" in caplog.text
    again = train(cfg, tmp_path)  # all limbs in its tree, and yet the same experiment
    assert list(OmegaConf.select(again.cfg, EDGES)) == chosen
    assert scores(again) == scores(run)
