from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig

from dlcexp.errors import ConfigError
from dlcexp.runs.hardware import PoseHalfPrecision, choose_hardware

Tree = Callable[..., DictConfig]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pretend that there are so many CUDA devices, and no MPS."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
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
