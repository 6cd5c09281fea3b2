"""The real DeepLabCut, in an environment of its own that `make interop` builds."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
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
def deeplabcut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDeepLabCut]:
    """Run a script of `scripts/` with the real DeepLabCut, each in a process of its own.

    The script gets its arguments as text and prints one JSON object as its last line.
    """
    if not PYTHON.exists():
        pytest.skip("the environment of the real DeepLabCut is missing: make interop")
    folder = tmp_path_factory.mktemp("deeplabcut")
    printed = folder / "out", folder / "err"
    command = [PYTHON, "-W", "ignore", SCRIPTS / "serve.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as server:
        assert server.stdin
        assert server.stdout

        def run(script: str, *arguments: object) -> dict[str, Any]:
            words = [SCRIPTS / f"{script}.py", *printed, *arguments]
            print(json.dumps([str(word) for word in words]), file=server.stdin)
            code = server.stdout.readline().strip()
            out, err = (path.read_text() if path.is_file() else "" for path in printed)
            assert code == "0", f"{script} ended with {code or 'its server'}\n{out}\n{err}"
            print(out, file=sys.stderr)
            return dict(json.loads(out.strip().splitlines()[-1]))

        yield run
