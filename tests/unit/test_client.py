"""The one caller of boto3: how clients are made, and how their failures are told apart."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, NoCredentialsError

from handler.network.aws.client import AwsError, ClientOptions, LazyClient, call, make_client


def answered(code: str, status: int = 400) -> ClientError:
    """Return boto3's error for a service's answer; its text quotes the request."""
    response: Any = {
        "Error": {"Code": code, "Message": "a secret"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Operation")


def raising(error: Exception) -> Callable[..., Mapping[str, Any]]:
    """Return a client's method that fails."""

    def method(**arguments: object) -> Mapping[str, Any]:
        raise error

    return method


@pytest.mark.parametrize(
    ("error", "code", "is_transient", "is_answer"),
    [
        (answered("ThrottlingException"), "ThrottlingException", True, True),
        (answered("Throttling"), "Throttling", True, True),
        (answered("TooManyRequestsException"), "TooManyRequestsException", True, True),
        (answered("AWS.SimpleQueueService.OverLimit"), "AWS.SimpleQueueService.OverLimit", True, True),
        (answered("KmsThrottled"), "KmsThrottled", True, True),
        (answered("Whatever", 500), "Whatever", True, True),
        (answered("Whatever", 429), "Whatever", True, True),
        (answered("AccessDeniedException"), "AccessDeniedException", False, True),
        (answered("x\ny" + "z" * 100), "x\\ny" + "z" * 57, False, True),
        (ConnectTimeoutError(endpoint_url="https://a.secret"), "ConnectTimeoutError", True, False),
        (NoCredentialsError(), "NoCredentialsError", False, False),
    ],
)
def test_a_failure_says_whether_it_passes_and_quotes_nothing(
    error: Exception, code: str, is_transient: bool, is_answer: bool
) -> None:
    """Throttled, broken or unreachable passes by itself; anything else needs a person."""
    with pytest.raises(AwsError) as raised:
        call(raising(error))
    found = raised.value
    assert (found.code, found.is_transient, found.is_answer) == (code, is_transient, is_answer)
    assert "secret" not in str(found)


def test_what_is_not_boto3s_is_not_translated() -> None:
    """A defect stays one."""
    with pytest.raises(ZeroDivisionError):
        call(raising(ZeroDivisionError()))


def test_the_options_reach_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    options = ClientOptions(
        connect_timeout_seconds=1, read_timeout_seconds=4, attempts=3, retry_mode="adaptive", max_pool_connections=7
    )
    config = make_client("sqs", options).meta.config
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (1, 4, 7)
    assert config.retries == {"total_max_attempts": 3, "mode": "adaptive"}


def test_a_client_that_cannot_be_made_is_a_failure_that_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """No region, for example."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(AwsError) as raised:
        make_client("sqs", ClientOptions())
    assert (raised.value.code, raised.value.is_transient, raised.value.is_answer) == ("NoRegionError", False, False)


def test_a_lazy_client_is_made_once_for_all_threads() -> None:
    """When the first one uses it."""
    made: list[object] = []
    barrier = threading.Barrier(8)

    def make() -> object:
        time.sleep(0.01)  # long enough for the others to come
        made.append(object())
        return made[-1]

    client = LazyClient(make)

    def use() -> object:
        barrier.wait()
        return client.get()

    assert made == []
    with ThreadPoolExecutor(8) as pool:
        found = [future.result() for future in [pool.submit(use) for _ in range(8)]]
    assert found == made * 8


def test_a_lazy_client_that_could_not_be_made_is_tried_again() -> None:
    """By the next one who uses it."""
    answers: list[object] = [ValueError(), "client"]

    def make() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = LazyClient(make)
    with pytest.raises(ValueError):
        client.get()
    assert client.get() == client.get() == "client"
