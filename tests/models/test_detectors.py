"""Detectors: DeepLabCut's names, boxes and losses of any batch, weights, frozen batch norm."""

import logging
import math

import pytest
import torch
from parity_support import entries_of
from torch import nn
from torchvision.models import detection, get_model_weights
from torchvision.ops import box_convert, box_iou

from dlcexp.errors import UserError
from dlcexp.models.detectors import FasterRCNN, SSDLite

# The one that shows itself images small enough for a test.
SMALL = "fasterrcnn_mobilenet_v3_large_320_fpn"
KINDS = {"ssdlite": SSDLite, "faster rcnn": FasterRCNN}

NO_ANIMAL = [0.0, 0.0, 0.0, 0.0]
ANIMAL = [40.0, 30.0, 50.0, 40.0]


def make(kind, **keywords):
    """A detector with the same random weights each time."""
    torch.manual_seed(0)
    variant = {"variant": SMALL} if kind == "faster rcnn" else {}
    return KINDS[kind](**{**variant, "weights": None, **keywords})


def scene(*boxes, height=128, width=160):
    """One image per box, dark with a bright animal, and the boxes (b, 1, 4)."""
    images = -1 + 0.1 * torch.randn(len(boxes), 3, height, width, generator=torch.manual_seed(0))
    for image, (x, y, w, h) in zip(images, boxes, strict=True):
        image[:, int(y) : int(y + h), int(x) : int(x + w)] += 3
    return images, torch.tensor(boxes).unsqueeze(1)


def losses_of(detector, images, boxes):
    """Losses with the same random choice of regions each time."""
    torch.manual_seed(0)
    return {name: loss.item() for name, loss in detector.losses(images, boxes).items()}


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "trained statistics"])
@pytest.mark.parametrize(
    "name", ["ssdlite", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2"]
)
def test_names_shapes_and_types_are_those_of_deeplabcut(parity, name, frozen):
    keywords = {"freeze_bn_stats": frozen, "weights": None}
    detector = SSDLite(**keywords) if name == "ssdlite" else FasterRCNN(variant=name, **keywords)
    assert entries_of(detector) == parity.entries("detectors", name)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_are_on_the_pixels_of_the_image_and_the_best_comes_first(kind):
    detector = make(kind).eval()
    # A model without training gives every box about the same score.
    for name, parameter in detector.named_parameters():
        if "cls_score" in name or "classification_head" in name:
            nn.init.normal_(parameter, std=0.3)
    images, _ = scene(ANIMAL, NO_ANIMAL)
    with torch.no_grad():
        found = detector(images)
        expected = detector.model(list(images))
    assert len(found) == 2
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours["boxes"]) > 1
        assert ours["scores"].shape == ours["boxes"].shape[:1]
        assert torch.equal(ours["scores"], ours["scores"].sort(descending=True).values)
        x, y, w, h = ours["boxes"].unbind(dim=1)
        assert (x >= 0).all()
        assert (y >= 0).all()
        assert (x + w <= 160 + 1e-3).all()
        assert (y + h <= 128 + 1e-3).all()
        torch.testing.assert_close(torch.stack([x, y, x + w, y + h], 1), theirs["boxes"])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_found_is_an_empty_list_of_boxes(kind):
    detector = make(kind, box_score_thresh=0.999).eval()
    with torch.no_grad():
        found = detector(torch.zeros(2, 3, 64, 96))
    assert [of_image["boxes"].shape for of_image in found] == [(0, 4), (0, 4)]
    assert [of_image["scores"].shape for of_image in found] == [(0,), (0,)]


@pytest.mark.parametrize(("told", "used"), [(0.01, 0.001), (0.3, 0.3), (0.005, 0.005)])
def test_ssdlite_takes_the_threshold_deeplabcut_writes_for_the_one_it_uses(told, used):
    assert make("ssdlite", box_score_thresh=told).model.score_thresh == used


