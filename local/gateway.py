"""API Gateway on loopback: `POST /github` becomes an event for the handler, its answer becomes the response.

So does `POST /github/<owner>/<name>`, for a repository with a secret of its own, and the same for each other forge.

This answers as an HTTP API does: 404 for any other route, 413 for a body over 10 MB, 500 when the handler fails. It
has no integration timeout of 30 s: somebody who tries a first, large fetch wants the answer, not a 503.
"""

import re
import secrets
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from handler.model import Forge
from local.event import ACCOUNT_ID, AnswerMalformed, http_api_event, read_answer
from local.exchange import Request, Response, message
from local.server import LoopbackServer

ROUTE = "/github"
_URL = re.compile(rf"/({'|'.join(Forge)})(/[^/]+/[^/]+)?")
MAX_BODY_BYTES = 10 * 1024 * 1024
FUNCTION_NAME = "git2efs-local-webhook"
MEMORY_MIB = 1024
TIMEOUT_SECONDS = 900.0
MANY = 1000
"""Concurrent runs that an account may have by default."""

Handler = Callable[[dict[str, Any], Any], Any]
"""A Lambda handler: (event, context) -> proxy answer."""


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """The context that Lambda passes with the event; the names are Lambda's."""

    aws_request_id: str
    function_name: str = FUNCTION_NAME
    function_version: str = "$LATEST"
    invoked_function_arn: str = f"arn:aws:lambda:us-east-1:{ACCOUNT_ID}:function:{FUNCTION_NAME}"
    memory_limit_in_mb: int = MEMORY_MIB
    log_group_name: str = f"/aws/lambda/{FUNCTION_NAME}"
    log_stream_name: str = "local"
    identity: None = None
    client_context: None = None
    deadline: float = field(default_factory=lambda: time.monotonic() + TIMEOUT_SECONDS)

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda would end the run; never negative."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


class Gateway:
    """Answers requests with `handler`, concurrently: each has a thread of its own.

    At most `environments` run at once; more of them wait. Unlike Lambda's environments, threads share a processor:
    the measured time of a run means something only while few threads run.
    """

    def __init__(self, handler: Handler, environments: int = MANY, is_ready: Callable[[], bool] = lambda: True) -> None:
        """`/healthz` answers 503 while what the handler needs is not ready."""
        self._handler = handler
        self._is_ready = is_ready
        self._environments = threading.Semaphore(environments)

    def respond(self, request: Request) -> Response:
        """Route one request and write its one line to standard error."""
        started = time.monotonic()
        if request.path == "/healthz" and request.method in ("GET", "HEAD"):
            status, text = (200, b"ok") if self._is_ready() else (503, b"not ready")
            return Response(status, text, {"Content-Type": "text/plain"})
        route = route_of(request.method, request.path)
        response = message(404) if route is None else self._invoke(request, route)
        milliseconds = (time.monotonic() - started) * 1000
        # repr: a path or method with control characters must not forge a line or drive the terminal.
        what = ascii(f"{request.method} {request.path}"[:200])[1:-1]
        print(f"{what} {response.status} {milliseconds:.0f} ms", file=sys.stderr, flush=True)
        return response

    def _invoke(self, request: Request, route: str) -> Response:
        request_id = secrets.token_urlsafe(11) + "="
        now = time.time()
        trace_id = f"Root=1-{int(now):08x}-{secrets.token_hex(12)}"
        event = http_api_event(request, request_id, now, trace_id, route)
        try:
            with self._environments:
                response = read_answer(self._handler(event, LambdaContext(str(uuid.uuid4()))))
        except (Exception, SystemExit) as error:
            response = message(500)
            if isinstance(error, AnswerMalformed):
                why = f"the handler's answer was refused: {error}"
            else:
                why = traceback.format_exception_only(error)[-1].strip()
            print(f"git2efs: {why}", file=sys.stderr, flush=True)
        return Response(response.status, response.body, {**response.headers, "apigw-requestid": request_id})


def route_of(method: str, path: str) -> str | None:
    """Return the key of the route that a request matches, None if none does. A variable matches one part."""
    match = _URL.fullmatch(path) if method == "POST" else None
    if match is None:
        return None
    return f"POST /{match[1]}" + ("/{owner}/{name}" if match[2] else "")


def gateway_server(
    handler: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    environments: int = MANY,
    is_ready: Callable[[], bool] = lambda: True,
) -> LoopbackServer:
    """Return the endpoint, bound and not yet started. Raises OSError when the address cannot be bound."""
    return LoopbackServer(host, port, Gateway(handler, environments, is_ready).respond, MAX_BODY_BYTES)
