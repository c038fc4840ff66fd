"""Lambda's Invoke on loopback, for one function: a client finds it through AWS_ENDPOINT_URL_LAMBDA.

It keeps Lambda's bounds on messages, both ways, and answers failures as Lambda does. Any number of synchronous
invocations at once, as an account may have them; asynchronous ones, one after the other and without a second try.
"""

import json
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from urllib.parse import unquote

from handler.network.background import Background
from local.exchange import Request, Response
from local.server import LoopbackServer

PUBLISHER_NAME = "git2efs-local-publisher"
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
"""What Lambda takes and answers in a synchronous invocation."""
_MAX_BYTES = {"RequestResponse": MAX_PAYLOAD_BYTES, "Event": 256 * 1024}
_MAX_READ_BYTES = 4 * MAX_PAYLOAD_BYTES
"""More than that is refused unread, without Lambda's own words."""
_PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")

Invoke = Callable[[bytes], bytes]
"""Run the function: payload -> answer, both JSON. May raise FunctionFailed. Safe for threads."""


class FunctionFailed(Exception):
    """The function gave no answer: it raised, its process died, or its time was over."""

    def __init__(self, message: str, kind: str = "Runtime.ExitError") -> None:
        super().__init__(message)
        self.kind = kind


class LambdaApi:
    """Answers invocations of the function `name`, by its name or its ARN."""

    def __init__(self, invoke: Invoke, name: str = PUBLISHER_NAME) -> None:
        self._invoke = invoke
        self._name = name
        self._events = Background()

    def respond(self, request: Request) -> Response:
        """Answer one request of Lambda's API."""
        match = _PATH.fullmatch(request.path)
        if match is None or request.method != "POST":
            return _refused(404, "UnknownOperationException", "there is no such operation here")
        if unquote(match[1]).rpartition(":")[2] != self._name:
            return _refused(404, "ResourceNotFoundException", "there is no such function here")
        kind = request.header("X-Amz-Invocation-Type") or "RequestResponse"
        if kind not in _MAX_BYTES:
            return _refused(400, "InvalidParameterValueException", f"{kind} is no type of invocation that is answered")
        if len(request.body) > _MAX_BYTES[kind]:
            why = f"{len(request.body)} bytes are more than {_MAX_BYTES[kind]}"
            return _refused(413, "RequestTooLargeException", why)
        if kind == "Event":
            self._events.submit(str(uuid.uuid4()), partial(self._run_event, request.body))
            return Response(202, b"", _headers())
        try:
            answer = self._invoke(request.body)
        except FunctionFailed as error:
            return _failed(error.kind, str(error))
        if len(answer) > MAX_PAYLOAD_BYTES:
            return _failed("Function.ResponseSizeTooLarge", f"the answer has more than {MAX_PAYLOAD_BYTES} bytes")
        return Response(200, answer, _headers())

    def _run_event(self, payload: bytes) -> None:
        # What it answers is lost, as on Lambda.
        with suppress(FunctionFailed):
            self._invoke(payload)


def lambda_server(invoke: Invoke, name: str = PUBLISHER_NAME, host: str = "127.0.0.1", port: int = 0) -> LoopbackServer:
    """Return the endpoint, bound and not yet started. Raises OSError when the address cannot be bound."""
    return LoopbackServer(host, port, LambdaApi(invoke, name).respond, _MAX_READ_BYTES)


def _failed(kind: str, why: str) -> Response:
    # Lambda's status is 200: the invocation did take place.
    body = json.dumps({"errorMessage": why, "errorType": kind}).encode()
    return Response(200, body, _headers() | {"X-Amz-Function-Error": "Unhandled"})


def _refused(status: int, code: str, why: str) -> Response:
    return Response(status, json.dumps({"Message": why}).encode(), _headers() | {"X-Amzn-ErrorType": code})


def _headers() -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-Amz-Executed-Version": "$LATEST",
        "X-Amzn-RequestId": str(uuid.uuid4()),
    }
