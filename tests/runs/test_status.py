import pytest
import torch
from disk_support import small_disk

from dlcexp.errors import ConfigError
from dlcexp.runs.status import Status, explain, kind_of, read_status, write_status
from dlcexp.training.module import DivergenceError


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigError("a", "b"), "mistake"),
        (DivergenceError("the loss became nan"), "diverged"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(1), "interrupted"),
        (ValueError("x"), "error"),
    ],
)
def test_an_exception_is_of_a_kind(error, kind):
    assert kind_of(error) == kind


def test_torch_without_memory_is_known_by_its_words():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert kind_of(caught.value) == "out of memory"


def test_a_line_about_an_exception():
    assert explain(ConfigError("a", "b")) == "a: b"
    assert explain(ValueError("x")) == "ValueError: x"


def test_a_status_is_read_back(tmp_path):
    assert read_status(tmp_path) == Status()
    status = Status("failed", "broken", "error", 2.5, "2026-11-24T10:00:00+00:00")
    write_status(tmp_path, status)
    assert read_status(tmp_path) == status


def test_a_full_disk_has_room_for_how_a_run_ended(tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=64) as folder:
        write_status(folder, Status("running", seconds=123456.5, started="2026-11-24"))
        with pytest.raises(OSError, match="No space"):
            (folder / "filler").write_bytes(bytes(1 << 20))
        failed = Status("failed", "No space left on device", "mistake", 2.5)
        write_status(folder, failed)
        assert read_status(folder) == failed
