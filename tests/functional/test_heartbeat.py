"""A batch's messages while they are worked on for long, in a real queue."""

import threading
from collections.abc import Iterator

import pytest

from handler.network.queue.heartbeat import HIDDEN_SECONDS, VisibilityHeartbeat
from handler.network.queue.sqs import Queue
from testing.queue import MessageQueue

SOON = 0.02


@pytest.fixture
def work(queue: MessageQueue, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Queue, list[str]]]:
    """Return our side of the queue, and the receipts of three messages that were received."""
    queue.lead_here(monkeypatch)
    for number in range(3):
        queue.put("x", group=f"octo/{number}")
    answer = queue.client().receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10)
    yield Queue(queue.url, queue.dead_letter_url), [message["ReceiptHandle"] for message in answer["Messages"]]


def wait_for_beats(queue: MessageQueue, count: int = 1) -> None:
    """Return after so many beats."""
    ticking = threading.Event()
    for _ in range(1000):
        if len(queue.of_operation("ChangeMessageVisibilityBatch")) >= count:
            return
        ticking.wait(0.01)
    raise AssertionError("no beat")


def test_a_short_batch_costs_no_call(queue: MessageQueue, work: tuple[Queue, list[str]]) -> None:
    """Most are: what is done is deleted by Lambda."""
    ours, receipts = work
    queue.calls.clear()
    with VisibilityHeartbeat(ours, receipts) as heartbeat:
        heartbeat.ack(receipts)
    assert queue.calls == []


def test_a_long_batch_is_hidden_for_a_little_longer_each_time(
    queue: MessageQueue, work: tuple[Queue, list[str]]
) -> None:
    """Not for the quarter of an hour of the queue: were the worker killed, they would be seen again soon."""
    ours, receipts = work
    assert min(queue.hidden_seconds) > 900
    with VisibilityHeartbeat(ours, receipts, split_seconds=0, first_seconds=SOON, every_seconds=SOON):
        wait_for_beats(queue, 3)
    assert {round(seconds, -1) for seconds in queue.hidden_seconds} == {HIDDEN_SECONDS}


def test_what_is_given_back_is_not_hidden_again(queue: MessageQueue, work: tuple[Queue, list[str]]) -> None:
    """The next beats are for the others."""
    ours, receipts = work
    with VisibilityHeartbeat(ours, receipts, split_seconds=0, first_seconds=SOON, every_seconds=SOON) as heartbeat:
        wait_for_beats(queue)
        heartbeat.nack(receipts[:1], 5)
        wait_for_beats(queue, len(queue.of_operation("ChangeMessageVisibilityBatch")) + 3)
    assert sorted(queue.hidden_seconds)[0] <= 5
    assert sorted(queue.hidden_seconds)[1] > 80


def test_what_is_done_is_deleted_where_others_of_its_batch_are_not(
    queue: MessageQueue, work: tuple[Queue, list[str]]
) -> None:
    """Or its group would wait for the slowest of the batch. The last is left to Lambda, who deletes it next."""
    ours, receipts = work
    with VisibilityHeartbeat(ours, receipts, split_seconds=0.2, first_seconds=0.3, every_seconds=60) as heartbeat:
        heartbeat.ack(receipts[:1])
        assert len(queue.bodies) == 3
        wait_for_beats(queue)
        assert len(queue.bodies) == 2
        heartbeat.ack(receipts[1:2])
        assert len(queue.bodies) == 1
        heartbeat.ack(receipts[2:])
        assert len(queue.bodies) == 1


def test_a_queue_that_does_not_answer_does_no_harm(queue: MessageQueue, work: tuple[Queue, list[str]]) -> None:
    """The worst is that a message is seen twice; the work goes on."""
    ours, receipts = work
    queue.is_down = True
    with VisibilityHeartbeat(ours, receipts, split_seconds=0, first_seconds=SOON, every_seconds=60) as heartbeat:
        heartbeat.nack(receipts[:1], 5)
        heartbeat.ack(receipts[1:])
    queue.is_down = False
    assert min(queue.hidden_seconds) > 900
