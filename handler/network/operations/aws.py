"""What an operator's commands ask of AWS: the queue's depth, the event bus, a deployed function's answer.

No delivery needs these. They import boto3 when they are called, so that no cold start pays for it.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from handler.errors import ConfigurationInvalid, Git2EfsError, OutOfTime, QueueUnavailable

CONNECT_TIMEOUT_SECONDS = 3
READ_TIMEOUT_SECONDS = 5
INVOKE_TIMEOUT_SECONDS = 910
"""Lambda ends a function after 900 seconds at most."""
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError"})


class AccessDenied(Exception):
    """The caller lacks a permission; the text names the service and its error code."""


def queue_depth(url: str) -> tuple[int, int]:
    """Return how many messages wait in the queue at `url`, and how many are in work.

    Raises AccessDenied, ConfigurationInvalid (no such queue, no credentials or region), QueueUnavailable.
    """
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def ask(boto3: Any, config: Any) -> Any:
        return boto3.client("sqs", config=config).get_queue_attributes(QueueUrl=url, AttributeNames=names)

    found = _ask("SQS", ask)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def describe_bus(name: str) -> None:
    """Return if the event bus `name` exists; raise as `queue_depth` does if not."""
    _ask("EventBridge", lambda boto3, config: boto3.client("events", config=config).describe_event_bus(Name=name))


def invoke(function: str, event: Mapping[str, object]) -> dict[str, object]:
    """Invoke a deployed function with an operator's event; return its content.

    Raises AccessDenied, ConfigurationInvalid (no such function, no credentials or region, or the answer is not that of
    an operator's function), OutOfTime where Lambda ended the function, and QueueUnavailable where AWS does not answer.
    """
    payload = json.dumps(event).encode()

    def ask(boto3: Any, config: Any) -> Any:
        return boto3.client("lambda", config=config).invoke(FunctionName=function, Payload=payload)

    answer = _ask("Lambda", ask, INVOKE_TIMEOUT_SECONDS)
    content = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        kind = str(content.get("errorMessage", "") if isinstance(content, dict) else "")
        if "timed out" in kind:
            raise OutOfTime("the function was ended by its time-out; what it did is found by the next run")
        raise ConfigurationInvalid("the function ended with an error: its log says why")
    if not isinstance(content, dict) or not isinstance(content.get("exit_code"), int):
        raise ConfigurationInvalid("the function does not answer as the operator's one: see the output OperateCommand")
    return content


def _ask(service: str, ask: Callable[[Any, Any], Any], read_seconds: int = READ_TIMEOUT_SECONDS) -> Mapping[str, Any]:
    """Return what `ask(boto3, config)` returns. `service` is the name for messages."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    # One attempt: a second invocation of a rollback would go back a second time.
    attempts = {"total_max_attempts": 1, "mode": "standard"}
    config = Config(connect_timeout=CONNECT_TIMEOUT_SECONDS, read_timeout=read_seconds, retries=attempts)
    try:
        found: Mapping[str, Any] = ask(boto3, config)
        return found
    except ClientError as error:
        raise _failure(error.response, service) from None
    except (ConnectionError, HTTPClientError) as error:
        raise QueueUnavailable(f"{service} does not answer ({type(error).__name__})") from None
    except BotoCoreError as error:  # no credentials, no region, a wrong name, ...
        raise ConfigurationInvalid(f"{service} cannot be asked ({type(error).__name__})") from None


def _failure(response: Mapping[str, Any], service: str) -> Git2EfsError | AccessDenied:
    """Return the failure that a service's error is."""
    # Its code alone, and not its text: that may quote the request.
    code = ascii(str(response.get("Error", {}).get("Code", ""))[:60])[1:-1]
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED:
        return AccessDenied(f"{service}: {code}")
    if status >= 500 or status == 429 or "Throttl" in code or "TooManyRequests" in code:
        return QueueUnavailable(f"{service}: {code}")
    return ConfigurationInvalid(f"{service}: {code}")
