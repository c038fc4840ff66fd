"""A batch of SQS messages, coalesced into one reconcile for each ref. Pure: no I/O, no clock.

Ten pushes of one ref need one reconcile: it answers all their messages, and its outcome is theirs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from handler.errors import Malformed
from handler.network.queue.message import Message, decode_message, group_of

BACK_OFF_SECONDS = 5
MAX_BACK_OFF_SECONDS = 900
UNKNOWN_GROUP = "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsMessage:
    """One message as Lambda receives it from SQS; `receives` counts this time too."""

    id: str
    receipt: str
    body: str
    group: str
    receives: int


@dataclass(frozen=True, slots=True)
class CoalescedPush:
    """One ref to reconcile. `message` is the newest push of all `messages`, if there is one.

    Its `received_at` is the latest of all, since only a reconcile after that answers them; `waiting_since` is the
    earliest.
    """

    message: Message
    messages: tuple[SqsMessage, ...]
    waiting_since: float

    @property
    def receipts(self) -> tuple[str, ...]:
        """The receipts of all messages that this push answers."""
        return tuple(message.receipt for message in self.messages)

    @property
    def receives(self) -> int:
        """How often SQS delivered the message that it delivered most often."""
        return max(message.receives for message in self.messages)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Each repository's pushes in order, and the messages that are not ours, with what is wrong with them."""

    repositories: tuple[tuple[CoalescedPush, ...], ...]
    malformed: tuple[tuple[SqsMessage, Malformed], ...]


def read_batch(event: object) -> tuple[SqsMessage, ...]:
    """Return the messages of SQS's event. Never raises.

    A record without id or receipt is left out: it could be neither acked nor nacked.
    """
    records = event.get("Records") if isinstance(event, dict) else None
    return tuple(_read_records(records)) if isinstance(records, list) else ()


def _read_records(records: list[object]) -> Iterator[SqsMessage]:
    for record in records:
        if not isinstance(record, dict):
            continue
        identity, receipt, body = record.get("messageId"), record.get("receiptHandle"), record.get("body")
        if not isinstance(identity, str) or not isinstance(receipt, str):
            continue
        given = record.get("attributes")
        attributes = given if isinstance(given, dict) else {}
        group = attributes.get("MessageGroupId")
        yield SqsMessage(
            id=identity,
            receipt=receipt,
            body=body if isinstance(body, str) else "",
            group=group if isinstance(group, str) and group else UNKNOWN_GROUP,
            receives=_count(attributes.get("ApproximateReceiveCount")),
        )


def _count(value: object) -> int:
    """Return a count that SQS writes as text; 1 for anything else."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9 else 1


def plan_batch(messages: Sequence[SqsMessage]) -> BatchPlan:
    """Return one push for each ref, those of one repository together."""
    pushes: dict[str, dict[tuple[str, str], CoalescedPush]] = {}
    malformed: list[tuple[SqsMessage, Malformed]] = []
    for sqs_message in messages:
        try:
            message = decode_message(sqs_message.body)
        except Malformed as error:
            malformed.append((sqs_message, error))
            continue
        of_repository = pushes.setdefault(group_of(message.repository), {})
        name = (message.repository, message.ref)
        of_repository[name] = _coalesced(of_repository.get(name), message, sqs_message)
    return BatchPlan(tuple(tuple(each.values()) for each in pushes.values()), tuple(malformed))


def _coalesced(push: CoalescedPush | None, message: Message, sqs_message: SqsMessage) -> CoalescedPush:
    if push is None:
        return CoalescedPush(message, (sqs_message,), message.received_at)
    newest = message if _is_newer(message, push.message) else push.message
    received_at = max(push.message.received_at, message.received_at)
    waiting_since = min(push.waiting_since, message.received_at)
    return CoalescedPush(replace(newest, received_at=received_at), (*push.messages, sqs_message), waiting_since)


def _is_newer(message: Message, than: Message) -> bool:
    """Whether a message that is later in the queue is the newer one; GitHub's deliveries may come in any order."""
    if message.push is None or than.push is None:
        return than.push is None
    if message.push.pushed_at is None or than.push.pushed_at is None:
        return True
    return message.push.pushed_at >= than.push.pushed_at


def back_off_seconds(receives: int) -> int:
    """Return how many seconds a message waits after a transient failure: doubled with each time it was received."""
    return min(MAX_BACK_OFF_SECONDS, BACK_OFF_SECONDS << min(receives - 1, 16)) if receives > 0 else BACK_OFF_SECONDS
