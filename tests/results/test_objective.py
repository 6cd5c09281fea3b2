import json
import math

import pytest
from omegaconf import OmegaConf

from dlcexp.config.options import conf_folder
from dlcexp.config.overrides import parse_overrides
from dlcexp.errors import ConfigError
from dlcexp.results.ledger import Objective
from dlcexp.results.objective import better, natural, objectives, reached, unmeasured
from dlcexp.sweeps.sweep import Experiments


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("test.mAP", "maximize"),
        ("test.pck_0.1", "maximize"),
        ("speed.images_per_second", "maximize"),
        ("test.rmse", "minimize"),
        ("test_gt_boxes.rmse_pcutoff", "minimize"),
        ("train.total_loss", "minimize"),
    ],
)
def test_the_name_of_a_metric_says_which_way_it_is_better(metric, direction):
    assert natural(metric) == direction


def tree(metric, direction=None):
    return {"sweep": {"metric": metric, "direction": direction}, "method": "bu", "detector": None}


@pytest.mark.parametrize(
    ("words", "metric"),
    [
        (["method=td"], "val.mAP"),
        (["method=td", "train.stages=[pose]"], "val_gt_boxes.mAP"),
        (["method=td", "train.stages=[pose]", "detector.snapshot=run"], "val.mAP"),
        (["method=ctd"], "val_gt_conditions.mAP"),
        (["method=ctd", "conditions=0"], "val.mAP"),
        (["method=td", "split.val_fraction=null"], "test.mAP"),
        (["method=td", "train.stages=[pose]", "sweep.metric=speed.x"], "speed.x"),
    ],
)
def test_the_metric_is_one_that_jobs_will_have(words, metric):
    (objective,) = objectives(Experiments(conf_folder(), None).draft(parse_overrides(words)))
    assert objective.metric == metric


def test_several_metrics_are_several_objectives():
    found = objectives(tree(["test.rmse", "test.mAP"], [None, "minimize"]))
    assert found == (Objective("test.rmse", "minimize"), Objective("test.mAP", "minimize"))
    composed = OmegaConf.create(tree(["test.rmse", "test.mAP"]))
    assert [each.metric for each in objectives(composed)] == ["test.rmse", "test.mAP"]


@pytest.mark.parametrize(
    ("metric", "direction", "message"),
    [
        ([], None, r"^sweep\.metric: \[\]"),
        (3, None, r"^sweep\.metric: .*3"),
        ("test.mAP", "up", r"^sweep\.direction: 'up' .*maximize.*minimize"),
        (["test.mAP"], ["maximize", "minimize"], r"^sweep\.direction: .*\b1\b"),
    ],
)
def test_wrong_objectives_are_told(metric, direction, message):
    with pytest.raises(ConfigError, match=message):
        objectives(tree(metric, direction))


def test_what_a_job_reached(tmp_path):
    wanted = objectives(tree(["test.rmse", "test.mAP", "test.oks"]))
    assert all(map(math.isnan, reached(tmp_path, wanted)))
    (tmp_path / "metrics.json").write_text(json.dumps({"test.rmse": 3, "test.mAP": None}))
    assert reached(tmp_path, wanted)[0] == 3
    assert all(map(math.isnan, reached(tmp_path, wanted)[1:]))


def test_a_text_among_the_final_numbers_is_not_measured(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"test.rmse": 3, "start": "random"}))
    assert "'start' is not measured" in unmeasured(tmp_path, [Objective("start", "maximize")])


def test_a_number_that_is_none_is_never_the_best():
    (less,) = objectives(tree("test.rmse"))
    assert better(2.0, 3.0, less)
    assert better(2.0, None, less)
    assert not better(math.nan, None, less)
    assert not better(4.0, 3.0, less)
