"""The operator's way to `serve`: a socket in the mount, which `git2efs ACTION --local DIR` asks (`handler.cli.served`).

Not a port: the webhook's is often behind a tunnel, and any user of this machine reaches any port. The socket can be
opened by the user alone whose process serves.
"""

import json
import os
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from handler.cli.served import SOCKET, socket_address
from handler.errors import Malformed
from handler.network.operations.stack import StackParameters
from handler.outcome import as_failure

_MAX_LINE_BYTES = 1024 * 1024


class _Connection(socketserver.StreamRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        """Answer one line."""
        try:
            answer = {"result": self._answer(self.rfile.readline(_MAX_LINE_BYTES))}
        except Exception as error:  # a defect too is an answer
            failure = as_failure(error)
            answer = {"failure": {"reason": failure.reason, "message": str(failure)}}
        with suppress(OSError):  # who asked is gone
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    def _answer(self, line: bytes) -> object:
        ((what, argument),) = json.loads(line).items()
        if what == "operate":
            # Imported late, as the webhook is: it reads the environment.
            from handler.operate import handler

            return handler(argument, None)
        if what == "describe":
            return {"prefix": self.server.prefix}
        return self._parameter(what, argument)

    def _parameter(self, what: str, argument: Any) -> object:
        parameters = StackParameters()
        if what == "read":
            return parameters.read(argument)
        if what == "write":
            parameters.write(argument["name"], argument["value"], is_secure=argument["is_secure"])
            return None
        raise Malformed("what is asked is nothing that is known")


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, prefix: str) -> None:
        self.prefix = prefix
        super().__init__(path, _Connection, bind_and_activate=False)


@contextmanager
def operated(mount: str, prefix: str) -> Iterator[None]:
    """Answer operators at the mount's socket until the block ends; where there can be none, say so and go on."""
    path = os.path.join(mount, SOCKET)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with socket_address(mount) as address:
            server = _bound(address, prefix)
    except OSError as error:
        # The file system has no sockets, say. Webhooks need none.
        why = error.strerror or error
        print(f"git2efs: no operator's command here: cannot listen at {path}: {why}", file=sys.stderr, flush=True)
        yield
        return
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="operator", daemon=True)
    thread.start()
    made = os.stat(path).st_ino
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        with suppress(OSError):
            if os.stat(path).st_ino == made:  # not that of a service that came later
                os.unlink(path)


def _bound(path: str, prefix: str) -> _Server:
    with suppress(FileNotFoundError):
        os.unlink(path)  # a service that was killed left it
    server = _Server(path, prefix)
    try:
        server.server_bind()
        # Before it listens: nobody connects to a socket that others may open yet.
        os.chmod(path, 0o600)
        server.server_activate()
    except BaseException:
        server.server_close()
        raise
    return server
