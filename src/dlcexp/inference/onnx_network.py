"""Networks as ONNX files, and ONNX Runtime as what computes their maps."""

import contextlib
import io
import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from dlcexp.config.augmentation_keys import effective_menu, image_size
from dlcexp.errors import UserError
from dlcexp.files import replacing
from dlcexp.models.detectors import Detector
from dlcexp.models.pose_model import Maps, PoseModel
from dlcexp.runs.folder import plain

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# The first in which images can be made smaller with antialiasing.
OPSET = 18
# Key of the metadata under which the file describes itself, as JSON.
METADATA = "dlcexp"
# Pixels of the images by which a network is traced, where it takes any.
EXAMPLE = (128, 160)


def check_packages() -> None:
    """Raise an error if the packages that ONNX needs are missing.

    Raises:
        UserError: names them and the extra that brings them.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {', '.join(missing)}: pip install 'dlcexp[onnx]'")


def export_onnx(
    model: PoseModel, cfg: DictConfig, path: Path, notes: dict[str, Any] | None = None
) -> None:
    """Write a network as an ONNX file, whole or not at all.

    Inputs are `image` (batch, 3, height, width), normalised, and for a conditional model
    `conditions` (batch, 1, keypoints, 3); outputs the raw maps of each head, `head.map`. The batch
    is of any size; height and width too, unless the model takes crops of one size. The metadata
    `dlcexp` is JSON: outputs, strides, bodyparts, how images are made ready, the size if it is
    fixed.

    Args:
        model: in evaluation mode.
        cfg: its tree.
        path: the file.
        notes: more for the metadata.

    Raises:
        UserError: a package is missing, or the backbone cannot be traced.
    """
    check_packages()
    import onnx

    if not all(getattr(module, "traceable", True) for module in model.modules()):
        raise UserError(
            "model.backbone: this transformer cannot be written as ONNX, as it computes positions "
            "or windows from the size of each image. Use predict.backend=torch."
        )
    size = _fixed_size(model, cfg)
    inputs: dict[str, torch.Tensor] = {"image": torch.rand(2, 3, *(size or EXAMPLE))}
    if model.conditional:
        inputs["conditions"] = torch.rand(2, 1, int(cfg.metadata.num_bodyparts), 3) * EXAMPLE[0]
    axes = {name: {0: "batch"} for name in inputs}
    if size is None:
        axes["image"] |= {2: "height", 3: "width"}
    with torch.no_grad():
        outputs = [
            f"{head}.{name}" for head, maps in model(*inputs.values()).items() for name in maps
        ]
    metadata = _description(model, cfg, outputs, size) | (notes or {})
    with replacing(path) as temporary:
        axes |= {name: {0: "batch"} for name in outputs}
        _trace(_Outputs(model), inputs, outputs, axes, temporary)
        content = onnx.load(str(temporary))
        onnx.helper.set_model_props(content, {METADATA: json.dumps(metadata)})
        onnx.save(content, str(temporary))


def export_detector(detector: Detector, path: Path) -> None:
    """Write a detector as an ONNX file, whole or not at all.

    Input is `image` (batch, 3, height, width), normalised, of any size; outputs are `boxes` (n, 4)
    of all images, x, y, width, height px of the image, `scores` (n,), of each image best first, and
    `place` (n,), the place of the image in the batch.

    Args:
        detector: with the weights to write.
        path: the file.

    Raises:
        UserError: a package is missing.
    """
    check_packages()
    outputs = ["boxes", "scores", "place"]
    axes = {"image": {0: "batch", 2: "height", 3: "width"}} | {name: {0: "n"} for name in outputs}
    images = torch.rand(2, 3, *EXAMPLE)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # see `_trace`
        single = torch.jit.trace(_Detections(detector.eval()), images[:1], check_trace=False)
        each = torch.jit.script(_EachImage(single))
    with replacing(path) as temporary:
        _trace(each, {"image": images}, outputs, axes, temporary)


class OnnxNetwork:
    """The maps of a pose model, computed by ONNX Runtime on the CPU.

    Args:
        path: a file of `export_onnx`.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    @property
    def notes(self) -> dict[str, Any]:
        """The metadata of the file; empty where another program wrote it."""
        text = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        return dict(json.loads(text)) if text else {}

    def __call__(self, images: torch.Tensor, *conditions: torch.Tensor) -> dict[str, Maps]:
        """Raw maps of each head, by name; see `PoseModel.forward`."""
        names = [given.name for given in self.session.get_inputs()]
        arrays = [given.cpu().numpy() for given in (images, *conditions)]
        found = self.session.run(None, dict(zip(names, arrays, strict=True)))
        maps: dict[str, Maps] = {}
        for output, values in zip(self.session.get_outputs(), found, strict=True):
            head, _, name = output.name.rpartition(".")
            maps.setdefault(head, {})[name] = torch.from_numpy(values)
        return maps


