"""One AWS service, simulated by moto, on a loopback port, for boto3 clients in this process and in child processes.

Clients find it through an endpoint variable. Nothing patches botocore: the tests use the code that runs in Lambda, down
to its sockets. Switches make the service throttle, hang or hang up.
"""

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from local.event import ACCOUNT_ID
from local.moto_call import call_moto, operation_of
from local.parameters import REGION, import_parameter_store
from testing.loopback import LoopbackHandler, LoopbackServer

if TYPE_CHECKING:
    import pytest

MAX_HANG_SECONDS = 30.0

Asked = dict[str, Any]


class AwsService:
    """Listens until `stop`. A subclass names the service, and keeps the calls.

    While `is_down` it hangs up on every call. While `is_hanging` it waits for `stop`, or MAX_HANG_SECONDS, before it
    hangs up. It delays every answer by `delay_seconds`.
    """

    ENDPOINT_VARIABLE: ClassVar[str]
    ERROR_PREFIX: ClassVar[str] = ""
    """The service's prefix of error codes."""

    def __init__(self) -> None:
        """Listen on a free loopback port. The first call imports moto, which takes 0.3 s."""
        self.is_down = False
        self.is_hanging = False
        self.delay_seconds = 0.0
        self.released = threading.Event()
        self._faults: list[tuple[int, Asked]] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        serve = self._server.serve_forever
        threading.Thread(target=serve, kwargs={"poll_interval": 0.05}, name=type(self).__name__, daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and release hanging calls."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """The URL of the service."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a client here."""
        return {self.ENDPOINT_VARIABLE: self.endpoint}

    def lead_here(self, monkeypatch: "pytest.MonkeyPatch") -> None:
        """Set `environment` in this process, until the test ends."""
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)

    def fail_next(self, n: int = 1, error: str = "ThrottlingException", status: int = 400) -> None:
        """Answer the next `n` calls with an error of the service's."""
        answer = {"__type": self.ERROR_PREFIX + error, "message": "ordered by a test: octo/site"}
        self.answer_next(n, status, answer)

    def answer_next(self, n: int, status: int, answer: Asked) -> None:
        """Answer the next `n` calls with this, whatever they ask."""
        with self._lock:
            self._faults += [(status, answer)] * n

    def forget_faults(self) -> None:
        """Answer normally again."""
        with self._lock:
            self._faults.clear()

    def respond(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Answer one call of the JSON protocol: with an ordered fault, or with moto's answer."""
        operation, asked = operation_of(headers)[1], json.loads(body or b"{}")
        with self._lock:
            self._note(operation, asked)
            if self._faults:
                status, answer = self._faults.pop(0)
                return status, json.dumps(answer).encode()
            status, content = call_moto(headers, body)
            if status == 200:
                self._took(asked, json.loads(content or b"{}"))
        return status, content

    def _note(self, operation: str, asked: Asked) -> None:
        """Record a call, before it is answered."""
        raise NotImplementedError

    def _took(self, asked: Asked, answered: Asked) -> None:
        """Record a call that moto answered with 200; by default do nothing."""

    @staticmethod
    def backend(service: str) -> Any:
        """Return moto's object for a service, to change what no call can: times and visibility."""
        from moto.backends import get_backend

        import_parameter_store()
        return get_backend(service)[ACCOUNT_ID][REGION]  # type: ignore[call-overload]


class _Server(LoopbackServer):
    def __init__(self, service: AwsService) -> None:
        self.service = service
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(LoopbackHandler):
    wbufsize = 64 * 1024
    server: _Server
    connection: socket.socket

    def do_POST(self) -> None:
        """Answer one call."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = self.server.service
        if service.is_hanging:
            service.released.wait(MAX_HANG_SECONDS)
        if service.is_down or service.is_hanging:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if service.delay_seconds:
            service.released.wait(service.delay_seconds)
        status, content = service.respond(dict(self.headers.items()), body)
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Content-Type", "application/x-amz-json-1.1"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
