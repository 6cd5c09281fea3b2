"""timm models as backbones: the named options, transformers, and what is refused."""

import re
from pathlib import Path

import pytest
import timm
import torch

import dlcexp
from dlcexp.config.compose import compose_tree
from dlcexp.config.options import option
from dlcexp.config.overrides import parse_overrides
from dlcexp.config.resolvers import timm_features
from dlcexp.errors import UserError
from dlcexp.inference.onnx_network import export_onnx
from dlcexp.models.backbones import TimmBackbone

NAMED = (
    "mobilenetv2",
    "efficientnet_b0",
    "convnextv2_tiny",
    "dinov2_vit_small",
    "dinov3_vit_small",
)


@pytest.mark.parametrize("name", NAMED)
def test_the_numbers_of_a_named_backbone_are_those_of_timm(name: str, mouse_project: Path) -> None:
    cfg = dlcexp.compose(f"project={mouse_project}", "model=heatmap", f"model/backbone={name}")
    recipe = cfg.model.backbone.recipe
    backbone = dlcexp.build(cfg.model).backbone.eval()
    assert (recipe.channels, recipe.stride) == (backbone.out_channels, backbone.stride)
    assert recipe.padding % recipe.stride == 0
    assert cfg.data.auto_padding.pad_width_divisor == recipe.padding
    sides = [3 * recipe.padding, 4 * recipe.padding]
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, *sides))
    assert features.shape == (1, recipe.channels, *(side // recipe.stride for side in sides))
    published = timm.get_pretrained_cfg(cfg.model.backbone.model_name)
    assert published.tag
    assert published.hf_hub_id


@pytest.mark.parametrize("model", ["heatmap", "rtmpose"])
def test_the_crops_of_a_top_down_model_are_whole_patches(model: str) -> None:
    words = ["method=td", f"model={model}", "model/backbone=dinov2_vit_small"]
    tree = compose_tree(parse_overrides(words))
    assert tree.data.top_down_crop == {"width": 252, "height": 252}


@pytest.mark.parametrize("name", NAMED)
def test_a_named_backbone_states_paper_and_licence_first(name: str) -> None:
    first = option("model/backbone", name).text.splitlines()[0]
    assert re.search(r"^# .* \(.*20\d\d\).* Weights: ", first)


@pytest.mark.parametrize("name", ["test_vit", "test_vit3", "vit_small_patch16_dinov3"])
def test_a_transformer_gives_its_normalised_tokens_at_any_size(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    keywords = timm_features(name).keywords
    expected = timm.create_model(name, **keywords).eval()
    torch.save(expected.state_dict(), tmp_path / "weights.pth")
    backbone = TimmBackbone(name, -1, weights=str(tmp_path / "weights.pth")).eval()
    images = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        features, tokens = backbone(images), expected.forward_features(images)
    patches = tokens[:, expected.num_prefix_tokens :]
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), patches)
    assert features.shape == (1, backbone.out_channels, 6, 10)


def test_a_level_of_a_transformer_is_one_of_its_last_layers() -> None:
    count = len(timm.create_model("vit_tiny_patch16_224").blocks)
    layers = [len(TimmBackbone("vit_tiny_patch16_224", level).model.blocks) for level in (0, 1, 2)]
    assert layers == [count - 2, count - 1, count]


@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224", "mobilenetv2_100"])
def test_all_weights_of_a_backbone_are_trained(name: str) -> None:
    backbone = TimmBackbone(name, -1)
    features = backbone(torch.randn(2, 3, 96, 128))
    assert features.shape[1] == backbone.out_channels
    features.square().sum().backward()
    assert all(weights.grad is not None for weights in backbone.parameters())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("beit_base_patch16_224", "'beit_base_patch16_224' for images of any size: .*224"),
        ("test_maxvit", "'test_maxvit' .*divisible"),
        ("crossvit_9_240", "'crossvit_9_240' .*20 x 20"),
    ],
)
def test_a_model_for_images_of_one_size_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        timm_features(name)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bu", "td"])
def test_a_transformer_trains_and_predicts(method: str, tmp_path: Path, tiny: list[str]) -> None:
    crops = ["train.stages=[pose]", "data.top_down_crop={width: 64, height: 64}"]
    words = [*tiny, f"method={method}", *(crops if method == "td" else [])]
    cfg = dlcexp.compose(*words, "model.backbone.model_name=test_vit")
    run = dlcexp.train(cfg, tmp_path / "run")
    assert {"bu": "test.rmse", "td": "test_gt_boxes.rmse"}[method] in run.metrics


def test_a_transformer_is_not_written_as_onnx(tmp_path: Path, mouse_project: Path) -> None:
    pytest.importorskip("onnxruntime")
    words = ["model=heatmap", "model/backbone=timm", "model.backbone.model_name=test_vit"]
    cfg = dlcexp.compose(f"project={mouse_project}", *words, "weights=random")
    with pytest.raises(UserError, match=r"^model\.backbone: .*predict\.backend=torch"):
        export_onnx(dlcexp.build(cfg.model).eval(), cfg, tmp_path / "model.onnx")