def network_of(model: PoseModel, cfg: DictConfig, snapshot: Path, folder: Path) -> OnnxNetwork:
    """Return the network of a snapshot, from a file in the folder of its run, written once.

    Raises:
        UserError: a package is missing.
    """
    check_packages()
    status = snapshot.stat()
    notes = {"snapshot": [str(snapshot.resolve()), status.st_mtime_ns, status.st_size]}
    path = folder / "onnx" / f"{snapshot.stem}.onnx"
    network = _opened(path)
    if network is None or network.notes.get("snapshot") != notes["snapshot"]:
        export_onnx(model, cfg, path, notes)
        network = OnnxNetwork(path)
    return network


def _opened(path: Path) -> OnnxNetwork | None:
    """Return the network in a file; None where there is none, or none that can be read."""
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    if not path.is_file():
        return None
    try:
        return OnnxNetwork(path)
    except (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf):
        return None


class _Outputs(nn.Module):
    """The maps of all heads, one after the other."""

    def __init__(self, model: PoseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(values for maps in self.model(*inputs).values() for values in maps.values())


class _Detections(nn.Module):
    """The boxes in one image, and their scores."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (found,) = self.detector(image)
        return found["boxes"], found["scores"]


class _EachImage(nn.Module):
    """The boxes in every image of a batch: a loop, as a detector finds more in one than in another.

    Args:
        single: finds those of a batch of one.
    """

    def __init__(self, single: nn.Module) -> None:
        super().__init__()
        self.single = single

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        boxes: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        places: list[torch.Tensor] = []
        for place in range(images.shape[0]):
            found = self.single(images[place : place + 1])
            boxes.append(found[0])
            scores.append(found[1])
            places.append(torch.full_like(found[1], place, dtype=torch.int64))
        return torch.cat(boxes), torch.cat(scores), torch.cat(places)


def _trace(
    module: nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
    path: Path,
) -> None:
    torch.onnx.register_custom_op_symbolic("aten::_upsample_bilinear2d_aa", _resize, OPSET)
    # Tracing warns of sizes that it takes as constants; where they are not, tests would fail.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            dynamo=False,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
        )


def _resize(graph: Any, images: Any, size: Any, align_corners: Any, *scales: Any) -> Any:
    """Bilinear interpolation with antialiasing, which torch's exporter does not know."""
    shape = graph.op("Shape", images, start_i=0, end_i=2)
    if not _is_tensor(size):
        size = graph.op("Concat", *_elements(graph, size), axis_i=0)
    size = graph.op("Cast", size, to_i=torch.onnx.TensorProtoDataType.INT64)
    sizes = graph.op("Concat", shape, size, axis_i=0)
    nothing = graph.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
    return graph.op(
        "Resize",
        *(images, nothing, nothing, sizes),
        antialias_i=1,
        mode_s="linear",
        coordinate_transformation_mode_s="pytorch_half_pixel",
    )


def _is_tensor(value: Any) -> bool:
    return bool(value.type().kind() == "TensorType")


def _elements(graph: Any, sizes: Any) -> list[Any]:
    """Return the numbers of a list in a traced graph, each as a tensor (1,)."""
    one = graph.op("Constant", value_t=torch.tensor([1]))
    return [graph.op("Reshape", each, one) for each in sizes.node().inputs()]


def _fixed_size(model: PoseModel, cfg: DictConfig) -> tuple[int, int] | None:
    """Height and width of the only images that the model takes; None: it takes any."""
    if not model.of_one_size:
        return None
    width, height = image_size(effective_menu(plain(cfg.data), "inference")) or (0, 0)
    return height, width


def _description(
    model: PoseModel, cfg: DictConfig, outputs: list[str], size: tuple[int, int] | None
) -> dict[str, Any]:
    return {
        "outputs": outputs,
        "strides": {head: model.stride(head) for head in model.heads},
        "bodyparts": list(cfg.metadata.bodyparts),
        "unique_bodyparts": list(cfg.metadata.unique_bodyparts),
        "individuals": list(cfg.metadata.individuals),
        "normalize_images": bool(cfg.data.get("normalize_images", False)),
        "colormode": str(cfg.data.get("colormode", "RGB")),
        "image_size": list(size) if size else None,
    }