NOTHING = {
    "absent": NO_ANIMAL,
    "no width": [20, 20, 0, 30],
    "no height": [20, 20, 30, 0],
    "right": [160, 10, 20, 20],
    "left": [-30, 10, 30, 20],
    "above": [10, -20, 20, 20],
    "below": [10, 200, 20, 20],
    "unknown": [math.nan] * 4,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "nothing"),
    [("faster rcnn", list(NOTHING.values())), *(("ssdlite", [box]) for box in NOTHING.values())],
    ids=["faster rcnn", *NOTHING],
)
def test_boxes_that_show_no_animal_do_not_count(kind, nothing):
    detector = make(kind)
    images, boxes = scene(ANIMAL, ANIMAL)
    with_nothing = torch.cat([boxes, torch.tensor([nothing, nothing])], dim=1)
    assert losses_of(detector, images, with_nothing) == losses_of(detector, images, boxes)
    half_outside = torch.cat([boxes, boxes - torch.tensor([60.0, 0, 0, 0])], dim=1)
    assert losses_of(detector, images, half_outside) != losses_of(detector, images, boxes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "boxes",
    [[ANIMAL, NO_ANIMAL], [NO_ANIMAL, NO_ANIMAL], [ANIMAL], [NO_ANIMAL]],
    ids=["one empty", "both empty", "one image", "one empty image"],
)
def test_a_training_step_of_any_batch_is_finite(kind, boxes):
    detector = make(kind, freeze_bn_stats=False)
    images, boxes = scene(*boxes, height=96, width=128)
    losses = detector.losses(images, boxes)
    total = losses.pop("total_loss")
    assert total.item() == pytest.approx(sum(loss.item() for loss in losses.values()))
    total.backward()
    gradients = {n: p.grad for n, p in detector.named_parameters() if p.requires_grad}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(value.isfinite().all() for value in detector.state_dict().values())


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision_gives_about_the_same_losses_and_boxes(kind):
    detector = make(kind)
    images, boxes = scene(ANIMAL)
    exact = losses_of(detector, images, boxes)
    with torch.autocast("cpu", torch.bfloat16):
        rough = losses_of(detector, images, boxes)
        with torch.no_grad():
            found = detector.eval()(images)
    assert rough == pytest.approx(exact, rel=0.1, abs=0.05)
    assert all(of_image["boxes"].dtype == torch.float32 for of_image in found)


def test_a_single_image_leaves_statistics_of_single_pixels_alone():
    detector = make("ssdlite", freeze_bn_stats=False)
    coarsest = detector.model.backbone.extra[-1][-1][1]
    finest = detector.model.backbone.features[0][0][1]
    images, boxes = scene(ANIMAL, ANIMAL)
    detector.losses(images[:1], boxes[:1])
    assert (coarsest.running_mean == 0).all()
    assert (finest.running_mean != 0).any()
    detector.losses(images, boxes)
    assert (coarsest.running_mean != 0).any()
    detector.eval()(images[:1])
    assert not coarsest.training


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights_too", [True, False])
def test_frozen_statistics_stay_and_the_rest_trains(kind, weights_too):
    detector = make(kind, freeze_bn_stats=True, freeze_bn_weights=weights_too)
    before = {name: value.clone() for name, value in detector.named_buffers()}
    detector.train().losses(*scene(ANIMAL, ANIMAL))["total_loss"].backward()
    assert all(torch.equal(value, before[name]) for name, value in detector.named_buffers())
    layers = [m for m in detector.modules() if isinstance(m, nn.BatchNorm2d)]
    assert bool(layers) == (kind == "ssdlite")
    assert all((layer.weight.grad is None) == weights_too for layer in layers)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_move_unless_frozen_and_fit_frozen_ones(kind):
    detector = make(kind, freeze_bn_stats=False)
    before = {name: value.clone() for name, value in detector.named_buffers()}
    detector.losses(*scene(ANIMAL, ANIMAL))
    moved = [n for n, value in detector.named_buffers() if not torch.equal(value, before[n])]
    assert [name for name in moved if name.endswith("running_mean")]
    frozen = make(kind, freeze_bn_stats=True)
    frozen.load_state_dict(detector.state_dict())
    detector.load_state_dict(frozen.state_dict())
    images, _ = scene(ANIMAL)
    with torch.no_grad():
        ours, theirs = detector.eval()(images), frozen.eval()(images)
    torch.testing.assert_close(ours, theirs)


