"""The start of a recorded run as text."""

import pytest

from dlcexp.runs.started_from import recorded_start

BACKBONE = {"_target_": "dlcexp.models.backbones.HRNet"}


def tree(weights, **more):
    return {"model": {"backbone": {**BACKBONE, "weights": weights}}, **more}


@pytest.mark.parametrize(
    ("recorded", "start"),
    [
        pytest.param(tree(None), "random", id="version 0.1"),
        pytest.param(tree("hf://timm/hrnet_w32.ms_in1k"), "ImageNet, hrnet_w32.ms_in1k", id="hub"),
        pytest.param(tree("auto"), None, id="not settled yet"),
        pytest.param(
            tree(None, method="td", detector={"model": {"weights": "auto"}}),
            None,
            id="detector not settled yet",
        ),
        pytest.param(
            tree(None, method="td", detector={"model": {"weights": "coco"}}),
            "random; detector: COCO",
            id="detector",
        ),
        pytest.param(
            tree(
                "auto",
                method="td",
                detector={"model": {"weights": "coco"}},
                train={"stages": ["detector"]},
            ),
            "detector: COCO",
            id="detector alone",
        ),
        pytest.param(
            tree(None, method="td", detector={"snapshot": "a.pt"}, train={"stages": ["pose"]}),
            "random; detector: snapshot a.pt",
            id="detector taken over",
        ),
        pytest.param({}, None, id="no tree"),
        pytest.param({**tree(None), "weights": 3}, None, id="damaged"),
        pytest.param({"model": [1]}, None, id="damaged model"),
        pytest.param(tree([1]), None, id="damaged weights"),
    ],
)
def test_recorded_start(recorded, start):
    assert recorded_start(recorded) == start
