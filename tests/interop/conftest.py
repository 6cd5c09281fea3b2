"""The real DeepLabCut, in an environment of its own that `make interop` builds."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(__file__).resolve().parents[2] / ".venv-dlc" / "bin" / "python"
SCRIPTS = Path(__file__).parent / "scripts"

RunDeepLabCut = Callable[..., dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def deeplabcut() -> RunDeepLabCut:
    """Run a script of `scripts/` with the real DeepLabCut.

    The script gets its arguments as text and prints one JSON object as its last line.
    """
    if not PYTHON.exists():
        pytest.skip("the environment of the real DeepLabCut is missing: make interop")

    def run(script: str, *arguments: object) -> dict[str, Any]:
        command = [str(PYTHON), "-W", "ignore", str(SCRIPTS / f"{script}.py"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        print(done.stdout, file=sys.stderr)
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))

    return run


@pytest.fixture(scope="session")
def parity_fill(shared: Path) -> Any:
    """`fill.py` of the parity records: weights and images by name and shape."""
    spec: Any = importlib.util.spec_from_file_location("fill", shared / "parity" / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
