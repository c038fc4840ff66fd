"""SQS's calls for the queue of work and for its dead letters, with their failures turned into ours.

boto3 and botocore are imported inside the functions, as in `handler.network.aws.ssm`.
"""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from handler.errors import ConfigurationInvalid, Git2EfsError, QueueUnavailable
from handler.network.queue.message import Message, encode_message, group_of

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

CONNECT_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 3
ATTEMPTS = 2
"""So few because GitHub hears nothing after 10 seconds, and what it is told 503 is told again by the schedule."""

MAX_ENTRIES = 10
"""SQS takes no more in one call."""
MAX_ATTRIBUTE_CHARACTERS = 1000

_TRANSIENT_CODES = frozenset(
    {
        "KmsThrottled",
        "OverLimit",
        "RequestThrottled",
        "RequestTimeout",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


class SQSClient(Protocol):
    """What is used of boto3's SQS client."""

    def send_message(
        self,
        *,
        QueueUrl: str,
        MessageBody: str,
        MessageGroupId: str,
        MessageDeduplicationId: str,
        MessageAttributes: Mapping[str, Any],
    ) -> Mapping[str, Any]: ...

    def change_message_visibility_batch(
        self, *, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any]: ...

    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]: ...


def make_sqs_client() -> SQSClient:
    """Return boto3's client, with short time-outs. Raises ConfigurationInvalid when the environment makes none."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        # A connection that died while the process was frozen fails at the first use, and the second attempt opens one.
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=2 * MAX_ENTRIES,
    )
    try:
        return cast(SQSClient, boto3.client("sqs", config=config))
    except BotoCoreError as error:
        raise ConfigurationInvalid(f"no client for SQS: {type(error).__name__}") from error


class Queue:
    """The queue of work, and its dead letters. Safe between threads; the client is made at the first use.

    Every method raises QueueUnavailable (throttled, unreachable) and ConfigurationInvalid (no such queue, no right).
    """

    def __init__(self, url: str, dead_letter_url: str = "", client: Callable[[], SQSClient] = make_sqs_client) -> None:
        """`dead_letter_url` is needed by `bury` alone."""
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._make_client = client
        self._client: SQSClient | None = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the client now, and connect to nothing. Raises ConfigurationInvalid."""
        self._sqs()

    def send(self, message: Message) -> None:
        """Put a message behind the others of its repository."""
        self._send(self._url, encode_message(message), group_of(message.repository), {})

    def dead_letter(self, body: str, group: str, reason: str, detail: str) -> None:
        """Put a message among the dead letters, where a person finds it; `detail` holds no secret."""
        if not self._dead_letter_url:
            raise ConfigurationInvalid("there is no queue for dead letters")
        self._send(self._dead_letter_url, body, group, {"reason": reason, "detail": detail})

    def change_visibility(self, receipts: Sequence[str], seconds: int) -> None:
        """Hide the messages for so long from now; 0 shows them at once. Those whose receipt is over are passed over."""
        for some in _tens(receipts):
            entries = [
                {"Id": str(at), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
                for at, receipt in enumerate(some)
            ]
            self._call(self._sqs().change_message_visibility_batch, QueueUrl=self._url, Entries=entries)

    def delete(self, receipts: Sequence[str]) -> None:
        """Delete the messages. Those whose receipt is over are passed over."""
        for some in _tens(receipts):
            entries = [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate(some)]
            self._call(self._sqs().delete_message_batch, QueueUrl=self._url, Entries=entries)

    def _send(self, url: str, body: str, group: str, attributes: Mapping[str, str]) -> None:
        self._call(
            self._sqs().send_message,
            QueueUrl=url,
            MessageBody=body,
            MessageGroupId=group,
            # A fresh one each time, or a redelivery within five minutes would be swallowed. From os.urandom, not from
            # a generator in memory: every process that is restored from one snapshot would draw the same ids, and
            # their messages would swallow each other.
            MessageDeduplicationId=uuid.uuid4().hex,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": _attribute(text)} for name, text in attributes.items()
            },
        )

    def _call(self, method: Callable[..., Mapping[str, Any]], **arguments: object) -> None:
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

        try:
            method(**arguments)
        except ClientError as error:
            raise _failure(error) from error
        except (ConnectionError, HTTPClientError) as error:
            raise QueueUnavailable(f"the queue: {type(error).__name__}") from error
        except BotoCoreError as error:  # no credentials, no region, ...
            raise ConfigurationInvalid(f"the queue: {type(error).__name__}") from error

    def _sqs(self) -> SQSClient:
        with self._lock:  # making a client is not safe between threads in boto3; using one is
            if self._client is None:
                self._client = self._make_client()
            return self._client


def _tens(receipts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(receipts), MAX_ENTRIES):
        yield receipts[start : start + MAX_ENTRIES]


def _attribute(text: str) -> str:
    """Return what SQS takes as an attribute: some printable ASCII, and not too much of it."""
    ascii_text = text.encode("ascii", "backslashreplace").decode()
    printable = "".join(character if character.isprintable() else " " for character in ascii_text)
    return printable[:MAX_ATTRIBUTE_CHARACTERS] or "none"


def _failure(error: "ClientError") -> Git2EfsError:
    """Return what the service's answer means to us; its text stays out, since it quotes the request."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code.rpartition(".")[2] in _TRANSIENT_CODES or status >= 500 or status == 429:
        return QueueUnavailable(f"the queue: {code}")
    return ConfigurationInvalid(f"the queue: {code}")