def test_frozen_statistics_on_random_weights_are_warned_of_once(caplog):
    detector = make("ssdlite")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            detector.losses(*scene(ANIMAL))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "detector.model.freeze_bn_stats=false" in caplog.text


@pytest.mark.parametrize("how", ["loaded", "evaluated", "not frozen"])
def test_no_warning_where_there_is_nothing_to_warn_of(caplog, how):
    detector = make("ssdlite", freeze_bn_stats=how != "not frozen")
    if how == "loaded":
        detector.load_state_dict(detector.state_dict())
    if how == "evaluated":
        detector.eval()(torch.zeros(1, 3, 64, 64))
    else:
        detector.losses(*scene(ANIMAL))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """State dicts as torchvision publishes them, for 91 classes, in a cache of torch hub."""
    torch.manual_seed(1)
    models = {
        "ssdlite320_mobilenet_v3_large": detection.ssdlite320_mobilenet_v3_large,
        SMALL: detection.fasterrcnn_mobilenet_v3_large_320_fpn,
    }
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    states = {}
    for name, builder in models.items():
        states[name] = builder(weights=None, weights_backbone=None).state_dict()
        if name == SMALL:  # frozen batch norm has no counters
            states[name] = {k: v for k, v in states[name].items() if "num_batches" not in k}
        url = get_model_weights(name).DEFAULT.url
        torch.save(states[name], folder / url.rpartition("/")[2])
    return states


@pytest.mark.parametrize("weights", ["auto", "coco"])
@pytest.mark.parametrize("kind", KINDS)
def test_coco_weights_come_from_the_cache(coco, caplog, kind, weights):
    with caplog.at_level(logging.INFO):
        detector = make(kind, weights=weights)
    state = coco[SMALL if kind == "faster rcnn" else "ssdlite320_mobilenet_v3_large"]
    loaded = detector.model.state_dict()
    other_shape = {key for key in state if state[key].shape != loaded[key].shape}
    assert other_shape
    assert all("class" in key or "box_predictor" in key for key in other_shape)
    assert all(torch.equal(loaded[key], state[key]) for key in state.keys() - other_shape)
    assert "COCO" in caplog.text
    assert all(key in caplog.text for key in other_shape)


def test_pretrained_lower_layers_are_not_trained(coco):
    detector = make("faster rcnn", weights="coco")
    still = [name for name, p in detector.named_parameters() if not p.requires_grad]
    assert still
    assert all(name.startswith("model.backbone.body.") for name in still)
    assert all(int(name.split(".")[3]) <= 6 for name in still)
    # As many as in DeepLabCut's, where batch norm is no parameter.
    assert len(still) == 30


def test_pretrained_weights_are_not_warned_of(coco, caplog):
    make("ssdlite", weights="coco").losses(*scene(ANIMAL))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_from_a_file_of_torchvision(coco, tmp_path, kind):
    name = SMALL if kind == "faster rcnn" else "ssdlite320_mobilenet_v3_large"
    torch.save(coco[name], tmp_path / "weights.pth")
    detector = make(kind, weights=str(tmp_path / "weights.pth"))
    first = next(iter(coco[name]))
    assert torch.equal(detector.model.state_dict()[first], coco[name][first])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_from_a_snapshot(tmp_path, kind):
    source = make(kind)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    content = {"metadata": {"epoch": 1}, "model": source.state_dict()}
    torch.save(content, tmp_path / "snapshot-detector-001.pt")
    detector = make(kind, weights=str(tmp_path / "snapshot-detector-001.pt"))
    for name, value in source.state_dict().items():
        assert torch.equal(detector.state_dict()[name], value), name


def test_without_network_auto_is_random_and_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    detector = make("ssdlite", weights="auto")
    assert equal(detector, make("ssdlite", weights=None))
    assert "detector.model.weights=FILE" in caplog.text


