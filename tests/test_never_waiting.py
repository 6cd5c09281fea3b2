"""A GPU is never kept waiting: training and prediction give it work without asking for values.

Checked on a CUDA device that is not there, for shapes and devices alone. What is left to ask: the
detectors of torchvision, which choose boxes by their values, and the assembly of individuals from
part-affinity fields, which a CPU does.
"""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from device_support import CUDA, FakeCuda
from omegaconf import OmegaConf

import dlcexp
from dlcexp.config.options import options
from dlcexp.inference.network import TorchNetwork
from dlcexp.models.predictors import PartAffinityFieldPredictor
from dlcexp.runs.stages import pose_stage
from dlcexp.training.pose_module import PoseModule

BODYPARTS = ["nose", "neck", "tail"]

# The smallest of each family; the larger ones compute the same with more numbers.
QUICK = ("cspnext_s", "resnet_50", "rtmpose_s", "top_down_resnet_50")
SMALLEST = (
    *QUICK,
    "animaltokenpose_base",
    "ctd_coam_w32",
    "ctd_prenet_hrnet_w32",
    "ctd_prenet_rtmpose_s",
    "dekr_w18",
    "dlcrnet_stride16_ms5",
    "hrnet_w18",
    "top_down_cspnext_s",
    "top_down_hrnet_w18",
)
SIZE = r"_(w\d+|\d+|[smx]|human|stride\d+)(?=_|$)"


@pytest.fixture(scope="module")
def known_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two animals that are told apart, and a bodypart that belongs to neither: every head."""
    root = tmp_path_factory.mktemp("known_pair")
    config = {
        "Task": "pair",
        "scorer": "me",
        "date": "Nov24",
        "multianimalproject": True,
        "individuals": ["one", "two"],
        "multianimalbodyparts": BODYPARTS,
        "uniquebodyparts": ["ball"],
        "bodyparts": "MULTI!",
        "identity": True,
    }
    (root / "config.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")
    return root


def test_every_net_type_is_of_one_of_the_families() -> None:
    assert {re.sub(SIZE, "", name) for name in options("net_type")} == {
        re.sub(SIZE, "", name) for name in SMALLEST
    }


@pytest.mark.parametrize(
    "net_type",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SMALLEST],
)
def test_each_family_trains_and_predicts_without_waiting(
    net_type: str, known_pair: Path, mouse_project: Path
) -> None:
    bottom_up = not net_type.startswith(("animaltokenpose", "ctd_", "rtmpose_", "top_down_"))
    project = known_pair if bottom_up else mouse_project
    cfg = dlcexp.compose(f"project={project}", f"net_type={net_type}", "weights=random")
    module = PoseModule(dlcexp.build(cfg.model), None, cfg, pose_stage(cfg))  # type: ignore[arg-type]
    module._trainer = SimpleNamespace(num_training_batches=100)  # type: ignore[assignment]
    device = FakeCuda()
    device.module(module.train())
    batch = device.batch(cfg)
    with device.never_waiting():
        loss = module.training_step(batch, batch_idx=1)
    assert loss.device.type == "cuda"

    model: Any = module.model.eval()
    with device.never_waiting(), torch.inference_mode():
        maps = model(*(batch[name] for name in ("image", "conditions") if name in batch))
        for name, head in model.heads.items():
            decoded = decoded_on_device(head.predictor, model.stride(name), maps[name])
            assert {values.device.type for values in decoded} == {"cuda"}


def decoded_on_device(predictor: Any, stride: float, maps: Any) -> list[torch.Tensor]:
    """What a predictor computes where the maps are."""
    if isinstance(predictor, PartAffinityFieldPredictor):
        detections, cells = predictor.detections(stride, maps)
        return [detections, predictor.affinities(cells, maps["paf"])]
    return list(predictor(stride, maps).values())


def test_a_network_made_ready_for_many_frames_does_not_wait(known_pair: Path) -> None:
    cfg = dlcexp.compose(
        f"project={known_pair}",
        "model=paf",
        "model/backbone=timm",
        "model.backbone={model_name: test_resnet.r160_in1k, feature_level: 1}",
        "weights=random",
    )
    network = TorchNetwork(dlcexp.build(cfg.model), torch.device("cpu"))
    network(torch.zeros(1, 3, 64, 64))
    device = FakeCuda()
    device.module(network.model)
    network.device = CUDA
    with device.never_waiting(), torch.inference_mode():
        maps = network(device.batch(cfg)["image"])
    assert {values.device.type for each in maps.values() for values in each.values()} == {"cuda"}


def test_fields_of_one_animal_are_decoded_without_waiting(mouse_project: Path) -> None:
    """There is nothing to assemble."""
    cfg = dlcexp.compose(f"project={mouse_project}", "model=paf", "weights=random")
    device = FakeCuda()
    predictor = device.module(dlcexp.build(cfg.model)).heads["bodypart"].predictor
    shapes = {"heatmap": 4, "locref": 8, "paf": 2 * len(predictor.graph)}
    with device.never_waiting():
        maps = {name: torch.empty(2, c, 8, 8, device=CUDA) for name, c in shapes.items()}
        assert predictor(8, maps)["poses"].shape == (2, 1, 4, 3)


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda x: x.sum().item(), id="a number"),
        pytest.param(lambda x: bool((x > 0).any()), id="a decision"),
        pytest.param(lambda x: x.cpu(), id="a copy to the host"),
        pytest.param(lambda x: x + torch.ones(3).to(CUDA), id="a copy from the host"),
        pytest.param(lambda x: x + torch.tensor([1.0, 2.0, 3.0], device=CUDA), id="a list"),
        pytest.param(lambda x: x[x > 0], id="a selection"),
        pytest.param(lambda x: x.masked_select(x > 0), id="another selection"),
        pytest.param(lambda x: x.__setitem__(x > 0, torch.empty_like(x)), id="a mask"),
        pytest.param(lambda x: (x > 0).nonzero(), id="places"),
        pytest.param(lambda x: x[[0, 2]], id="places of the host"),
        pytest.param(lambda x: x + torch.ones(3), id="another device"),
    ],
)
def test_waiting_is_noticed(ask: Any) -> None:
    device = FakeCuda()
    with pytest.raises(RuntimeError), device.never_waiting():
        ask(torch.empty(3, device=CUDA))
