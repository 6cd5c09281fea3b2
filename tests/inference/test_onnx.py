"""ONNX files of networks: ONNX Runtime gives the maps of torch, for any batch and any size."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dlcexp import build, compose
from dlcexp.cli import main
from dlcexp.inference import onnx_network
from dlcexp.inference.finder import PoseFinder
from dlcexp.inference.onnx_network import METADATA, OnnxNetwork, export_detector, export_onnx
from dlcexp.inference.sources import find_sources
from dlcexp.inference.stream import find_poses
from dlcexp.models.detectors import Detector, FasterRCNN, SSDLite
from dlcexp.training import Run

SMALL = ["model/backbone=hrnet_w18"]
ANY, FIXED = ((1, 96, 128), (3, 64, 96)), ((1, 256, 256), (3, 256, 256))
FAMILIES = {
    "dekr": (["model=dekr", "TINY"], ANY),
    "paf": (["model=paf", "TINY"], ANY),
    "hrnet": (["method=td", "model=heatmap", *SMALL], ANY),
    "resnet": (["net_type=top_down_resnet_50"], ANY),
    "dlcrnet": (["net_type=dlcrnet_stride16_ms5"], ANY),
    "cspnext": (["net_type=top_down_cspnext_s"], ANY),
    "rtmpose": (["net_type=rtmpose_s"], FIXED),
    "tokenpose": (["net_type=animaltokenpose_base"], FIXED),
    "prenet": (["net_type=ctd_prenet_rtmpose_s"], FIXED),
    "coam": (["net_type=ctd_coam_w32"], FIXED),
}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=[] if "TINY" in words else pytest.mark.slow)
        for name, (words, _) in FAMILIES.items()
    ],
)
def test_onnx_runtime_gives_the_maps_of_torch(tiny: list[str], family: str, tmp_path: Path) -> None:
    words, shapes = FAMILIES[family]
    torch.manual_seed(0)
    cfg = compose(*[w for word in words for w in (tiny if word == "TINY" else [word])])
    model = build(cfg.model).eval()
    path = tmp_path / "network.onnx"
    export_onnx(model, cfg, path)
    network = OnnxNetwork(path)
    (props,) = (each for each in onnx.load(path).metadata_props if each.key == METADATA)
    told = json.loads(props.value)
    assert told["bodyparts"] == list(cfg.metadata.bodyparts)
    assert (told["image_size"] is None) == (shapes is ANY)
    for batch, height, width in shapes:
        inputs = [torch.randn(batch, 3, height, width)]
        if model.conditional:
            inputs.append(torch.rand(batch, 1, int(cfg.metadata.num_bodyparts), 3) * 200 + 10)
        with torch.inference_mode():
            expected = model(*inputs)
        found = network(*inputs)
        assert {f"{head}.{name}" for head in found for name in found[head]} == set(told["outputs"])
        for head, maps in expected.items():
            for name, values in maps.items():
                np.testing.assert_allclose(
                    found[head][name], values, atol=1e-4 * float(values.abs().max()), rtol=1e-4
                )


@pytest.mark.slow
@pytest.mark.parametrize(
    "build_detector",
    # The Faster R-CNN that shows itself images small enough for a test.
    [SSDLite, partial(FasterRCNN, variant="fasterrcnn_mobilenet_v3_large_320_fpn")],
    ids=["SSDLite", "FasterRCNN"],
)
def test_onnx_runtime_finds_the_boxes_of_torch(
    build_detector: Callable[..., Detector], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    detector = build_detector(weights=None).eval()
    for name, weights in detector.named_parameters():
        if weights.ndim > 1:  # scores that differ, in the middle between 0 and 1
            torch.nn.init.kaiming_normal_(weights)
            weights.data *= 0.1 if "head" in name else 1
    export_detector(detector, tmp_path / "detector.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "detector.onnx")
    for batch, height, width in ((1, 96, 128), (2, 120, 90)):
        images = torch.rand(batch, 3, height, width)
        with torch.inference_mode():
            expected = detector(images)
        boxes, scores, places = session.run(None, {"image": images.numpy()})
        for place, found in enumerate(expected):
            here = places == place
            assert here.sum() == len(found["scores"]) > 0
            np.testing.assert_allclose(scores[here], found["scores"], atol=1e-3)
            # Boxes of equal scores come in any order.
            pairs = np.abs(boxes[here][:, None] - found["boxes"].numpy())
            assert np.quantile(pairs.max(axis=2).min(axis=1), 0.9) < 0.5
        assert (np.diff(places) >= 0).all()


def test_poses_of_onnx_runtime_are_those_of_torch(run: Run, video: Path) -> None:
    (source,) = find_sources(video)
    finders = [PoseFinder(run, backend=backend) for backend in ("torch", "onnx")]
    torch_poses, onnx_poses = (next(find_poses(each, source)).poses for each in finders)
    for head, poses in torch_poses.items():
        np.testing.assert_allclose(onnx_poses[head][..., :2], poses[..., :2], atol=0.01)
        np.testing.assert_allclose(onnx_poses[head][..., 2], poses[..., 2], atol=1e-4)
    (path,) = (run.folder / "onnx").iterdir()
    written = path.stat().st_mtime_ns
    PoseFinder(run, backend="onnx")
    assert path.stat().st_mtime_ns == written
    path.write_bytes(b"cut off")
    PoseFinder(run, backend="onnx")
    assert path.stat().st_size > 1000


def test_export_writes_the_network_of_a_run(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "mice.onnx"
    words = ["export", f"run={run.folder}", "export.format=onnx", f"export.file={target}"]
    assert main(words) == 0
    assert OnnxNetwork(target)(torch.zeros(1, 3, 64, 64))["bodypart"]["heatmap"].shape[0] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["export.format=onnx"], "run=DIR"),
        (["export.format=onx"], "onnx"),
        (["export.format=onnx", "run=RUN"], "export.file=FILE"),
        (["snapshot=best"], "export.format=onnx"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_message(
    run: Run, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *(word.replace("RUN", str(run.folder)) for word in words)]) == 2
    assert told in capsys.readouterr().err


def test_a_missing_package_names_the_extra(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_network, "PACKAGES", ("onnx", "no_such_package"))
    words = [f"run={run.folder}", f"source={run.folder}", "predict.backend=onnx"]
    (run.folder / "a.png").touch()
    assert main(["predict", *words]) == 2
    assert "pip install 'dlcexp[onnx]'" in capsys.readouterr().err
    (run.folder / "a.png").unlink()
