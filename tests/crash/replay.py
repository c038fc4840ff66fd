"""An origin that answers the same question once with real git and then from memory: a trial asks it thousands of times.

Below `root` a key leads to the bare repositories that are served under it: a directory, or a link to one, which may
be changed while the origin serves; so each worker sees the push that its trial is at.
"""

import gzip
import os
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from testing.loopback import LoopbackHandler, LoopbackServer
from testing.repositories import git_environment

LIVE = "live"
"""Keys that begin so are answered by git each time: their repositories are being committed to."""


class ReplayingOrigin:
    """Serves fetches of protocol version 2 from `<root>/<key>/<owner>/<name>.git`; a context manager."""

    def __init__(self, root: Path) -> None:
        """Nothing listens yet."""
        self.root = root
        self._answers: dict[tuple[str, bytes], bytes] = {}
        self._server = _Server(self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, key: str, repository: str = "octo/site") -> str:
        """Return the repository's address under a key."""
        return f"http://127.0.0.1:{self._server.server_port}/{key}/{repository}.git"

    def answer(self, path: str, body: bytes) -> bytes:
        """Return what `git upload-pack` says to one request."""
        key = path.split("/")[1]
        directory = os.path.realpath(self.root / path.removeprefix("/").removesuffix("/git-upload-pack"))
        known = None if key.startswith(LIVE) else self._answers.get((directory, body))
        if known is None:
            command = ["git", "-c", "uploadpack.allowAnySHA1InWant=true", "upload-pack", "--stateless-rpc", directory]
            environment = git_environment() | {"GIT_PROTOCOL": "version=2"}
            known = subprocess.run(command, input=body, env=environment, capture_output=True, check=True).stdout
            self._answers[directory, body] = known
        return known


class _Server(LoopbackServer):
    def __init__(self, origin: ReplayingOrigin) -> None:
        self.origin = origin
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(LoopbackHandler):
    wbufsize = 64 * 1024
    server: _Server

    def do_POST(self) -> None:
        """Answer a request of `git-upload-pack`."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "gzip" in self.headers.get("Content-Encoding", ""):
            body = gzip.decompress(body)
        content = self.server.origin.answer(self.path, body)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-result")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
