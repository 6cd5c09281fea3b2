"""A run as what finds poses in frames: its networks, built once and applied to any number."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from dlcexp.config.build import allowing
from dlcexp.config.compose import modified
from dlcexp.config.overrides import Override
from dlcexp.data.dataset import SampleDataset
from dlcexp.data.loading import FrameData
from dlcexp.errors import ConfigError, SnapshotError, UserError, nearest, not_one_of
from dlcexp.evaluation.detected_boxes import find_boxes
from dlcexp.evaluation.model_poses import Network, predict_crops, predict_heads
from dlcexp.inference.network import TorchNetwork
from dlcexp.models.pose_model import PoseModel
from dlcexp.runs.hardware import choose_hardware
from dlcexp.runs.run import Run
from dlcexp.training.conditions import condition_source
from dlcexp.training.model_identity import model_identity
from dlcexp.vocabulary import BODYPART, IDENTITY

# Of the command line and of Lightning; None computes in float32 throughout.
PRECISIONS = {"32": None, "bf16": torch.bfloat16, "16": torch.float16}
# torch on any device, or ONNX Runtime on the CPU.
BACKENDS = ("torch", "onnx")


class PoseFinder:
    """Finds the poses of animals in frames.

    Args:
        run: a finished run, or its folder.
        snapshot: weights of the pose model; None: the best of the run.
        conditions: conditional top-down, the source of poses, in place of the run's.
        batch_size: frames that go through a bottom-up network at once; None: by their size.
        precision: key of `PRECISIONS`, the format in which the pose model computes.
        backend: key of `BACKENDS`; "onnx" exports the pose model once into the run folder.

    Raises:
        ConfigError: conditional top-down without conditions; a precision or backend that there is
            not.
        UserError: a package that the backend needs is missing.
        SnapshotError: the weights do not fit, or a top-down run has no detector.
    """

    def __init__(
        self,
        run: Run | str | Path,
        *,
        snapshot: Path | None = None,
        conditions: str | int | Path | None = None,
        batch_size: int | None = None,
        precision: str = "32",
        backend: str = "torch",
    ) -> None:
        run = Run.open(run)
        value = conditions if isinstance(conditions, int) else str(conditions)
        changes = [] if conditions is None else [Override("conditions", value)]
        run = replace(run, cfg=modified(run.cfg, changes))
        if precision not in PRECISIONS:
            raise not_one_of("predict.precision", precision, PRECISIONS)
        _check_backend(backend, precision)
        self.run = run
        self.backend = backend
        self.cfg = run.cfg
        self.batch_size = batch_size
        self.dtype = PRECISIONS[precision]
        self.device = choose_hardware(run.cfg).device
        self.snapshot = snapshot or run.best_snapshot
        with allowing(run.cfg.allow_targets):
            self.conditions = condition_source(run.cfg)
            self.detector = run.detector(self.device) if run.cfg.method == "td" else None
            self.model = run.model(self.snapshot)
        self._check()
        self.network = self._network()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Plain values by name that decide which poses are found in a frame."""
        detector = self.run.best_detector_snapshot if self.detector else None
        return {
            **model_identity(self.cfg, self.snapshot, detector, self.conditions),
            "precision": str(self.dtype),
            "backend": self.backend,
        }

    @property
    def heads(self) -> list[str]:
        """The heads that find keypoints."""
        return [name for name in self.cfg.model.heads if name != IDENTITY]

    def check_head(self, head: str) -> None:
        """Refuse a head that the model does not have.

        Raises:
            UserError: names those that there are.
        """
        if head not in self.heads:
            raise UserError(
                f"head: the model has no {head!r} that finds keypoints; it has "
                f"{', '.join(self.heads)}.{nearest(head, self.heads)}"
            )

    def __call__(self, data: FrameData) -> dict[str, NDArray[np.float32]]:
        """Find the poses of each head in the test split of `data`.

        Returns:
            {head: (frames, individuals, keypoints, 3)}: x and y in px of the frame, confidence;
            NaN where no further individual was found.
        """
        with allowing(self.cfg.allow_targets):
            if data.top_down:
                return {BODYPART: self._in_crops(data)}
            return predict_heads(
                self.model,
                data.frames("test"),
                self.device,
                batch_size=self.batch_size,
                network=self.network,
            )

    def _in_crops(self, data: FrameData) -> NDArray[np.float32]:
        """Return poses of the animals that the detector or the conditions locate."""
        rows, size = data.split.test, data.labels.keypoints.shape[1:3]
        crops: SampleDataset
        if self.conditions is not None:
            crops = data.conditional_crops(self.conditions.conditions(data, rows, self.device))
        else:
            assert self.detector is not None
            frames = data.detector_frames("test")
            crops = data.crops(find_boxes(self.detector, frames, self.device, size[0]))
        return predict_crops(self.model, crops, rows, size, self.device, network=self.network)

    def _network(self) -> Network:
        model = cast(PoseModel, self.model.eval())
        if self.backend == "torch":
            return TorchNetwork(model, self.device, self.dtype)
        from dlcexp.inference.onnx_network import network_of

        return network_of(model, self.cfg, self.snapshot, self.run.folder)

    def _check(self) -> None:
        folder = self.run.folder
        if self.cfg.method == "td" and self.detector is None:
            raise SnapshotError(
                f"{folder} has no detector to find the animals with: train one "
                "(train.stages=[detector]), or take one over (detector.snapshot=PATH)."
            )
        if self.cfg.method == "ctd" and self.conditions is None:
            raise ConfigError(
                "conditions",
                f"{folder} was trained without, and a conditional model needs poses to start from. "
                "Give conditions=, a bottom-up run folder, the number of a shuffle or a file.",
            )


def _check_backend(backend: str, precision: str) -> None:
    if backend not in BACKENDS:
        raise not_one_of("predict.backend", backend, BACKENDS)
    if backend == "onnx":
        from dlcexp.inference.onnx_network import check_packages

        check_packages()
        if precision != "32":
            raise ConfigError(
                "predict.precision", f"{precision!r}; ONNX Runtime computes in 32 here."
            )
