"""A CUDA device that is not there: shapes and devices are computed, values are not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda")
IMAGES = 2


class WaitingError(RuntimeError):
    """The program would wait until the device has computed all that it was given."""


class FakeCuda:
    """Computes with tensors of a CUDA device that have no values, and raises where it would wait.

    Torch's fake tensors raise where a value is read, or where the shape of a result depends on
    values; tensors of two devices in one operation are an error too. What they let pass, and a GPU
    waits for, raises `WaitingError`: a copy from or to the host, and writing by a mask.
    """

    def __init__(self) -> None:
        self._fake = FakeTensorMode()

    def module(self, module: nn.Module) -> nn.Module:
        """Move a module there, in place, as `module.to("cuda")` does."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return self._fake.from_tensor(tensor).to(CUDA)

        former = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with self._fake:
                return module._apply(moved)
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(former)

    def batch(self, cfg: DictConfig) -> dict[str, torch.Tensor]:
        """Return a batch of images and labels, as the loaders of this tree give them."""
        metadata = cfg.metadata
        crop = cfg.data.get("top_down_crop") if cfg.method != "bu" else None
        height, width = (crop.height, crop.width) if crop else (96, 128)
        animals = 1 if crop else metadata.num_individuals
        bodyparts = metadata.num_bodyparts
        shapes: dict[str, tuple[int, ...]] = {
            "image": (3, height, width),
            "keypoints": (animals, bodyparts + cfg.with_center_keypoints, 3),
            "keypoints_unique": (metadata.num_unique_bodyparts, 3),
            "area": (animals,),
            "boxes": (animals, 4),
        }
        if cfg.method == "ctd":
            shapes["conditions"] = (1, bodyparts, 3)
        with self._fake:
            batch = {
                name: torch.empty(IMAGES, *shape, device=CUDA) for name, shape in shapes.items()
            }
            ids = torch.empty(IMAGES, animals, dtype=torch.int64, device=CUDA)
        return {**batch, "individual_ids": ids}

    @contextmanager
    def never_waiting(self) -> Iterator[None]:
        """Raise where the program would wait for the device."""
        with self._fake, _NoWaiting():
            yield


class _NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if len(_devices(((args, kwargs), result))) > 1:
            raise WaitingError(f"{func} copies from or to the host")
        if func.overloadpacket in _WRITING and any(map(_is_mask, args[1])):
            raise WaitingError(f"{func} counts the elements of a mask")
        return result


_WRITING = (torch.ops.aten.index_put, torch.ops.aten.index_put_)


def _is_mask(index: torch.Tensor | None) -> bool:
    return index is not None and index.dtype == torch.bool


def _devices(values: Any) -> set[str]:
    """Return the kinds of devices of tensors."""
    return {leaf.device.type for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)}
