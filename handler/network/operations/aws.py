"""What an operator's commands ask of AWS: the queue's depth, the event bus, a stack, a deployed function's answer.

No delivery needs these. They load boto3 when they are called, so that no cold start pays for it.
"""

import json
from collections.abc import Mapping
from typing import Any

from handler.errors import ConfigurationInvalid, Git2EfsError, OutOfTime, QueueUnavailable
from handler.network.aws.client import AwsError, ClientOptions, call, make_client

OPTIONS = ClientOptions(connect_timeout_seconds=3, read_timeout_seconds=5, attempts=1)
# One attempt: a second invocation of a rollback would go back a second time.
INVOKE_OPTIONS = ClientOptions(connect_timeout_seconds=3, read_timeout_seconds=910, attempts=1)
"""Lambda ends a function after 900 seconds at most."""
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError"})


_LOG_IN = "log in again (aws sso login, or fresh keys)"
_ADVICE: Mapping[str, str] = {
    "NoRegionError": "name a region with --region, or set AWS_DEFAULT_REGION",
    "NoCredentialsError": "there are no credentials: name a --profile, or run aws configure",
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired"), _LOG_IN),
    **dict.fromkeys(("SSOTokenLoadError", "TokenRetrievalError", "UnauthorizedSSOTokenError"), _LOG_IN),
    **dict.fromkeys(("InvalidClientTokenId", "UnrecognizedClientException"), "AWS does not know the credentials"),
}
"""What to do about what keeps AWS from being asked at all."""


class AccessDenied(Exception):
    """The caller lacks a permission; the text names the service and its error code."""


def queue_depth(url: str) -> tuple[int, int]:
    """Return how many messages wait in the queue at `url`, and how many are in work.

    Raises AccessDenied, ConfigurationInvalid (no such queue, no credentials or region), QueueUnavailable.
    """
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = _ask("SQS", "sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def describe_bus(name: str) -> None:
    """Return if the event bus `name` exists; raise as `queue_depth` does if not."""
    _ask("EventBridge", "events", "describe_event_bus", Name=name)


def invoke(function: str, event: Mapping[str, object]) -> dict[str, object]:
    """Invoke a deployed function with an operator's event; return its content.

    Raises AccessDenied, ConfigurationInvalid (no such function, no credentials or region, or the answer is not that of
    an operator's function), OutOfTime where Lambda ended the function, and QueueUnavailable where AWS does not answer.
    """
    payload = json.dumps(event).encode()
    answer = _ask("Lambda", "lambda", "invoke", FunctionName=function, Payload=payload)
    content = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        kind = str(content.get("errorMessage", "") if isinstance(content, dict) else "")
        if "timed out" in kind:
            raise OutOfTime("the function was ended by its time-out; what it did is found by the next run")
        raise ConfigurationInvalid("the function ended with an error: its log says why")
    if not isinstance(content, dict) or type(content.get("exit_code")) is not int:
        raise ConfigurationInvalid("the function does not answer as the operator's one: see the output OperateCommand")
    return content


def _ask(title: str, service: str, operation: str, **arguments: object) -> Mapping[str, Any]:
    """Call one operation of a service; `title` is the service's name in messages."""
    try:
        return ask(service, operation, **arguments)
    except AwsError as error:
        raise failure(error, title) from None


def ask(service: str, operation: str, **arguments: object) -> Mapping[str, Any]:
    """Call one operation of a service. Raises AwsError."""
    client = make_client(service, INVOKE_OPTIONS if operation == "invoke" else OPTIONS)
    return call(getattr(client, operation), **arguments)


def failure(error: AwsError, title: str) -> Git2EfsError | AccessDenied:
    """Return what a call that failed means to an operator; `title` is the service's name in the message."""
    if error.code in _DENIED:
        return AccessDenied(f"{title}: {error.code}")
    if error.code in _ADVICE:
        return ConfigurationInvalid(f"{title} cannot be asked ({error.code}): {_ADVICE[error.code]}")
    kind = QueueUnavailable if error.is_transient else ConfigurationInvalid
    if error.is_answer:
        return kind(f"{title}: {error.code}")
    return kind(f"{title} {'does not answer' if error.is_transient else 'cannot be asked'} ({error.code})")
