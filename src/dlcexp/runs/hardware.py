"""The devices and the number format with which a run computes."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch.plugins import DoublePrecision, HalfPrecision, Precision
from omegaconf import DictConfig

from dlcexp.errors import ConfigError
from dlcexp.runs.memory import keep_freed_memory
from dlcexp.vocabulary import AUTO

logger = logging.getLogger(__name__)

# Compute capabilities of CUDA devices: the first that multiply in bfloat16, and in float16.
BFLOAT16_SINCE, FLOAT16_SINCE = (8, 0), (7, 0)


@dataclass(frozen=True)
class Hardware:
    """Arguments of `lightning.Trainer` that set where it computes."""

    accelerator: str
    devices: int | list[int]
    strategy: str
    precision: str | None
    plugins: list[Any] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """The device of the first process."""
        if self.accelerator == "cuda":
            return torch.device("cuda", self.devices[0] if isinstance(self.devices, list) else 0)
        return torch.device(self.accelerator)


def choose_hardware(cfg: DictConfig) -> Hardware:
    """Turn `device` and the keys of `trainer` about devices and precision into Lightning's terms.

    From a choice of the CPU on, this process keeps the memory that it frees.

    Raises:
        ConfigError: the device is not there, or cannot compute in that format.
    """
    device = str(cfg.device)
    accelerator = _best_accelerator() if device == "auto" else device.partition(":")[0]
    devices: int | list[int] = cfg.trainer.devices
    _check_accelerator(accelerator)
    if accelerator == "cpu":
        keep_freed_memory()
    if accelerator == "cuda":
        devices = _cuda_devices(device, cfg.trainer.devices)
    elif accelerator == "mps" and devices != 1:
        raise ConfigError("trainer.devices", f"{devices}, but MPS has one device.")
    precision = _precision(str(cfg.trainer.precision), accelerator, devices)
    _check_precision(precision, accelerator)
    strategy = cfg.trainer.strategy
    if precision in ("bf16-true", "16-true"):
        half = PoseHalfPrecision(precision)  # type: ignore[arg-type]
        return Hardware(accelerator, devices, strategy, None, [half])
    if precision == "64-true":
        return Hardware(accelerator, devices, strategy, None, [PoseDoublePrecision()])
    return Hardware(accelerator, devices, strategy, precision)


def settled_precision(cfg: DictConfig) -> str:
    """Return `trainer.precision`, or for `auto` that of the device."""
    hardware = choose_hardware(cfg)
    return _precision(str(cfg.trainer.precision), hardware.accelerator, hardware.devices)


def automatic_precision(accelerator: str, capability: tuple[int, int] | None = None) -> str:
    """Return the fast number format of a device; weights and losses are float32 in each.

    Args:
        accelerator: `cuda`, `mps` or `cpu`.
        capability: of a CUDA device, such as (8, 6). Those before 7.0 compute no faster in float16.
    """
    if accelerator != "cuda" or capability is None or capability < FLOAT16_SINCE:
        return "32-true"
    return "bf16-mixed" if capability >= BFLOAT16_SINCE else "16-mixed"


def _precision(wanted: str, accelerator: str, devices: int | list[int]) -> str:
    if wanted != AUTO:
        return wanted
    if accelerator != "cuda":
        return automatic_precision(accelerator)
    chosen = devices if isinstance(devices, list) else range(devices)
    return automatic_precision(accelerator, min(map(torch.cuda.get_device_capability, chosen)))


def fast_kernels(accelerator: str, *, deterministic: bool, sizes_vary: bool) -> dict[str, bool]:
    """Return which faster ways of computing fit.

    Args:
        accelerator: `cuda`, `mps` or `cpu`.
        deterministic: whether a run is to be repeated exactly.
        sizes_vary: whether each batch has images of another size.

    Returns:
        `tf32`: multiply float32 with 10 bits after the point, on CUDA; `benchmark`: let cuDNN try
        its algorithms, which it does for each size of images again.
    """
    allowed = accelerator == "cuda" and not deterministic
    return {"tf32": allowed, "benchmark": allowed and not sizes_vary}


@contextmanager
def matrix_products(*, tf32: bool) -> Iterator[None]:
    """Multiply matrices of float32 in TF32 meanwhile, as cuDNN does in convolutions anyway."""
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else former)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(former)


class _ImagesOnly(Precision):
    """Weights and images in the format of the precision; keypoints and targets stay as they are.

    A bfloat16 has 8 significant bits: a coordinate of 400 px would be off by 2 px.
    """

    def convert_input(self, data: Any) -> Any:
        """Convert the images of a batch, and nothing else."""
        return {**data, "image": super().convert_input(data["image"])}

    @contextmanager
    def forward_context(self) -> Iterator[None]:  # type: ignore[override]
        """Leave new tensors float32, as always."""
        yield

    def tensor_init_context(self) -> AbstractContextManager:
        """Leave new tensors float32, as always."""
        return nullcontext()


class PoseHalfPrecision(_ImagesOnly, HalfPrecision):
    """Lightning's `bf16-true` and `16-true`, for the network alone."""


class PoseDoublePrecision(_ImagesOnly, DoublePrecision):
    """Lightning's `64-true`, for the network alone."""


def _best_accelerator() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_accelerator(accelerator: str) -> None:
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(accelerator):
        names = ", ".join(name for name, available in there.items() if available)
        raise ConfigError(
            "device", f"{accelerator!r} is not available here. Available: auto, {names}."
        )


def _cuda_devices(device: str, count: int) -> int | list[int]:
    _, _, index = device.partition(":")
    present = torch.cuda.device_count()
    if index and count != 1:
        raise ConfigError(
            "trainer.devices", f"{count}, but device={device} names a single one; use device=cuda."
        )
    if index and int(index) >= present:
        raise ConfigError(
            "device", f"{device!r} is not available here; there are cuda:0 to cuda:{present - 1}."
        )
    if count > present:
        raise ConfigError("trainer.devices", f"{count}, but there are {present} CUDA devices.")
    return [int(index)] if index else count


def _check_precision(precision: str, accelerator: str) -> None:
    if precision == "16-mixed" and accelerator == "cpu":
        raise ConfigError(
            "trainer.precision", "'16-mixed' needs a GPU; on a CPU take bf16-mixed or 32-true."
        )
    if precision == "64-true" and accelerator == "mps":
        raise ConfigError("trainer.precision", "MPS has no '64-true'; take 32-true.")
    if precision.startswith("bf16") and accelerator == "cpu" and not _quick_bfloat16():
        logger.warning(
            "This CPU has no instructions for bfloat16 (avx512_bf16, amx or the like): "
            "trainer.precision=%s is several times slower here than 32-true.",
            precision,
        )


def _quick_bfloat16() -> bool:
    """Return whether oneDNN, which convolves on a CPU, has kernels for bfloat16 here."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
