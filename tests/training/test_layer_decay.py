"""Layer-wise learning-rate decay, against timm's own numbers."""

from pathlib import Path

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from training_support import rows

import dlcexp
from dlcexp.errors import ConfigError
from dlcexp.models.backbones import CSPNeXt, HRNet, ResNet, TimmBackbone
from dlcexp.training.fine_tuning import parameter_groups
from dlcexp.training.layer_decay import layer_factors


def timms_factors(name: str, decay: float) -> list[float]:
    """The factors of a whole network by timm, but for its classification head."""
    network = timm.create_model(name)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    factors = {
        names[id(parameter)]: group["lr_scale"]
        for group in param_groups_layer_decay(network, layer_decay=decay)
        for parameter in group["params"]
    }
    return [factors[name] for name in names.values() if not name.startswith(("head", "fc"))]


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "convnextv2_atto", "resnet18"])
def test_the_factors_are_those_of_timm(name: str) -> None:
    backbone = TimmBackbone(name, -1)
    factors = layer_factors(backbone, 0.8)
    assert [factors[name] for name, _ in backbone.named_parameters()] == pytest.approx(
        timms_factors(name, 0.8)
    )


def test_the_last_layer_is_as_slow_as_in_vitpose() -> None:
    """Its layer i of 12, from 0, has decay ** (12 - i), and the patches decay ** 13."""
    factors = layer_factors(TimmBackbone("vit_tiny_patch16_224", -1), 0.8)
    assert factors["model.norm.weight"] == pytest.approx(0.8)
    for layer in range(12):
        factor = factors[f"model.blocks.{layer}.mlp.fc1.weight"]
        assert factor == pytest.approx(0.8 ** (12 - layer))
    assert factors["model.patch_embed.proj.weight"] == pytest.approx(0.8**13)
    assert factors["model.pos_embed"] == pytest.approx(0.8**13)


@pytest.mark.parametrize(
    "backbone",
    [lambda: ResNet("resnet18"), lambda: HRNet("hrnet_w18_small")],
    ids=["resnet", "hrnet"],
)
def test_other_networks_of_timm_have_layers(backbone) -> None:
    network = backbone()
    factors = layer_factors(network, 0.5)
    assert set(factors) == {name for name, _ in network.named_parameters()}
    assert len(set(factors.values())) > 4


@pytest.mark.parametrize(
    ("backbone", "name"), [(lambda: CSPNeXt("cspnext_tiny"), "CSPNeXt"), (nn.Identity, "Identity")]
)
def test_a_backbone_without_known_layers_is_refused(backbone, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^weights\.layer_decay: .*{name}.*lr_scale"):
        layer_factors(backbone(), 0.8)


def test_the_factors_of_module_and_layer_multiply(mouse_project: Path) -> None:
    cfg = dlcexp.compose(
        f"project={mouse_project}",
        "model=heatmap",
        "model/backbone=timm",
        "model.backbone.model_name=test_vit",
        "weights.layer_decay=0.5",
        "weights.lr_scale={backbone: 0.1}",
    )
    model = dlcexp.build(cfg.model)
    groups = parameter_groups(model, cfg.weights.lr_scale, cfg.weights.layer_decay)
    depth = len(model.backbone.model.blocks) + 1
    expected = [1.0, *(0.1 * 0.5**layer for layer in range(1, depth + 1))]
    assert [group["lr_scale"] for group in groups] == pytest.approx(expected)
    assert [group["name"] for group in groups if group["name"]] == ["backbone.first_layer"]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_the_recipe_of_a_transformer_has_the_decay_of_vitpose(mouse_project: Path) -> None:
    words = [f"project={mouse_project}", "model=heatmap", "model/backbone=dinov3_vit_small"]
    assert dlcexp.compose(*words).weights.layer_decay == 0.8
    assert dlcexp.compose(*words, "weights.layer_decay=null").weights.layer_decay is None


@pytest.mark.slow
def test_a_run_decays_by_layer_and_resumes(tmp_path: Path, tiny: list[str]) -> None:
    weights = tmp_path / "vit.pth"
    torch.save(timm.create_model("test_vit").state_dict(), weights)
    words = [*tiny, "model.backbone.model_name=test_vit", "weights.layer_decay=0.5", "data.cache=0"]
    words.append(f"model.backbone.weights={weights}")
    folder = tmp_path / "run"
    row = rows(dlcexp.train(dlcexp.compose(*words), folder))[0]
    assert float(row["lr.backbone.first_layer"]) < float(row["lr"])
    longer = dlcexp.train(dlcexp.compose(*words, "epochs=2"), folder)
    assert [row["epoch"] for row in rows(longer)] == ["1", "2"]


@pytest.mark.slow
def test_random_layers_all_learn_at_the_full_rate(tmp_path: Path, tiny: list[str]) -> None:
    words = [*tiny, "model.backbone.model_name=test_vit", "weights.layer_decay=0.5", "data.cache=0"]
    run = dlcexp.train(dlcexp.compose(*words), tmp_path / "run")
    assert "lr.backbone.first_layer" not in rows(run)[0]
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert "weights.layer_decay has no effect: the layers start from random weights" in log
