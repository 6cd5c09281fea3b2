"""Locks between real processes: refused, released, and left by a process that was killed."""

import socket
import sys
from pathlib import Path

import pytest
from process_support import holder, wait_until

from dlcexp.errors import UserError
from dlcexp.locks import held


def test_a_place_in_use_is_refused_with_the_process_that_uses_it(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a" / ".lock"
    with holder(path) as process:
        user = f"runs is in use by process {process.pid} on {socket.gethostname()}. Wait."
        with pytest.raises(UserError) as caught, held(path, "runs", "Wait."):
            pass
        assert str(caught.value) == user
    assert not list(tmp_path.iterdir())
    with held(path, "runs", "Wait."):
        assert path.is_file()


def is_free(path: Path) -> bool:
    try:
        with held(path, "runs", "Wait."):
            return True
    except UserError:
        return False


@pytest.mark.skipif(not hasattr(sys, "getdlopenflags"), reason="Windows has no fork")
@pytest.mark.parametrize("child", [(), ("child",)], ids=["alone", "with a child that is left"])
def test_the_lock_of_a_killed_process_is_taken_over(child: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(path, *child) as process:
        process.kill()
        process.wait()
        # A child that was just made lets go of the lock a moment later.
        wait_until(lambda: is_free(path), what="the lock is not taken over")
        with held(path, "runs", "Wait."), held(path, "runs", "Wait."):
            assert "process" in (tmp_path / ".lock.txt").read_text()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lock = held(tmp_path / "file" / ".lock", "runs", "Choose.")
    with pytest.raises(UserError, match=r"file cannot be written"), lock:
        pass
