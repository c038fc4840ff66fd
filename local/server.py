"""A threaded HTTP/1.1 server for loopback that calls a plain function, `Request -> Response`.

It answers every request that it accepted, and stopping waits for those in flight. `http.server` alone answers errors
in HTML, does not read chunked bodies, prints tracebacks for broken connections, and cannot tell idle connections from
busy ones. docs/decisions.md says why it is not werkzeug's.
"""

import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from local.body import BodyRefused, read_body, wants_continue
from local.exchange import Request, Response, message

IDLE_SECONDS = 30.0
"""How long a connection may be silent, between requests or inside one."""
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 1024 * 1024


class LoopbackServer(socketserver.ThreadingTCPServer):
    """Serves `respond` on (host, port) with a thread per connection; port 0 takes any free port.

    Raises OSError when the address cannot be bound. `respond` must not raise; if it does, the answer is a
    bare 500 and one line on standard error.
    """

    allow_reuse_address = True
    daemon_threads = True  # an idle connection must not delay the end; stop() waits for busy ones
    request_queue_size = 128

    def __init__(self, host: str, port: int, respond: Callable[[Request], Response], max_body_bytes: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.respond = respond
        self.max_body_bytes = max_body_bytes
        self.is_stopping = False
        self._busy = 0
        self._is_idle = threading.Condition()
        super().__init__((host, port), _Connection)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def url(self) -> str:
        """The bound address, without a trailing slash."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Start answering, in threads of its own."""
        self._thread.start()

    def stop(self, grace_seconds: float) -> bool:
        """Stop accepting, wait for the requests in flight; return whether all were answered in time."""
        self.is_stopping = True
        self.shutdown()
        self.server_close()
        with self._is_idle:
            return self._is_idle.wait_for(lambda: self._busy == 0, grace_seconds)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as in flight from its last header line until its answer is written."""
        with self._is_idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._is_idle:
                self._busy -= 1
                self._is_idle.notify_all()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that go away; write one line for anything else, never a traceback."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            print(f"git2efs: a connection failed: {type(error).__name__}", file=sys.stderr, flush=True)


class _Connection(BaseHTTPRequestHandler):
    """One connection: read each request whole, answer it, then read the next."""

    server: LoopbackServer
    protocol_version = "HTTP/1.1"
    server_version = "git2efs-local"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one segment

    def handle_one_request(self) -> None:
        """Answer one request; leave the connection usable, or drain and close it."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
        except OSError:
            self.close_connection = True
            return
        if not self.raw_requestline:
            self.close_connection = True
        elif len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self.parse_request():
            with self.server.in_flight():
                self._serve()

    def _serve(self) -> None:
        try:
            body = read_body(self.rfile, self.headers.items(), self.server.max_body_bytes, self._go_ahead)
        except BodyRefused as refusal:
            self._refuse(refusal.status)
            return
        except OSError:
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        peer = str(self.client_address[0])
        headers = tuple(self.headers.items())
        request = Request(self.command, path, query, headers, body, peer, self.request_version)
        try:
            response = self.server.respond(request)
        except Exception as error:
            print(f"git2efs: {type(error).__name__} while answering", file=sys.stderr, flush=True)
            response = message(500)
        self._write(response)

    def _write(self, response: Response) -> None:
        """Send the answer. A client that has gone away is not an error."""
        if self.server.is_stopping:
            self.close_connection = True
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status not in (204, 304):  # RFC 9110: these have neither a body nor a length
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        try:
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _refuse(self, status: int) -> None:
        """Answer without having read the body, then read and discard it.

        Closing a socket with unread bytes makes the kernel send a reset: a client that is still writing would
        lose the answer.
        """
        self.close_connection = True
        self._write(message(status))
        deadline = time.monotonic() + LINGER_SECONDS
        dropped = 0
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while dropped < LINGER_BYTES and (left := deadline - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not (chunk := self.connection.recv(65536)):
                    break
                dropped += len(chunk)

    def _go_ahead(self) -> None:
        if wants_continue(self.headers.items()) and self.request_version >= "HTTP/1.1":
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
            self.wfile.flush()

    def handle_expect_100(self) -> bool:
        """Send nothing yet: refuse a body that is too large before the client sends it."""
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that `http.server` finds wrong with JSON instead of its HTML."""
        # http.server takes an unreadable request line for HTTP/0.9, whose answers have no status line.
        self.request_version = "HTTP/1.1"
        self._refuse(code)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: `respond` writes the line."""
