"""Coalescing: which message stands for which, and what SQS's event is read as."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.model import PushEvent
from handler.network.queue.batch import UNKNOWN_GROUP, SqsMessage, back_off_seconds, plan_batch, read_batch
from handler.network.queue.message import Cause, Message, encode_message


def record(number: int, message: Message | str, receives: int = 1) -> SqsMessage:
    """Return a record with this message."""
    body = message if isinstance(message, str) else encode_message(message)
    return SqsMessage(id=f"id-{number}", receipt=f"receipt-{number}", body=body, group="octo/site", receives=receives)


def pushed(
    after: str, pushed_at: int | None, received_at: float, repository: str = "octo/site", ref: str = "refs/heads/main"
) -> Message:
    """Return the message of a push; `after` is one digit."""
    push = PushEvent(repository=repository, ref=ref, before="0" * 40, after=after * 40, pushed_at=pushed_at)
    return Message(
        cause=Cause.PUSH,
        repository=repository,
        ref=ref,
        delivery=f"delivery-{after}",
        received_at=received_at,
        push=push,
    )


def timer(received_at: float) -> Message:
    """Return a timer's message."""
    return Message(
        cause=Cause.SCHEDULE, repository="octo/site", ref="refs/heads/main", delivery="timer", received_at=received_at
    )


@pytest.mark.parametrize(
    ("messages", "newest"),
    [
        ([pushed("1", 10, 1), pushed("2", 11, 2), pushed("3", 12, 3)], "delivery-3"),
        ([pushed("3", 12, 1), pushed("1", 10, 2), pushed("2", 11, 3)], "delivery-3"),
        ([pushed("1", 10, 1), pushed("2", 10, 2)], "delivery-2"),
        ([pushed("1", None, 1), pushed("2", None, 2)], "delivery-2"),
        ([pushed("2", 10, 1), pushed("1", None, 2)], "delivery-1"),
        ([pushed("1", 10, 1), timer(2)], "delivery-1"),
        ([timer(1), pushed("1", 10, 2), timer(3)], "delivery-1"),
        ([timer(1), timer(2)], "timer"),
    ],
)
def test_the_newest_push_stands_for_all(messages: list[Message], newest: str) -> None:
    """By GitHub's clock, else by the queue's order; a timer knows no more than any push."""
    plan = plan_batch([record(at, message) for at, message in enumerate(messages)])
    (((work,),), malformed) = (plan.repositories, plan.malformed)
    assert work.message.delivery == newest
    assert len(work.messages) == len(messages)
    # A look answers all of them only if it comes after the last one.
    assert work.message.received_at == max(message.received_at for message in messages)
    assert work.waiting_since == min(message.received_at for message in messages)
    assert malformed == ()


def test_refs_and_repositories_are_kept_apart() -> None:
    """One work a ref; the refs of a repository together, in the order in which they came."""
    messages = [
        pushed("1", 1, 1, "octo/a"),
        pushed("2", 2, 2, "octo/b"),
        pushed("3", 3, 3, "octo/a", "refs/heads/x"),
        pushed("4", 4, 4, "octo/a"),
        pushed("5", 5, 5, "Octo/A"),
    ]
    plan = plan_batch([record(at, message) for at, message in enumerate(messages)])
    told = [[(work.message.delivery, len(work.messages)) for work in works] for works in plan.repositories]
    assert told == [[("delivery-4", 2), ("delivery-3", 1), ("delivery-5", 1)], [("delivery-2", 1)]]


def test_every_message_is_answered_by_exactly_one_work() -> None:
    """None is lost between the works and the malformed."""
    bodies: list[Message | str] = [timer(1), "nonsense", pushed("1", 1, 2), "{}", pushed("2", 2, 3, "octo/b")]
    plan = plan_batch([record(at, body) for at, body in enumerate(bodies)])
    ids = [each.id for works in plan.repositories for work in works for each in work.messages]
    assert sorted(ids + [each.id for each, _ in plan.malformed]) == [f"id-{at}" for at in range(5)]


def test_the_one_that_came_most_often_sets_the_back_off() -> None:
    """All messages of a ref wait alike: a group waits for its first in any case."""
    plan = plan_batch([record(0, timer(1), 1), record(1, timer(2), 4)])
    assert plan.repositories[0][0].receives == 4
    assert plan.repositories[0][0].receipts == ("receipt-0", "receipt-1")


def test_the_back_off_doubles_up_to_its_bound() -> None:
    """5 s, 10 s, 20 s, ..., 15 minutes; an odd count does no harm."""
    assert [back_off_seconds(number) for number in (1, 2, 3, 8, 9, 1000)] == [5, 10, 20, 640, 900, 900]
    assert back_off_seconds(0) == 5


def test_sqs_event_is_read() -> None:
    """As Lambda documents it."""
    event = {
        "Records": [
            {
                "messageId": "059f36b4",
                "receiptHandle": "AQEBwJnK",
                "body": "text",
                "attributes": {"ApproximateReceiveCount": "3", "MessageGroupId": "octo/site"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
        ]
    }
    assert read_batch(event) == (
        SqsMessage(id="059f36b4", receipt="AQEBwJnK", body="text", group="octo/site", receives=3),
    )


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "messageId": st.text() | json_values,
                "receiptHandle": st.text() | json_values,
                "body": json_values,
                "attributes": st.fixed_dictionaries(
                    {}, optional={"ApproximateReceiveCount": json_values, "MessageGroupId": json_values}
                )
                | json_values,
            },
        )
        | json_values
    )
)
def test_any_event_is_read_and_planned(records: list[object]) -> None:
    """Nothing raises, and what has an id and a receipt is answered."""
    read = read_batch({"Records": records})
    plan = plan_batch(read)
    assert len(plan.malformed) == len(read)
    assert all(each.receives >= 0 and each.group for each in read)


def test_a_record_without_a_group_has_one_for_its_dead_letter() -> None:
    """SQS takes no message without."""
    (read,) = read_batch({"Records": [{"messageId": "a", "receiptHandle": "b", "body": None}]})
    assert (read.group, read.body, read.receives) == (UNKNOWN_GROUP, "", 1)
