"""A hub of Hugging Face on this machine, with files that tests put there, and its faults."""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "0" * 40


class Hub:
    """Serves the files of a folder, `OWNER/REPOSITORY/FILE`, as the hub does.

    Attributes:
        requests: method and path of each request for a file.
        fault: how it answers: "" well; "slow" never; "missing" 404; "garbage" a page of text in
            place of the file; "truncated" half of it, as if it were whole; "dies" in the middle.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        self.fault = ""
        self.closing = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def address(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def environment(self, cache: Path, *, offline: bool = False) -> dict[str, str]:
        """Return the variables of a process that uses this hub with an own cache."""
        own = {"HF_ENDPOINT": self.address, "HF_HOME": str(cache)}
        return {**os.environ, **own, "HF_HUB_OFFLINE": "1" if offline else "0"}

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        """Answer one request."""
        path = request.path.partition("?")[0]
        if self.fault == "slow":
            self.closing.wait()
        if "/resolve/" not in path:
            self._send(request, 200 if path == "/" else 404)
            return
        self.requests.append(f"{request.command} {path}")
        repository, _, rest = path.strip("/").partition("/resolve/")
        file = self.folder / repository / rest.partition("/")[2]
        if self.fault == "missing" or not file.is_file():
            code = "EntryNotFound" if file.parent.is_dir() else "RepoNotFound"
            self._send(request, 404, {"X-Error-Code": code})
            return
        content = file.read_bytes()
        named = hashlib.sha256(content).hexdigest()
        sent = content
        if self.fault == "garbage":
            sent = b"<html>sign in</html>".ljust(len(content))
        elif self.fault == "truncated":
            sent = content[: len(content) // 2]
        headers = {
            "ETag": f'"{named}"',
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{named}"',
            "X-Linked-Size": str(len(content)),
            "Content-Length": str(len(sent)),
        }
        self._send(request, 200, headers)
        if body:
            request.wfile.write(sent[: len(sent) // 2] if self.fault == "dies" else sent)

    def _send(
        self, request: BaseHTTPRequestHandler, code: int, headers: dict[str, str] | None = None
    ) -> None:
        request.send_response(code)
        for name, value in (headers or {"Content-Length": "0"}).items():
            request.send_header(name, value)
        if code == 404 and headers:
            request.send_header("Content-Length", "0")
        request.end_headers()


@contextmanager
def running_hub(folder: Path) -> Iterator[Hub]:
    """Run a hub while the context lasts."""
    hub = Hub(folder)
    thread = threading.Thread(target=hub.server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def publish(hub: Hub, address: str, weights: dict[str, Any]) -> Path:
    """Put a state dict on a hub, at an address that a backbone has for it."""
    from safetensors.torch import save_file

    file = hub.folder / address.removeprefix("hf://") / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(weights, file)
    return file


def use(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, *, offline: bool = False) -> None:
    """Have this process use a hub, with an own cache, and ask it anew."""
    from huggingface_hub import constants

    from dlcexp import hub as client

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    addresses = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", addresses)
    client.no_answer.cache_clear()


def place_in_cache(cache: Path, repository: str, name: str) -> Path:
    """Return where a file of a repository is in a cache, for a test to write it."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    place = folder / "snapshots" / COMMIT / name
    place.parent.mkdir(parents=True)
    return place
