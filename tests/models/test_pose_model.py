"""The whole model: any batch, any precision, gradients everywhere, mistakes said early."""

import copy

import pytest
import torch
from omegaconf import OmegaConf

from dlcexp.composition import compose
from dlcexp.config.build import build
from dlcexp.config.options import options
from dlcexp.errors import UserError

# Projects of one animal and of two.
NETS = [
    ("mouse_project", "dekr_w18"),
    ("pair_project", "dekr_w18"),
    ("mouse_project", "hrnet_w18"),
    ("pair_project", "hrnet_w18"),
    ("pair_project", "top_down_hrnet_w18"),
    ("pair_project", "rtmpose_s"),
]
HEIGHT, WIDTH = 64, 96


@pytest.fixture(params=NETS, ids="-".join)
def node(request):
    project, net = request.param
    root = request.getfixturevalue(project)
    node = OmegaConf.to_container(compose(f"project={root}", f"net_type={net}").model)
    if net.startswith("rtmpose"):
        shrink_rtmpose(node)
    else:
        # The same branches in fewer modules; random weights and frozen statistics would diverge.
        node["backbone"] |= {"model_name": "hrnet_w18_small_v2", "freeze_bn_stats": False}
    return node


def shrink_rtmpose(node):
    """Half the channels, fewer blocks, smaller images."""
    head = node["heads"]["bodypart"]
    node["backbone"] |= {"deepen_factor": 0.1, "widen_factor": 0.25}
    node["backbone_output_channels"] = head["in_channels"] = 256
    head["input_size"] = head["target_generator"]["input_size"] = [WIDTH, HEIGHT]
    head["in_featuremap_size"] = [WIDTH // 32, HEIGHT // 32]


def labels_for(node, batch):
    """Labels of a batch of images: one animal, absent in the last image."""
    head = node["heads"]["bodypart"]
    generator = head["target_generator"]
    heatmaps = generator.get("generators", [generator])[0]
    keypoints = heatmaps.get("num_joints", 0) + 1 if "num_joints" in heatmaps else None
    keypoints = keypoints or heatmaps.get("num_heatmaps") or head["out_channels"]
    individuals = head["predictor"].get("num_animals", 1)
    points = torch.zeros(batch, individuals, keypoints, 3)
    points[:-1, 0, :, :2] = torch.rand(batch - 1, keypoints, 2) * torch.tensor([WIDTH, HEIGHT])
    points[:-1, 0, :, 2] = 2
    points[:, 0, 0] = 0  # and one keypoint missing
    return {"keypoints": points, "area": torch.full((batch, individuals), 400.0)}


UNCONDITIONAL = [
    name for name in options("model/backbone") if not name.startswith(("coam_", "prenet_"))
]


# The smallest of each family; the others take seconds each.
SMALLEST = ("hrnet_w18", "resnet_50", "cspnext_s", "dlcrnet_stride16", "timm")


@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param(name, marks=[] if name in SMALLEST else pytest.mark.slow)
        for name in UNCONDITIONAL
    ],
)
def test_part_affinity_fields_train_on_every_backbone(backbone):
    torch.manual_seed(0)
    words = ["model.recipe.graph=skeleton", "model.recipe.freeze_bn_stats=false"]
    cfg = compose("project=demo", "model=paf", f"model/backbone={backbone}", *words)
    model = build(cfg.model, key="model").train()
    labels = labels_for(OmegaConf.to_container(cfg.model), batch=2)
    multiple = OmegaConf.select(cfg, "data.auto_padding.pad_height_divisor") or 1
    height, width = (side // multiple * multiple for side in (HEIGHT, WIDTH))
    outputs = model(torch.randn(2, 3, height, width))
    losses = model.losses(outputs, model.targets(outputs, labels))
    losses["total_loss"].backward()
    assert outputs["bodypart"]["paf"].shape[1] == 2 * len(cfg.metadata.skeleton)
    first = next(parameter for parameter in model.backbone.parameters())
    assert losses["total_loss"].isfinite()
    assert first.grad.abs().sum() > 0
    poses = model.eval().predict(outputs)["bodypart"]["poses"]
    assert poses.shape == (2, cfg.metadata.num_individuals, cfg.metadata.num_bodyparts, 3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_training_step_reaches_every_parameter(node, precision):
    torch.manual_seed(0)
    model = build(node, key="model").train()
    labels = labels_for(node, batch=3)
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        outputs = model(torch.randn(3, 3, HEIGHT, WIDTH))
        losses = model.losses(outputs, model.targets(outputs, labels))
    losses["total_loss"].backward()
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    if precision == torch.float32:
        # Some processors' kernels of bfloat16 overflow for RTMPose in one of several equal runs.
        assert not [name for name, gradient in gradients.items() if not gradient.isfinite().all()]


def test_predictions_of_an_image_do_not_depend_on_its_batch(node):
    torch.manual_seed(0)
    model = build(node, key="model").eval()
    images = torch.randn(3, 3, HEIGHT, WIDTH)
    with torch.no_grad():
        maps = model(images)
        together = model.predict(maps)["bodypart"]["poses"]
        alone = [
            model.predict({"bodypart": {k: v[i : i + 1] for k, v in maps["bodypart"].items()}})
            for i in range(3)
        ]
    assert together.shape[0] == 3
    assert together.shape[-1] == 3
    expected = torch.cat([poses["bodypart"]["poses"] for poses in alone])
    torch.testing.assert_close(together, expected, equal_nan=True)


def test_prediction_leaves_the_maps_alone(node):
    model = build(node, key="model").eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, HEIGHT, WIDTH))
        before = copy.deepcopy(outputs)
        model.predict(outputs)
    for name, values in before["bodypart"].items():
        assert torch.equal(outputs["bodypart"][name], values)


@pytest.mark.slow
def test_images_without_animals_have_finite_losses(node):
    model = build(node, key="model")
    labels = labels_for(node, batch=2)
    labels = {name: torch.zeros_like(values) for name, values in labels.items()}
    outputs = model(torch.randn(2, 3, HEIGHT, WIDTH))
    losses = model.losses(outputs, model.targets(outputs, labels))
    assert all(loss.isfinite() for loss in losses.values())
    assert losses.get("bodypart_offset", torch.zeros(())) == 0
    assert losses.get("bodypart_locref", torch.zeros(())) == 0


def test_rtmpose_learns_a_few_images(parity):
    torch.manual_seed(0)
    node = parity.node("openfield", "rtmpose_s")
    shrink_rtmpose(node)
    model = build(node, key="model").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    images, labels = torch.rand(3, 3, HEIGHT, WIDTH), labels_for(node, batch=3)
    labels["keypoints"] = labels["keypoints"][:-1]  # the last image shows no animal
    for _ in range(30):
        outputs = model(images[:-1])
        loss = model.losses(outputs, model.targets(outputs, labels))["total_loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen = labels["keypoints"][..., 2] > 0
    error = model.predict(outputs)["bodypart"]["poses"][..., :2] - labels["keypoints"][..., :2]
    assert error[seen].norm(dim=-1).mean() < 2  # px, of images 96 px wide


def test_a_wrong_channel_count_is_named(parity):
    node = parity.node("openfield", "dekr_w18")
    node["backbone_output_channels"] = 480
    with pytest.raises(UserError, match=r"backbone_output_channels: 480.*270"):
        build(node, key="model")
