"""Lambda's Invoke in this process: the publisher function, called as Lambda calls it, for the tests of both transports.

What Lambda does and a plain call does not, by `local.lambda_api`: JSON both ways, a bound of 6 MB on each, and
`FunctionError` where the function raises or is ended. A test may stand between the two sides (`interfering`).
"""

import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from handler import publisher
from handler.network.aws import publisher_function
from local.exchange import Request
from local.lambda_api import FunctionFailed, LambdaApi
from testing.deliveries import LambdaContext

VARIABLE = "GIT2EFS_TEST_TRANSPORT"
"""In the environment: `function` where the mount side is invoked, `process` where it is in a process of its own as well
(`testing.publisher`). Else it is called."""
NAME = "git2efs-publisher"
Answer = Mapping[str, Any]
Interference = Callable[[str, Callable[[], Answer]], Answer]
"""Given an action and what invokes the function for it, return Lambda's answer, or raise what boto3 would raise."""


class Ended(BaseException):
    """Raised in the publisher: Lambda ends its process here, at the deadline or for its memory."""


@dataclass
class _State:
    interference: Interference = lambda action, invoke: invoke()
    remaining_ms: int = 900_000


_state = _State()


def is_function() -> bool:
    """Whether the tests invoke the mount side."""
    return os.environ.get(VARIABLE) == "function"


_BOTO3S = publisher_function.make_lambda_client


class FakeLambda:
    """A client as boto3's, without HTTP between it and the stand-in for Lambda. Safe for threads."""

    def __init__(self) -> None:
        """Call the function in this process."""
        self._api = LambdaApi(_run, NAME)

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Answer:
        """Invoke the function. Raises botocore's ClientError for what Lambda refuses."""
        action = json.loads(Payload)["action"]
        return _state.interference(action, lambda: self._invoke(FunctionName, InvocationType, Payload))

    def _invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> Answer:
        path, headers = f"/2015-03-31/functions/{FunctionName}/invocations", {"X-Amz-Invocation-Type": InvocationType}
        response = self._api.respond(Request("POST", path, "", tuple(headers.items()), Payload, "127.0.0.1"))
        if response.status not in (200, 202):
            raise refusal(response.headers["X-Amzn-ErrorType"], response.status)
        failed = response.headers.get("X-Amz-Function-Error")
        return {"Payload": io.BytesIO(response.body), **({"FunctionError": failed} if failed else {})}


def _run(payload: bytes) -> bytes:
    context = LambdaContext(function_name=NAME, remaining_ms=_state.remaining_ms)
    try:
        return json.dumps(publisher.handler(json.loads(payload), context)).encode()
    except Ended:
        # What its process held in memory is gone too.
        publisher.reset()
        raise FunctionFailed("Task timed out", "Sandbox.Timedout") from None
    except Exception as error:
        raise FunctionFailed(str(error), type(error).__name__) from error


def refusal(code: str, status: int) -> Exception:
    """Return boto3's exception for an invocation that Lambda refuses."""
    from botocore.exceptions import ClientError

    fields = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error: Exception = ClientError(fields, "Invoke")
    return error


@contextmanager
def interfering(interference: Interference) -> Iterator[None]:
    """Stand between the two sides until the block ends."""
    before, _state.interference = _state.interference, interference
    try:
        yield
    finally:
        _state.interference = before


@contextmanager
def ending_in(milliseconds: int) -> Iterator[None]:
    """Let invocations have so little time left, by what Lambda tells them, until the block ends."""
    before, _state.remaining_ms = _state.remaining_ms, milliseconds
    try:
        yield
    finally:
        _state.remaining_ms = before


def for_calls(reason: str) -> pytest.MarkDecorator:
    """Return the mark of a test that only makes sense where the mount side is called; `reason` says why."""
    return pytest.mark.skipif(is_function(), reason=reason)


def environment() -> dict[str, str]:
    """Return the variables of a network side that invokes the mount side, or calls it."""
    return {VARIABLE: "function", "GIT2EFS_PUBLISHER": NAME} if is_function() else {}


def install() -> None:
    """Let clients for Lambda that are made from now on be this one, if the tests invoke the mount side."""
    if is_function():
        publisher_function.make_lambda_client = FakeLambda


def remove() -> None:
    """Let clients for Lambda be boto3's again: a later test in this process may reach a function by loopback."""
    publisher_function.make_lambda_client = _BOTO3S
