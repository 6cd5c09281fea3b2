"""A server of W&B on this machine: it accepts everything and keeps the files it is sent."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Answers the parts of W&B's protocol that a run needs; `files` holds uploads by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the data of a GraphQL query."""
        if "createRunFiles" in query:
            links = [{"name": n, "uploadUrl": f"{self.url}/up/{n}"} for n in variables["files"]]
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": links}}
        if "upsertBucket" in query:
            project = {"id": "p", "name": "mice", "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "x", "name": variables["name"], "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        return {}


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        content = self._content()
        if self.path != "/graphql":
            return self._answer({})
        packed = self.headers.get("Content-Encoding") == "gzip"
        asked = json.loads(gzip.decompress(content) if packed else content)
        data = self.server.answer(asked["query"], asked.get("variables") or {})
        return self._answer({"data": data})

    def do_PUT(self) -> None:
        self.server.files[self.path.removeprefix("/up/")] = self._content()
        self._answer({})

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def wandb_server() -> Iterator[Server]:
    """A server that runs meanwhile."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
