"""Parameter Store on a loopback port: moto's, for boto3 clients in this process and in child processes.

Clients find it through AWS_ENDPOINT_URL_SSM. Nothing of botocore is patched, so that what is tested is what
runs in Lambda, down to its sockets; and a store that throttles or hangs up is a switch.
"""

import contextlib
import json
import socket
import threading
from collections import Counter
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from testing.loopback import LoopbackServer

REGION = "us-east-1"
ACCOUNT = "123456789012"


class ParameterStore:
    """One store for a whole test session: tests keep apart by their prefixes.

    `calls` lists (operation, name or names) of what clients asked, in order; its own methods do not count.
    """

    def __init__(self) -> None:
        """Nothing listens before `start`."""
        self.calls: list[tuple[str, str]] = []
        self.is_down = False
        self._lock = threading.Lock()
        self._faults: list[tuple[str, int]] = []
        self._server: AwsServer | None = None

    def start(self) -> "ParameterStore":
        """Listen on a free loopback port; the first call pays for moto's import (a second)."""
        self._server = AwsServer(self)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="parameters", daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    @property
    def endpoint(self) -> str:
        """What AWS_ENDPOINT_URL_SSM has to be."""
        assert self._server, "the parameter store is not started"
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self) -> dict[str, str]:
        """Return the AWS variables that lead a client here."""
        return {
            "AWS_ENDPOINT_URL_SSM": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_SESSION_TOKEN": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def put(self, name: str, value: str, *, is_secure: bool = False) -> None:
        """Write a new version of a parameter."""
        kind = "SecureString" if is_secure else "String"
        with self._lock:
            self._backend().put_parameter(name, "", value, kind, "", "", True, [], "text", None, None)

    def delete(self, name: str) -> None:
        """Delete a parameter with its history."""
        with self._lock:
            self._backend().delete_parameter(name)

    def age(self, name: str, seconds: float) -> None:
        """Make every version of a parameter that many seconds older (moto's own clock cannot be set)."""
        with self._lock:
            for version in self._backend()._parameters[name]:
                version.last_modified_date -= timedelta(seconds=seconds)

    def fail_next(self, n: int = 1, error: str = "ThrottlingException", status: int = 400) -> None:
        """Answer the next `n` calls with an error of SSM's (or AccessDeniedException, ...)."""
        with self._lock:
            self._faults += [(error, status)] * n

    def reset(self) -> None:
        """Forget faults and calls; the parameters stay."""
        with self._lock:
            self._faults.clear()
            self.calls.clear()
            self.is_down = False

    def counts(self) -> Counter[str]:
        """How many calls of each operation there were."""
        with self._lock:
            return Counter(operation for operation, _ in self.calls)

    def answer(self, operation: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Answer one call of a client: a fault that was ordered, or what moto says."""
        from botocore.awsrequest import AWSPreparedRequest
        from botocore.compat import HTTPHeaders
        from moto.core.botocore_stubber import BotocoreStubber

        asked = json.loads(body or b"{}")
        name = asked.get("Name") or asked.get("Path") or ",".join(asked.get("Names", []))
        url = f"https://ssm.{REGION}.amazonaws.com/"
        all_headers = HTTPHeaders()
        for key, value in headers.items():
            if key.lower() != "host":
                all_headers[key] = value
        with self._lock:
            self.calls.append((operation, name))
            if self._faults:
                error, status = self._faults.pop(0)
                return status, json.dumps({"__type": error, "message": "ordered by a test"}).encode()
            request = AWSPreparedRequest("POST", url, all_headers, body, False)
            response = BotocoreStubber().process_request(request)
        assert response, "moto does not know SSM's address"
        status, _, content = response
        return status, content.encode() if isinstance(content, str) else content

    @staticmethod
    def _backend() -> Any:
        from moto.ssm.models import ssm_backends

        return ssm_backends[ACCOUNT][REGION]


class Answering(Protocol):
    """What stands behind an AwsServer; `is_down` hangs up on every call."""

    is_down: bool

    def answer(self, operation: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Return the status and the content for one call of the JSON protocol."""
        ...


class AwsServer(LoopbackServer):
    """One AWS service on a free loopback port."""

    def __init__(self, store: Answering) -> None:
        """Bound, and not yet serving."""
        self.store = store
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server: AwsServer
    connection: socket.socket

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        """Answer one call of the JSON 1.1 protocol."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        store = self.server.store
        if store.is_down:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        status, content = store.answer(operation, dict(self.headers.items()), body)
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Content-Type", "application/x-amz-json-1.1"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
