"""Lambda's Invoke on loopback, as boto3 meets it; and the process of the function, which has no network."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.lambda_api import MAX_PAYLOAD_BYTES, LambdaFunction, publisher_environment, serving
from local.service import Service

FUNCTION = """
import os, signal, socket, sys, time

def handler(event, context):
    match event["do"]:
        case "answer":
            return {"pid": os.getpid(), "environment": sorted(os.environ), "ms": context.get_remaining_time_in_millis()}
        case "raise":
            raise ValueError("spoiled")
        case "exit":
            os._exit(3)
        case "sleep":
            time.sleep(60)
        case "connect":
            socket.create_connection(("127.0.0.1", event["port"]), 1)
        case "resolve":
            socket.getaddrinfo("localhost", 80)
        case "much":
            return "x" * event["bytes"]
"""
Invoke = Callable[..., tuple[str, Any]]


@pytest.fixture
def function(tmp_path: Path) -> LambdaFunction:
    """Return the function above, which may run for two seconds."""
    (tmp_path / "stubborn.py").write_text(FUNCTION)
    environment = publisher_environment(os.environ) | {"PYTHONPATH": os.fspath(tmp_path)}
    return LambdaFunction(environment, name="stubborn", module="stubborn", timeout_seconds=2.0)


@pytest.fixture
def client(function: LambdaFunction) -> Iterator[Any]:
    """Return boto3's client that meets the function; it tries once."""
    with serving(function) as url:
        yield boto3.client("lambda", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))


def invoke(client: Any, name: str = "stubborn", **event: object) -> tuple[str, Any]:
    """Return FunctionError, and what is in the payload."""
    answer = client.invoke(FunctionName=name, InvocationType="RequestResponse", Payload=json.dumps(event).encode())
    return answer.get("FunctionError", ""), json.loads(answer["Payload"].read())


def is_alive(pid: int) -> bool:
    """Return whether there is such a process."""
    return os.path.exists(f"/proc/{pid}") if sys.platform == "linux" else _answers(pid)


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_process_is_kept_for_the_next_invocation(client: Any, function: LambdaFunction) -> None:
    """Both are answered by one process, with the time that is left."""
    error, first = invoke(client, do="answer")
    assert (error, invoke(client, do="answer")[1]["pid"]) == ("", first["pid"])
    assert 1000 < first["ms"] <= 2000
    assert function.invocations == 2


def test_what_it_raises_is_its_error_and_the_process_stays(client: Any) -> None:
    """FunctionError, with the type."""
    pid = invoke(client, do="answer")[1]["pid"]
    error, told = invoke(client, do="raise")
    assert (error, told["errorType"]) == ("Unhandled", "ValueError")
    assert invoke(client, do="answer")[1]["pid"] == pid


@pytest.mark.parametrize(("does", "says"), [("exit", "Runtime exited"), ("sleep", "Task timed out after 2.00 seconds")])
def test_dead_or_late_process_is_an_error_and_another_follows(client: Any, does: str, says: str) -> None:
    """It is killed at its deadline."""
    pid = invoke(client, do="answer")[1]["pid"]
    error, told = invoke(client, do=does)
    assert (error, told["errorMessage"]) == ("Unhandled", says)
    assert not is_alive(pid)
    assert invoke(client, do="answer")[1]["pid"] != pid


@pytest.mark.parametrize("does", ["connect", "resolve"])
def test_sockets_are_forbidden(client: Any, does: str) -> None:
    """Also to this machine; and no `except Exception` hides it."""
    pid = invoke(client, do="answer")[1]["pid"]
    assert invoke(client, do=does, port=9)[1]["errorMessage"] == "Runtime exited"
    assert not is_alive(pid)


def test_messages_are_bounded_both_ways(client: Any) -> None:
    """One byte more than Lambda takes is refused; as much as it takes is not."""
    frame = len(json.dumps({"do": "raise", "padding": ""}))
    assert invoke(client, do="raise", padding="x" * (MAX_PAYLOAD_BYTES - frame))[0] == "Unhandled"
    with pytest.raises(ClientError) as refused:
        invoke(client, do="raise", padding="x" * (MAX_PAYLOAD_BYTES - frame + 1))
    assert refused.value.response["Error"]["Code"] == "RequestTooLargeException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert len(invoke(client, do="much", bytes=MAX_PAYLOAD_BYTES - 2)[1]) == MAX_PAYLOAD_BYTES - 2
    error, told = invoke(client, do="much", bytes=MAX_PAYLOAD_BYTES - 1)
    assert (error, told["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")


@pytest.mark.parametrize(
    ("code", "status"),
    [("TooManyRequestsException", 429), ("AccessDeniedException", 403), ("ResourceNotFoundException", 404)],
)
def test_refusals_on_demand(client: Any, function: LambdaFunction, code: str, status: int) -> None:
    """One each, and nothing is invoked."""
    function.refusals.append(code)
    with pytest.raises(ClientError) as refused:
        invoke(client, do="answer")
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert function.invocations == 0
    assert invoke(client, do="answer")[0] == ""


def test_other_name_is_not_found(client: Any) -> None:
    """404, as for a function that was deleted."""
    with pytest.raises(ClientError) as refused:
        invoke(client, "another", do="answer")
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_redeployment_ends_the_processes_of_before(client: Any, function: LambdaFunction, tmp_path: Path) -> None:
    """The next invocation has the new environment."""
    pid = invoke(client, do="answer")[1]["pid"]
    function.redeploy(publisher_environment(os.environ) | {"PYTHONPATH": os.fspath(tmp_path), "NEW": "1"})
    assert not is_alive(pid)
    assert "NEW" in invoke(client, do="answer")[1]["environment"]


def test_mount_side_gets_no_secret_and_no_credential() -> None:
    """Its settings, and what a process needs; nothing of AWS, of the queue or of GitHub."""
    given: Mapping[str, str] = {
        "PATH": "/bin",
        "GIT2EFS_MOUNT": "/mnt",
        "GIT2EFS_LOCAL_SECRET": "s3cret",
        "GIT2EFS_PUBLISHER": "publisher",
        "GIT2EFS_QUEUE_URL": "http://127.0.0.1/queue",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "GITHUB_TOKEN": "token",
    }
    assert publisher_environment(given) == {"PATH": "/bin", "GIT2EFS_MOUNT": "/mnt"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_server(tmp_path: Path, number: signal.Signals) -> None:
    """`serve --isolated`: no orphan, however the server ends."""
    with Service(os.fspath(tmp_path / "mount"), "s3cret", {}, ["--isolated"]) as service:
        words = service.mount_side_line.split()
        pid = int(words[words.index("process") + 1].rstrip(","))
        assert is_alive(pid)
        assert service.mount_side_line.endswith("Network is unreachable") or "forbidden" in service.mount_side_line
        if number == signal.SIGTERM:
            assert service.stop() == 0
        else:
            os.kill(service.pid, number)
        ends_by = time.monotonic() + 10.0
        while is_alive(pid):
            assert time.monotonic() < ends_by
            time.sleep(0.02)
