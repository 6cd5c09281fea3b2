"""TokenPose for animals: equal to the records of DeepLabCut, and trainable."""

import numpy as np
import pytest
import torch
from parity_support import entries_of

from dlcexp.config.build import build
from dlcexp.errors import UserError
from dlcexp.models.criterions import WeightedBCECriterion
from dlcexp.models.heads import TransformerHead
from dlcexp.models.predictors import HeatmapPredictor
from dlcexp.models.targets import HeatmapPlateauGenerator

NET = "animaltokenpose_base"
TOLERANCE = 1e-4
POSE_TOLERANCE = 0.01  # px


def head(**keywords):
    return TransformerHead(
        **{
            "dim": 16,
            "hidden_heatmap_dim": 96,
            "heatmap_dim": 48,
            "apply_multi": True,
            "heatmap_size": [6, 8],
            "apply_init": True,
            "head_stride": 1,
            "target_generator": HeatmapPlateauGenerator(3, 17, generate_locref=False),
            "criterion": WeightedBCECriterion(),
            "predictor": HeatmapPredictor(location_refinement=False),
            **keywords,
        }
    )


@pytest.mark.parametrize("project", ["openfield", "flies13"])
def test_every_number_is_that_on_record(parity, project):
    model, recorded = parity.model(project, NET), parity.record(project, NET)
    labels = {name: torch.from_numpy(recorded[name]) for name in ("keypoints", "area")}
    with torch.no_grad():
        outputs = model(parity.images(recorded))
        poses = model.predict(outputs)["bodypart"]["poses"]
        targets = model.targets(outputs, labels)
        losses = model.losses(outputs, targets)

    assert entries_of(model) == parity.entries(project, NET)
    expected = recorded["output/bodypart/heatmap"]
    heatmap = outputs["bodypart"]["heatmap"]
    np.testing.assert_allclose(heatmap, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
    for name in ("target", "weights"):
        expected = recorded[f"target/bodypart/heatmap/{name}"]
        np.testing.assert_array_equal(targets["bodypart"]["heatmap"][name], expected)
    for name in ("bodypart_total_loss", "total_loss"):
        expected = recorded[f"loss/{name}"].item()
        assert losses[name].item() == pytest.approx(expected, rel=TOLERANCE)
    expected = recorded["prediction/bodypart/poses"]
    np.testing.assert_allclose(poses[..., :2], expected[..., :2], atol=POSE_TOLERANCE)
    np.testing.assert_allclose(poses[..., 2], expected[..., 2], rtol=TOLERANCE)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_training_step_reaches_every_parameter(parity, precision):
    torch.manual_seed(0)
    node = parity.node("openfield", NET)
    # The same stride in a smaller network; random weights and frozen statistics would diverge.
    node["backbone"] |= {"model_name": "hrnet_w18_small_v2", "freeze_bn_stats": False}
    node["backbone_output_channels"] = node["neck"]["channels"] = 18
    node["neck"] |= {"feature_size": [16, 16], "depth": 2}
    node["heads"]["bodypart"] |= {"heatmap_size": [16, 16], "heatmap_dim": 256}
    model = build(node, key="model").train()
    keypoints = torch.zeros(2, 1, 4, 3)
    keypoints[0, 0] = torch.tensor([20.0, 30.0, 2.0])
    labels = {"keypoints": keypoints, "area": torch.full((2, 1), 400.0)}
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        outputs = model(torch.randn(2, 3, 64, 64))
        losses = model.losses(outputs, model.targets(outputs, labels))
    losses["total_loss"].backward()
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert not model.neck.pos_embedding.requires_grad


@pytest.mark.parametrize(
    ("hidden", "multi", "widths"),
    [(96, True, [48, 96, 48]), (95, True, [48, 48]), (96, False, [48, 48])],
)
def test_the_hidden_layer_is_there_where_deeplabcut_has_it(hidden, multi, widths):
    layers = head(hidden_heatmap_dim=hidden, apply_multi=multi).mlp_head
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert [linear[0].in_features, *(layer.out_features for layer in linear)] == widths


def test_each_token_becomes_the_heatmap_of_its_keypoint():
    transformer_head = head()
    tokens = torch.randn(2, 3, 48)
    heatmap = transformer_head(tokens)["heatmap"]
    assert heatmap.shape == (2, 3, 6, 8)
    changed = tokens.clone()
    changed[0, 1] += torch.randn(48)
    difference = (transformer_head(changed)["heatmap"] - heatmap).abs().amax(dim=(2, 3)) > 0
    assert difference.nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize("initialized", [True, False])
def test_initial_weights_are_small_on_request(initialized):
    layer = head(apply_init=initialized, dim=64).mlp_head[1]
    assert (layer.weight.std().item() < 0.022) == initialized
    assert layer.bias.any() != initialized


def test_a_heatmap_of_another_size_is_named():
    with pytest.raises(UserError, match=r"heatmap_dim: 48.*\[6, 9\].* 54 "):
        head(heatmap_size=[6, 9])
