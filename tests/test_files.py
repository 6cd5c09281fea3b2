"""Files are whole or absent, also when the process is killed or the disk is full."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from disk_support import full_disk

from dlcexp.errors import StorageError
from dlcexp.files import replacing, temporary_name, write_text

WRITERS = {
    "x.txt": lambda path: path.write_text("x" * 500_000),
    "x.pt": lambda path: torch.save({"weights": torch.zeros(500_000)}, path),
    "x.h5": lambda path: pd.DataFrame(np.zeros((90_000, 2))).to_hdf(path, key="table"),
    "x.csv": lambda path: pd.DataFrame(np.zeros((90_000, 2))).to_csv(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_a_message_and_leaves_the_former_file(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"before")
    with full_disk(100_000), pytest.raises(StorageError) as raised, replacing(path) as temporary:
        WRITERS[name](temporary)
    assert "File too large" in str(raised.value)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_what_killed_processes_had_begun_is_removed_and_what_lives_is_kept(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from dlcexp.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary: os._exit(9)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "figure.v2.png")]
    assert subprocess.run(command, check=False).returncode == 9
    (begun,) = tmp_path.iterdir()
    alive, foreign = temporary_name(tmp_path / "alive.png"), tmp_path / ".figure-abc.png"
    for path in (alive, foreign):
        path.touch()
    write_text(tmp_path / "new.txt", "")
    assert not begun.exists()
    assert {path.name for path in tmp_path.iterdir()} == {alive.name, foreign.name, "new.txt"}


def test_a_folder_that_was_removed_is_a_message(tmp_path):
    path = tmp_path / "folder" / "x"
    with pytest.raises(StorageError, match="was removed"), replacing(path):
        shutil.rmtree(path.parent)
