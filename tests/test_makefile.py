"""`make` finds a Python that dlcexp runs on, or says what is missing."""

import shutil
import sys
from pathlib import Path

import pytest
from process_support import run_process

ROOT = Path(__file__).resolve().parents[1]
MAKE = shutil.which("make")


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout without environments; `bin` is all that is on the path."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


@pytest.mark.skipif(MAKE is None, reason="needs make")
def test_the_first_python_that_runs_is_taken(checkout):
    (checkout / "bin" / "python3.13").symlink_to(Path(sys.executable).resolve())
    broken = checkout / "bin" / "python3.12"  # as a shim of pyenv for a version that is not there
    broken.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    broken.chmod(0o755)
    done = run_process([MAKE, "-n", "install"], cwd=checkout, env={"PATH": str(checkout / "bin")})
    assert "python3.13 -m venv .venv" in done.stdout


@pytest.mark.skipif(MAKE is None, reason="needs make")
def test_without_a_python_it_says_which_are_needed(checkout):
    done = run_process([MAKE, "install"], cwd=checkout, env={"PATH": str(checkout / "bin")})
    assert done.returncode == 2
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
