from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig

from dlcexp.errors import ConfigError
from dlcexp.runs.hardware import (
    PoseHalfPrecision,
    automatic_precision,
    choose_hardware,
    fast_kernels,
    matrix_products,
    settled_precision,
)

Tree = Callable[..., DictConfig]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pretend that there are so many CUDA devices, and no MPS."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    return pretend


@pytest.mark.parametrize(
    ("present", "device", "devices", "expected"),
    [
        (0, "auto", 1, ("cpu", 1)),
        (2, "auto", 1, ("cuda", 1)),
        (2, "cpu", 2, ("cpu", 2)),
        (2, "cuda", 2, ("cuda", 2)),
        (2, "cuda:1", 1, ("cuda", [1])),
    ],
)
def test_devices(
    tree: Tree, gpus, present: int, device: str, devices: int, expected: tuple
) -> None:  # type: ignore[no-untyped-def, type-arg]
    gpus(present)
    chosen = choose_hardware(tree({"device": device, "trainer.devices": devices}))
    assert (chosen.accelerator, chosen.devices) == expected


@pytest.mark.parametrize(
    ("present", "changes", "message"),
    [
        (0, {"device": "cuda"}, r"device: 'cuda' .*auto, cpu"),
        (0, {"device": "mps"}, "device: 'mps' "),
        (
            2,
            {"device": "cuda:2"},
            "device: 'cuda:2' .*cuda:0 .* cuda:1",
        ),
        (
            2,
            {"device": "cuda:1", "trainer.devices": 2},
            r"trainer\.devices: 2.* device=cuda:1",
        ),
        (2, {"device": "cuda", "trainer.devices": 3}, r"trainer\.devices: 3.* 2"),
        (0, {"trainer.precision": "16-mixed"}, r"trainer\.precision: '16-mixed' "),
    ],
)
def test_what_is_not_there_is_refused(
    tree: Tree, gpus, present: int, changes: dict, message: str
) -> None:  # type: ignore[no-untyped-def, type-arg]
    gpus(present)
    with pytest.raises(ConfigError, match=f"^{message}"):
        choose_hardware(tree({"device": "cpu", **changes}))


@pytest.mark.parametrize(
    ("accelerator", "capability", "precision"),
    [
        ("cpu", None, "32-true"),
        ("mps", None, "32-true"),
        ("cuda", (9, 0), "bf16-mixed"),
        ("cuda", (8, 0), "bf16-mixed"),
        ("cuda", (7, 5), "16-mixed"),
        ("cuda", (7, 0), "16-mixed"),
        ("cuda", (6, 1), "32-true"),
    ],
)
def test_the_fast_precision_of_a_device(
    accelerator: str, capability: tuple[int, int] | None, precision: str
) -> None:
    assert automatic_precision(accelerator, capability) == precision


@pytest.mark.parametrize(
    ("changes", "precision"),
    [
        ({"device": "cpu"}, "32-true"),
        ({"device": "cuda:1"}, "bf16-mixed"),
        ({"device": "cuda", "trainer.devices": 2}, "16-mixed"),
        ({"device": "cuda", "trainer.precision": "32-true"}, "32-true"),
    ],
)
def test_automatic_precision_suits_all_devices_of_a_run(
    tree: Tree, gpus, monkeypatch: pytest.MonkeyPatch, changes: dict, precision: str
) -> None:  # type: ignore[no-untyped-def, type-arg]
    gpus(2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", [(7, 5), (8, 6)].__getitem__)
    cfg = tree({"trainer.precision": "auto", **changes})
    assert settled_precision(cfg) == choose_hardware(cfg).precision == precision


@pytest.mark.parametrize(
    ("accelerator", "deterministic", "sizes_vary", "tf32", "benchmark"),
    [
        ("cuda", False, False, True, True),
        ("cuda", False, True, True, False),
        ("cuda", True, False, False, False),
        ("cpu", False, False, False, False),
        ("mps", False, False, False, False),
    ],
)
def test_fast_kernels(
    accelerator: str, deterministic: bool, sizes_vary: bool, tf32: bool, benchmark: bool
) -> None:
    found = fast_kernels(accelerator, deterministic=deterministic, sizes_vary=sizes_vary)
    assert found == {"tf32": tf32, "benchmark": benchmark}


def test_products_are_exact_again_afterwards() -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    with matrix_products(tf32=True):
        assert torch.get_float32_matmul_precision() == "high"
    with matrix_products(tf32=False):
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "highest"


def test_half_precision_leaves_the_keypoints_exact() -> None:
    batch = {"image": torch.rand(1, 3, 4, 4), "keypoints": torch.tensor([401.25]), "index": [3]}
    converted = PoseHalfPrecision("bf16-true").convert_input(batch)
    assert converted["image"].dtype == torch.bfloat16
    assert converted["keypoints"].dtype == torch.float32


@pytest.mark.parametrize(
    ("quick", "precision", "warned"),
    [
        (False, "bf16-mixed", True),
        (True, "bf16-mixed", False),
        (False, "32-true", False),
    ],
)
def test_a_slow_bfloat16_is_told(
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    quick: bool,
    precision: str,
    warned: bool,
) -> None:
    monkeypatch.setattr("dlcexp.runs.hardware._quick_bfloat16", lambda: quick)
    choose_hardware(tree({"device": "cpu", "trainer.precision": precision}))
    assert ("bfloat16" in caplog.text) == warned