def test_a_broken_download_is_no_traceback(coco, tmp_path, caplog):
    for file in (tmp_path / "hub" / "checkpoints").iterdir():
        file.write_bytes(b"not found")
    detector = make("ssdlite", weights="auto")
    assert equal(detector, make("ssdlite", weights=None))
    assert "detector.model.weights=FILE" in caplog.text
    with pytest.raises(UserError, match="ssdlite320"):
        make("ssdlite", weights="coco")


def equal(one, other):
    """Whether two detectors have the same weights."""
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[1][name], value) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("kind", "keywords", "message"),
    [
        ("faster rcnn", {"variant": "fasterrcnn_resnet50_fpn_v3"}, "variant: .*'.*_fpn_v2'"),
        ("faster rcnn", {"variant": "ssdlite320_mobilenet_v3_large"}, "variant: .*fasterrcnn_"),
        ("ssdlite", {"variant": SMALL}, f"variant: .*{SMALL}.*SSDLite"),
        ("ssdlite", {"weights": "nowhere.pth"}, r"weights: 'nowhere\.pth'"),
        ("ssdlite", {"weights": "coco"}, "weights: .*weights=FILE"),
    ],
    ids=["unknown variant", "no Faster R-CNN", "variant of SSDLite", "no file", "offline"],
)
def test_mistakes_are_named(monkeypatch, tmp_path, kind, keywords, message):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        make(kind, **keywords)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.popitem(), r"weights\.pth.*\b1\b"),
        (lambda state: state.update(more=torch.zeros(1)), r"weights\.pth.*\b1\b.*\bmore\b"),
        (
            lambda state: state.update({"backbone.features.0.0.0.weight": torch.zeros(8, 3, 3, 3)}),
            r"features\.0\.0\.0\.weight.* 8x3x3x3 .* 16x3x3x3",
        ),
    ],
    ids=["missing", "unknown", "other shape"],
)
def test_weights_of_another_model_are_refused(coco, tmp_path, change, message):
    state = dict(coco["ssdlite320_mobilenet_v3_large"])
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message):
        make("ssdlite", weights=str(tmp_path / "weights.pth"))


@pytest.mark.slow
def test_a_detector_learns_where_the_animals_are():
    detector = make("ssdlite", freeze_bn_stats=False)
    for layer in detector.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.3  # 0.03 takes longer than this test
    images, boxes = scene(ANIMAL, [90.0, 70.0, 50.0, 40.0])
    optimizer = torch.optim.Adam(detector.parameters(), 1e-3)
    losses = []
    for _ in range(40):
        loss = detector.losses(images, boxes)["total_loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    with torch.no_grad():
        found = detector.eval()(images)
    for of_image, labelled in zip(found, boxes, strict=True):
        best = box_convert(of_image["boxes"][:1], "xywh", "xyxy")
        assert box_iou(best, box_convert(labelled, "xywh", "xyxy")).item() > 0.5
        assert of_image["scores"][0] > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_anchors_are_the_same_in_any_number_format(kind):
    """Trained in bfloat16 and applied in float32, a network must mean the same places."""
    detector = make(kind, freeze_bn_stats=False).train()
    model = detector.model
    anchors = (model.rpn if kind == "faster rcnn" else model).anchor_generator
    seen = []
    anchors.register_forward_hook(lambda layer, inputs, outputs: seen.append(outputs))
    images = torch.rand(2, 3, 96, 128)
    boxes = torch.tensor([[[10.0, 20.0, 40.0, 30.0]], [[50.0, 5.0, 30.0, 60.0]]])
    detector.losses(images, boxes)
    with torch.autocast("cpu", torch.bfloat16):
        detector.losses(images, boxes)
    for exact, mixed in zip(*seen, strict=True):
        assert torch.equal(exact, mixed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_a_network_of_another_number_format_trains(kind, dtype):
    detector = make(kind, freeze_bn_stats=False).train().to(dtype)
    boxes = torch.tensor([[[10.0, 20.0, 40.0, 30.0]], [[50.0, 5.0, 30.0, 60.0]]])
    losses = detector.losses(torch.rand(2, 3, 96, 128, dtype=dtype), boxes)
    losses["total_loss"].backward()
    assert torch.isfinite(losses["total_loss"])
