"""Lambda's Invoke in this process: the publisher function, called as Lambda calls it, for the tests of both transports.

What Lambda does and a plain call does not, by `local.lambda_api`: JSON both ways, and a bound of 6 MB on each.
"""

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import pytest

from handler import publisher
from handler.network.aws import publisher_function
from local.exchange import Request, Response
from local.lambda_api import LambdaApi
from testing.deliveries import LambdaContext

VARIABLE = "GIT2EFS_TEST_TRANSPORT"
"""In the environment: `function` where the mount side is invoked, `process` where it is in a process of its own as well
(`testing.publisher`). Else it is called."""
NAME = "git2efs-publisher"


def is_function() -> bool:
    """Whether the tests invoke the mount side."""
    return os.environ.get(VARIABLE) == "function"


class FakeLambda:
    """A client as boto3's, without HTTP between it and the stand-in for Lambda. Safe for threads."""

    def __init__(self) -> None:
        """Call the function in this process."""
        self._api = LambdaApi(_run, NAME)

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Mapping[str, Any]:
        """Invoke the function. Raises botocore's ClientError for what Lambda refuses."""
        path, headers = f"/2015-03-31/functions/{FunctionName}/invocations", {"X-Amz-Invocation-Type": InvocationType}
        response = self._api.respond(Request("POST", path, "", tuple(headers.items()), Payload, "127.0.0.1"))
        if response.status not in (200, 202):
            raise _refusal(response)
        failed = response.headers.get("X-Amz-Function-Error")
        return {"Payload": io.BytesIO(response.body), **({"FunctionError": failed} if failed else {})}


def _run(payload: bytes) -> bytes:
    context = LambdaContext(function_name=NAME, remaining_ms=900_000)
    return json.dumps(publisher.handler(json.loads(payload), context)).encode()


def _refusal(response: Response) -> Exception:
    from botocore.exceptions import ClientError

    fields = {"Error": {"Code": response.headers["X-Amzn-ErrorType"]}}
    error: Exception = ClientError(fields | {"ResponseMetadata": {"HTTPStatusCode": response.status}}, "Invoke")
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
