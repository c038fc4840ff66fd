"""An EventBridge bus on a loopback port: moto's, which holds an entry to what EventBridge takes.

Clients find it through AWS_ENDPOINT_URL_EVENTBRIDGE, with nothing of botocore patched; a bus that throttles, hangs or
hangs up is a switch.
"""

import contextlib
import json
import socket
import threading
import uuid
from http.server import BaseHTTPRequestHandler
from typing import Any

from testing.loopback import LoopbackServer
from testing.parameters import ACCOUNT, REGION

MAX_HANG_SECONDS = 30.0


class Bus:
    """A bus of its own for each test.

    `calls` lists what was asked in each PutEvents, in order; `events` what the bus took, in the
    envelopes that rules see.
    """

    def __init__(self) -> None:
        """Listen on a free loopback port."""
        self.calls: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.name = f"bus-{uuid.uuid4().hex[:12]}"
        self.is_down = False
        self.is_hanging = False
        self.delay_seconds = 0.0
        self.released = threading.Event()
        self._faults: list[tuple[int, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._server = _Server(self)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="bus", daemon=True
        ).start()
        from moto.events.models import events_backends

        events_backends[ACCOUNT][REGION].create_event_bus(self.name)

    def stop(self) -> None:
        """Stop listening, and let go of what hangs."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a client here."""
        return {"AWS_ENDPOINT_URL_EVENTBRIDGE": f"http://127.0.0.1:{self._server.server_port}"}

    def of_type(self, detail_type: str) -> list[dict[str, Any]]:
        """Return the details of all events of a type."""
        return [event["detail"] for event in self.events if event["detail-type"] == detail_type]

    def fail_next(self, n: int = 1, error: str = "ThrottlingException", status: int = 400) -> None:
        """Answer the next `n` calls with an error."""
        self._faults += [(status, {"__type": error, "message": "ordered by a test: octo/site"})] * n

    def refuse_next(self, n: int = 1, error: str = "InternalFailure") -> None:
        """Answer the next `n` calls with 200, and an entry that was not taken."""
        entry = {"ErrorCode": error, "ErrorMessage": "ordered by a test: octo/site"}
        self._faults += [(200, {"FailedEntryCount": 1, "Entries": [entry]})] * n

    def forget_faults(self) -> None:
        """Answer as it should again."""
        self._faults.clear()

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Answer one call: a fault that was ordered, or what moto says."""
        from botocore.awsrequest import AWSPreparedRequest
        from botocore.compat import HTTPHeaders
        from moto.core.botocore_stubber import BotocoreStubber

        all_headers = HTTPHeaders()
        for key, value in headers.items():
            if key.lower() != "host":
                all_headers[key] = value
        with self._lock:
            self.calls.append(json.loads(body))
            if self._faults:
                status, content = self._faults.pop(0)
                return status, json.dumps(content).encode()
            url = f"https://events.{REGION}.amazonaws.com/"
            response = BotocoreStubber().process_request(AWSPreparedRequest("POST", url, all_headers, body, False))
            assert response, "moto does not know EventBridge's address"
            status, _, text = response
            if status == 200 and not json.loads(text).get("FailedEntryCount", 1):
                self.events += map(_envelope, self.calls[-1]["Entries"])
        return status, text.encode() if isinstance(text, str) else text


def _envelope(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as rules see it."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT,
        "region": REGION,
        "resources": [],
        "detail": json.loads(entry["Detail"]),
    }


class _Server(LoopbackServer):
    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server: _Server
    connection: socket.socket

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def do_POST(self) -> None:
        """Answer one call of the JSON 1.1 protocol."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bus = self.server.bus
        if bus.is_hanging:
            bus.released.wait(MAX_HANG_SECONDS)
        if bus.is_down or bus.is_hanging:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        bus.released.wait(bus.delay_seconds)
        status, content = bus.answer(dict(self.headers.items()), body)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
