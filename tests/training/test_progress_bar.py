import io
import logging
import os
import re
import sys
import threading
from types import SimpleNamespace

import pytest

from dlcexp.commands.train import log_to_console
from dlcexp.training.fit import train
from dlcexp.training.progress_bar import Clock, ProgressBar, ProgressLines, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = SimpleNamespace(progress_bar=True, display_iters=10)
    unwanted = SimpleNamespace(progress_bar=False, display_iters=10)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(progress(wanted), ProgressLines)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(progress(wanted), ProgressBar)
    assert isinstance(progress(unwanted), ProgressLines)


def test_the_bar_tells_epoch_speed_loss_and_time(tree, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    train(tree({"trainer.progress_bar": True, "epochs": 2, "evaluation.examples": 0}), tmp_path)
    text = terminal.getvalue()
    assert "epoch 2/2: 100%" in text
    assert "20/20" in text
    assert "images/s" in text
    assert "loss=" in text


@pytest.mark.skipif(os.name == "nt", reason="a terminal of POSIX")
def test_each_epoch_is_one_line_on_a_real_terminal(tree, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    termios = pytest.importorskip("termios")
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    read: list[bytes] = []

    def drain() -> None:
        while chunk := os.read(ours, 1024):
            read.append(chunk)
            if b"END" in chunk:
                return

    reader = threading.Thread(target=drain)
    reader.start()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        log_to_console()
        train(tree({"trainer.progress_bar": True, "epochs": 2, "evaluation.examples": 0}), tmp_path)
        terminal.write("END")
        terminal.flush()
        reader.join()
    os.close(ours)
    lines = re.split(r"[\r\n]+", b"".join(read).decode())
    for epoch in (1, 2):
        assert sum(f"epoch {epoch}/2  loss" in line for line in lines) == 1
        assert any(re.search(rf"epoch {epoch}/2: .*loss=\d", line) for line in lines), lines
    losses = re.findall(r"epoch ./2: .*loss=([\d.e+-]+)", "\n".join(lines))
    assert len({*losses}) > 1
    assert any("scoring the " in line for line in lines)


def test_lines_elsewhere(tree, tmp_path, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    caplog.set_level(logging.INFO, logger="dlcexp")
    train(tree({"trainer.display_iters": 2, "epochs": 2, "evaluation.examples": 0}), tmp_path)
    lines = [m for m in caplog.messages if m.startswith("epoch")]
    assert [line.split("  ")[:2] for line in lines if "step" in line] == [
        ["epoch 1/2", "step 2/3"], ["epoch 2/2", "step 1/3"], ["epoch 2/2", "step 3/3"]
    ]  # fmt: skip
    assert all("images/s" in line and "left" in line for line in lines)
    assert "test.rmse" in lines[-1]


def test_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("dlcexp.training.progress_bar.monotonic", lambda: now[0])
    clock = Clock(done=2)
    now[0] = 160.0
    assert str(clock.left(4, 8)) == "0:02:00"
