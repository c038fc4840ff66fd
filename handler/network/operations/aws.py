"""What a person asks of AWS: how full the queue is, whether the bus is there, what a deployed function answers.

Called by hand and not for deliveries: boto3 is imported when one of these is.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from handler.errors import ConfigurationInvalid, Git2EfsError, OutOfTime, QueueUnavailable

CONNECT_TIMEOUT_SECONDS = 3
READ_TIMEOUT_SECONDS = 5
LONGEST_RUN_SECONDS = 910
"""A function runs for 900 seconds at most."""
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError"})


class AccessDenied(Exception):
    """Whoever asks has no right to; which one, is the text."""


def queue_depth(url: str) -> tuple[int, int]:
    """Return how many messages wait, and how many are worked on.

    Raises NotAllowed, ConfigurationInvalid (no such queue, no client), QueueUnavailable.
    """
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def ask(boto3: Any, config: Any) -> Any:
        return boto3.client("sqs", config=config).get_queue_attributes(QueueUrl=url, AttributeNames=names)

    found = _ask("SQS", ask)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def describe_bus(name: str) -> None:
    """Return if there is an event bus of that name. Raises as `queue_depth`."""
    _ask("EventBridge", lambda boto3, config: boto3.client("events", config=config).describe_event_bus(Name=name))


def invoke(function: str, event: Mapping[str, object]) -> dict[str, object]:
    """Let a deployed function carry out a command; return its answer.

    Never twice: a second try of a rollback would go back a second time. Raises NotAllowed, ConfigurationInvalid (no
    such function, no client, or it answers as no operator does), OutOfTime, QueueUnavailable where AWS does not answer.
    """
    payload = json.dumps(event).encode()

    def ask(boto3: Any, config: Any) -> Any:
        return boto3.client("lambda", config=config).invoke(FunctionName=function, Payload=payload)

    answer = _ask("Lambda", ask, LONGEST_RUN_SECONDS)
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
    """Let `ask` call a client that it makes of boto3 and a config; the service's name is for messages."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

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
    """Return what the service's answer means; its text stays out, since it may quote the request."""
    code = ascii(str(response.get("Error", {}).get("Code", ""))[:60])[1:-1]
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED:
        return AccessDenied(f"{service}: {code}")
    if status >= 500 or status == 429 or "Throttl" in code or "TooManyRequests" in code:
        return QueueUnavailable(f"{service}: {code}")
    return ConfigurationInvalid(f"{service}: {code}")
