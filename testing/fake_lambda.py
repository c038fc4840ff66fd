"""Lambda's Invoke in this process: the publisher function, called as Lambda calls it, for the tests of both transports.

What Lambda does and a plain call does not: JSON both ways, a bound of 6 MB on each, an answer that says that the
function raised instead of the exception, and an end at the function's timeout.
"""

import io
import json
import os
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from handler import publisher
from handler.network.aws import publisher_function
from testing.deliveries import LambdaContext

VARIABLE = "GIT2EFS_TEST_TRANSPORT"
"""`function` in the environment: the mount side is invoked. Else it is called."""
NAME = "git2efs-publisher"
MAX_BYTES = 6 * 1024 * 1024


def is_function() -> bool:
    """Whether the tests invoke the mount side."""
    return os.environ.get(VARIABLE) == "function"


class FakeLambda:
    """A client as boto3's. Safe for threads."""

    def __init__(self, seconds: float | None = None) -> None:
        """The function is given up after `seconds`; its thread goes on, as a frozen process might. None: never."""
        self._seconds = seconds

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Mapping[str, Any]:
        """Invoke the function synchronously."""
        assert (FunctionName, InvocationType) == (NAME, "RequestResponse")
        if len(Payload) > MAX_BYTES:
            raise _refused("RequestTooLargeException", 413)
        answers: list[bytes] = []

        def run() -> None:
            context = LambdaContext(function_name=NAME, remaining_ms=int((self._seconds or 900.0) * 1000))
            answers.append(json.dumps(publisher.handler(json.loads(Payload), context)).encode())

        if self._seconds is None:
            run()
        else:
            thread = threading.Thread(target=run, name="publisher", daemon=True)
            thread.start()
            thread.join(self._seconds)
        if not answers:
            return _failed("Sandbox.Timedout")
        if len(answers[0]) > MAX_BYTES:
            return _failed("Function.ResponseSizeTooLarge")
        return {"StatusCode": 200, "Payload": io.BytesIO(answers[0])}


def _failed(kind: str) -> Mapping[str, Any]:
    content = json.dumps({"errorType": kind, "errorMessage": "for the test"}).encode()
    return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(content)}


def _refused(code: str, status: int) -> Exception:
    from botocore.exceptions import ClientError

    error: Exception = ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Invoke")
    return error


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
