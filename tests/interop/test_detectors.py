"""Detectors find what DeepLabCut's find, and train towards the same, with the same weights."""

import json

import numpy as np
import pytest
import torch

from dlcexp.models.detectors import FasterRCNN, SSDLite

DETECTORS = [
    "ssdlite",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
]

# Faster R-CNN enlarges images to a side of 800 or 1333 px: those of wide ones are few.
HEIGHT, WIDTH = 48, 480
# Two animals and the zeros of an absent one, then none.
BOXES = [
    [[10, 4, 60, 40], [170.5, 10.25, 100, 33], [0, 0, 0, 0]],
    [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
]


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_the_same_weights_give_the_same_boxes_and_losses(deeplabcut, parity, tmp_path, name):
    keywords = {"freeze_bn_stats": True, "freeze_bn_weights": False, "box_score_thresh": 0.01}
    if name == "ssdlite":
        node = {"type": "SSDLite", "variant": None, **keywords}
        detector = SSDLite(weights=None, **keywords)
    else:
        node = {"type": "FasterRCNN", "variant": name, **keywords}
        detector = FasterRCNN(variant=name, weights=None, **keywords)
    state = parity.fill.fill_state_dict(detector.state_dict())
    # Some scores between the thresholds of 0.001 and 0.01, which SSDLite and the rest have.
    for key in state:
        if "classification_head" in key and key.endswith(".1.bias"):
            state[key][1::2] -= 5
    detector.load_state_dict(state)
    images = torch.from_numpy(parity.fill.image(2, HEIGHT, WIDTH))
    boxes = torch.tensor(BOXES)

    torch.save(state, tmp_path / "weights.pt")
    np.savez(tmp_path / "inputs.npz", images=images, boxes=boxes)
    files = [tmp_path / file for file in ("weights.pt", "inputs.npz", "hub", "theirs.npz")]
    said = deeplabcut("run_detector", json.dumps(node), *files)
    theirs = np.load(tmp_path / "theirs.npz")

    assert said["state"] == list(detector.state_dict())
    with torch.inference_mode():
        found = detector.eval()(images)
    for index, of_image in enumerate(found):
        corners = theirs[f"{index}/boxes"]
        assert len(corners) > 0
        expected = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        np.testing.assert_allclose(of_image["boxes"], expected, atol=1e-3)
        np.testing.assert_allclose(of_image["scores"], theirs[f"{index}/scores"], rtol=1e-5)

    torch.manual_seed(0)
    losses = detector.train().losses(images, boxes)
    total = losses.pop("total_loss")
    assert {f"loss/{key}" for key in losses} == {key for key in theirs if key.startswith("loss/")}
    for key, loss in losses.items():
        assert loss.item() == pytest.approx(theirs[f"loss/{key}"].item(), rel=1e-5), key
    assert total.item() == pytest.approx(sum(theirs[f"loss/{key}"].item() for key in losses))
