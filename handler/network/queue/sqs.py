"""SQS's calls for the queue of pushes and for its dead letters, their failures translated into ours."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from handler.errors import ConfigurationInvalid, QueueUnavailable
from handler.network.aws.client import AwsError, ClientOptions, LazyClient, call, make_client
from handler.network.queue.message import Message, encode_message, group_of

MAX_ENTRIES = 10
"""The most entries of one SQS call."""
MAX_ATTRIBUTE_CHARACTERS = 1000

OPTIONS = ClientOptions(attempts=2, max_pool_connections=2 * MAX_ENTRIES)
"""Few and short, because GitHub waits 10 s for its answer; after a 503 the schedule finds what is behind."""


class SQSClient(Protocol):
    """The part of boto3's SQS client that we use."""

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
    """Return boto3's client, with short timeouts. Raises ConfigurationInvalid where it cannot be made."""
    try:
        return cast(SQSClient, make_client("sqs", OPTIONS))
    except AwsError as error:
        raise ConfigurationInvalid(f"no client for SQS: {error.code}") from error


class Queue:
    """The queue of pushes, and its dead letters. Safe for threads; the client is made at its first use.

    Every method raises QueueUnavailable (throttled, unreachable) and ConfigurationInvalid (no such queue, no
    permission).
    """

    def __init__(self, url: str, dead_letter_url: str = "", client: Callable[[], SQSClient] = make_sqs_client) -> None:
        """Only `dead_letter` needs `dead_letter_url`."""
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._client = LazyClient(client)

    def prepare(self) -> None:
        """Make the client now; connect to nothing. Raises ConfigurationInvalid."""
        self._client.get()

    def send(self, message: Message) -> None:
        """Send a message, to be received after the others of its repository."""
        self._send(self._url, encode_message(message), group_of(message.repository), {})

    def dead_letter(self, body: str, group: str, reason: str, detail: str) -> None:
        """Send a message's body to the dead letters, for a person; `detail` must hold no secret."""
        if not self._dead_letter_url:
            raise ConfigurationInvalid("there is no queue for dead letters")
        self._send(self._dead_letter_url, body, group, {"reason": reason, "detail": detail})

    def change_visibility(self, receipts: Sequence[str], seconds: int) -> None:
        """Hide the messages for so many seconds from now; 0 makes them visible. Expired receipts are ignored."""
        for some in _tens(receipts):
            entries = [
                {"Id": str(at), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
                for at, receipt in enumerate(some)
            ]
            self._call(self._client.get().change_message_visibility_batch, QueueUrl=self._url, Entries=entries)

    def delete(self, receipts: Sequence[str]) -> None:
        """Delete the messages. Expired receipts are ignored."""
        for some in _tens(receipts):
            entries = [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate(some)]
            self._call(self._client.get().delete_message_batch, QueueUrl=self._url, Entries=entries)

    def _send(self, url: str, body: str, group: str, attributes: Mapping[str, str]) -> None:
        self._call(
            self._client.get().send_message,
            QueueUrl=url,
            MessageBody=body,
            MessageGroupId=group,
            # A new one each time, or SQS would drop a redelivery within five minutes as a duplicate. From os.urandom,
            # not from a generator in memory: all processes that are restored from one snapshot would draw the same
            # ids, and SQS would drop their messages as duplicates of each other's.
            MessageDeduplicationId=uuid.uuid4().hex,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": _attribute(text)} for name, text in attributes.items()
            },
        )

    def _call(self, method: Callable[..., Mapping[str, Any]], **arguments: object) -> None:
        try:
            call(method, **arguments)
        except AwsError as error:
            kind = QueueUnavailable if error.is_transient else ConfigurationInvalid
            raise kind(f"the queue: {error.code}") from error


def _tens(receipts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(receipts), MAX_ENTRIES):
        yield receipts[start : start + MAX_ENTRIES]


def _attribute(text: str) -> str:
    """Return the text as SQS takes it for an attribute: printable ASCII, not empty, bounded."""
    ascii_text = text.encode("ascii", "backslashreplace").decode()
    printable = "".join(character if character.isprintable() else " " for character in ascii_text)
    return printable[:MAX_ATTRIBUTE_CHARACTERS] or "none"
