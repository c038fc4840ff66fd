"""A batch of the queue's messages, and what is to be done for them. Pure: no I/O, no clock.

Ten pushes of one ref say ten times "look now": one look answers them all, and what becomes of it becomes of each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from handler.errors import Malformed
from handler.network.queue.message import Message, decode_message, group_of

BACK_OFF_SECONDS = 5
MAX_BACK_OFF_SECONDS = 900
UNKNOWN_GROUP = "malformed"


@dataclass(frozen=True, slots=True)
class SqsMessage:
    """One message as SQS hands it over: `receives` counts this time too."""

    id: str
    receipt: str
    body: str
    group: str
    receives: int


@dataclass(frozen=True, slots=True)
class CoalescedPush:
    """One ref to look at. `message` stands for all that `records` say: the newest push of them, if there is one.

    Its `received_at` is the latest of all, since only a look after that one answers them; `waiting_since` is the
    earliest.
    """

    message: Message
    messages: tuple[SqsMessage, ...]
    waiting_since: float

    @property
    def receipts(self) -> tuple[str, ...]:
        """The receipts of all messages that this work answers."""
        return tuple(record.receipt for record in self.messages)

    @property
    def receives(self) -> int:
        """How often the one that came most often came."""
        return max(record.receives for record in self.messages)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The work of each repository, in its order, and what is no message of ours, with what is wrong with it."""

    repositories: tuple[tuple[CoalescedPush, ...], ...]
    malformed: tuple[tuple[SqsMessage, Malformed], ...]


def read_batch(event: object) -> tuple[SqsMessage, ...]:
    """Return the records of SQS's event; never raises.

    What has no id or no receipt is left out: nothing could be said of it to anybody.
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
    """Return a count that SQS writes as text; 1 where it is none."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9 else 1


def plan_batch(records: Sequence[SqsMessage]) -> BatchPlan:
    """Return what is to be done: one work a ref, the refs of one repository together."""
    works: dict[str, dict[tuple[str, str], CoalescedPush]] = {}
    malformed: list[tuple[SqsMessage, Malformed]] = []
    for record in records:
        try:
            message = decode_message(record.body)
        except Malformed as error:
            malformed.append((record, error))
            continue
        refs = works.setdefault(group_of(message.repository), {})
        name = (message.repository, message.ref)
        refs[name] = _with(refs.get(name), message, record)
    return BatchPlan(tuple(tuple(refs.values()) for refs in works.values()), tuple(malformed))


def _with(work: CoalescedPush | None, message: Message, record: SqsMessage) -> CoalescedPush:
    if work is None:
        return CoalescedPush(message, (record,), message.received_at)
    newest = message if _is_newer(message, work.message) else work.message
    received_at = max(work.message.received_at, message.received_at)
    waiting_since = min(work.waiting_since, message.received_at)
    return CoalescedPush(replace(newest, received_at=received_at), (*work.messages, record), waiting_since)


def _is_newer(message: Message, than: Message) -> bool:
    """Whether a message that came later in the queue is the newer one; GitHub's deliveries may come in any order."""
    if message.push is None or than.push is None:
        return than.push is None
    if message.push.pushed_at is None or than.push.pushed_at is None:
        return True
    return message.push.pushed_at >= than.push.pushed_at


def back_off_seconds(receives: int) -> int:
    """Return how long a message that failed in passing waits: doubled with each time that it was received."""
    return min(MAX_BACK_OFF_SECONDS, BACK_OFF_SECONDS << min(receives - 1, 16)) if receives > 0 else BACK_OFF_SECONDS
