"""Lambda's Invoke on loopback, as boto3's client sees it."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import Queue
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.lambda_api import MAX_PAYLOAD_BYTES, PUBLISHER_NAME, FunctionFailed, Invoke, lambda_server
from local.parameters import AWS_ENVIRONMENT

Client = Any  # boto3's clients are made at run time


@pytest.fixture
def client_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Invoke], Client]]:
    """Start the endpoint around a function; return a client that finds it. Stopped at the end of the test."""
    with ExitStack() as stack:

        def start(invoke: Invoke) -> Client:
            server = lambda_server(invoke)
            server.start()
            stack.callback(server.stop, 5.0)
            for name, value in AWS_ENVIRONMENT.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
            client = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}))
            stack.callback(client.close)
            return client

        yield start


def invoke(client: Client, payload: bytes, name: str = PUBLISHER_NAME, **arguments: str) -> dict[str, Any]:
    """Invoke the function; return the answer with its payload read."""
    answer: dict[str, Any] = client.invoke(FunctionName=name, Payload=payload, **arguments)
    return answer | {"Payload": answer["Payload"].read()}


@pytest.mark.parametrize("name", [PUBLISHER_NAME, f"arn:aws:lambda:us-east-1:123456789012:function:{PUBLISHER_NAME}"])
def test_a_payload_reaches_the_function_and_its_answer_comes_back(
    client_of: Callable[[Invoke], Client], name: str
) -> None:
    """By the function's name, and by its ARN."""
    answer = invoke(client_of(lambda payload: b'{"got":' + payload + b"}"), b'{"a":1}', name)
    assert (answer["StatusCode"], json.loads(answer["Payload"])) == (200, {"got": {"a": 1}})
    assert "FunctionError" not in answer


def test_a_function_that_fails_is_an_answer_with_an_error(client_of: Callable[[Invoke], Client]) -> None:
    """As Lambda has it: the status is 200, the header says that it failed, the body why."""

    def fail(payload: bytes) -> bytes:
        raise FunctionFailed("the process died")

    answer = invoke(client_of(fail), b"{}")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(answer["Payload"]) == {"errorMessage": "the process died", "errorType": "Runtime.ExitError"}


def test_a_request_may_have_6_mib_and_not_a_byte_more(client_of: Callable[[Invoke], Client]) -> None:
    """The function never sees one that is larger."""
    seen: list[int] = []

    def count(payload: bytes) -> bytes:
        seen.append(len(payload))
        return b"null"

    client = client_of(count)
    assert invoke(client, b" " * MAX_PAYLOAD_BYTES)["Payload"] == b"null"
    with pytest.raises(ClientError) as raised:
        invoke(client, b" " * (MAX_PAYLOAD_BYTES + 1))
    assert raised.value.response["Error"]["Code"] == "RequestTooLargeException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert seen == [MAX_PAYLOAD_BYTES]


def test_an_answer_may_have_6_mib_and_one_that_is_larger_is_an_error_of_the_function(
    client_of: Callable[[Invoke], Client],
) -> None:
    """Whoever invoked it learns that the function failed, and gets none of the answer."""
    client = client_of(lambda payload: b" " * int(payload))
    assert len(invoke(client, str(MAX_PAYLOAD_BYTES).encode())["Payload"]) == MAX_PAYLOAD_BYTES
    answer = invoke(client, str(MAX_PAYLOAD_BYTES + 1).encode())
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"])["errorType"] == "Function.ResponseSizeTooLarge"


def test_another_function_is_not_there(client_of: Callable[[Invoke], Client]) -> None:
    """There is the one alone."""
    with pytest.raises(ClientError) as raised:
        invoke(client_of(lambda payload: payload), b"{}", name="git2efs-other")
    assert raised.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_an_invocation_that_nobody_waits_for_runs_later(client_of: Callable[[Invoke], Client]) -> None:
    """What it answers is lost; a failure harms nobody."""
    seen: Queue[bytes] = Queue()

    def function(payload: bytes) -> bytes:
        seen.put(payload)
        raise FunctionFailed("as a test")

    client = client_of(function)
    for payload in (b"1", b"2"):
        assert invoke(client, payload, InvocationType="Event")["StatusCode"] == 202
    assert [seen.get(timeout=10), seen.get(timeout=10)] == [b"1", b"2"]


def test_a_dry_run_is_refused(client_of: Callable[[Invoke], Client]) -> None:
    """Nothing here would check rights alone."""
    with pytest.raises(ClientError) as raised:
        invoke(client_of(lambda payload: payload), b"{}", InvocationType="DryRun")
    assert raised.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_any_other_operation_is_not_there(client_of: Callable[[Invoke], Client]) -> None:
    """Of all Lambda's operations there is one."""
    with pytest.raises(ClientError) as raised:
        client_of(lambda payload: payload).get_function(FunctionName=PUBLISHER_NAME)
    assert raised.value.response["Error"]["Code"] == "UnknownOperationException"
