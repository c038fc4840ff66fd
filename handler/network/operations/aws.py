"""What a person asks of AWS: how full the queue is, whether the bus is there, what a deployed function answers.

Called by hand and not for deliveries: boto3 is imported when one of these is.
"""

import json
from collections.abc import Mapping
from typing import Any

from handler.errors import ConfigurationInvalid, Git2EfsError, OutOfTime, QueueUnavailable
from handler.network.aws.client import AwsError, ClientOptions, call, make_client

OPTIONS = ClientOptions(connect_timeout_seconds=3, read_timeout_seconds=5, attempts=1)
INVOKE_OPTIONS = ClientOptions(connect_timeout_seconds=3, read_timeout_seconds=910, attempts=1)
"""A function runs for 900 seconds at most, and is never invoked twice."""
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError"})


class AccessDenied(Exception):
    """Whoever asks has no right to; which one, is the text."""


def queue_depth(url: str) -> tuple[int, int]:
    """Return how many messages wait, and how many are worked on.

    Raises AccessDenied, ConfigurationInvalid (no such queue, no client), QueueUnavailable.
    """
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = _ask("SQS", "sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def describe_bus(name: str) -> None:
    """Return if there is an event bus of that name. Raises as `queue_depth`."""
    _ask("EventBridge", "events", "describe_event_bus", Name=name)


def invoke(function: str, event: Mapping[str, object]) -> dict[str, object]:
    """Let a deployed function carry out a command; return its answer.

    Never twice: a second try of a rollback would go back a second time. Raises AccessDenied, ConfigurationInvalid (no
    such function, no client, or it answers as no operator does), OutOfTime, QueueUnavailable where AWS does not answer.
    """
    payload = json.dumps(event).encode()
    answer = _ask("Lambda", "lambda", "invoke", FunctionName=function, Payload=payload)
    content = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        kind = str(content.get("errorMessage", "") if isinstance(content, dict) else "")
        if "timed out" in kind:
            raise OutOfTime("the function was ended by its time-out; what it did is found by the next run")
        raise ConfigurationInvalid("the function ended with an error: its log says why")
    if not isinstance(content, dict) or not isinstance(content.get("exit_code"), int):
        raise ConfigurationInvalid("the function does not answer as the operator's one: see the output OperateCommand")
    return content


def _ask(title: str, service: str, operation: str, **arguments: object) -> Mapping[str, Any]:
    """Call one operation of a service; `title` is the service's name in messages."""
    try:
        client = make_client(service, INVOKE_OPTIONS if operation == "invoke" else OPTIONS)
        return call(getattr(client, operation), **arguments)
    except AwsError as error:
        raise _failure(error, title) from None


def _failure(error: AwsError, title: str) -> Git2EfsError | AccessDenied:
    if error.code in _DENIED:
        return AccessDenied(f"{title}: {error.code}")
    kind = QueueUnavailable if error.is_transient else ConfigurationInvalid
    if error.is_answer:
        return kind(f"{title}: {error.code}")
    return kind(f"{title} {'does not answer' if error.is_transient else 'cannot be asked'} ({error.code})")
