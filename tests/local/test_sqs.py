"""The local queue does as moto's does, and answers boto3; the same questions go to both."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from local.aws import MAX_CALL_BYTES, MAX_RECEIVES, QUEUES, Services
from local.parameters import REGION
from local.server import LoopbackServer
from local.sqs import FifoQueue
from testing.queue import MessageQueue


class Asked:
    """A queue by boto3."""

    def __init__(self, client: Any, url: str, dead_letter_url: str) -> None:
        self.client = client
        self.url = url
        self.dead_letter_url = dead_letter_url

    def send(self, body: str, group: str = "g", duplicate: str | None = None, **more: Any) -> str:
        """Put a message; return its id."""
        answer = self.client.send_message(
            QueueUrl=self.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=duplicate or uuid.uuid4().hex,
            **more,
        )
        return str(answer["MessageId"])

    def receive(self, most: int = 10, url: str | None = None) -> list[dict[str, Any]]:
        """Take messages."""
        answer = self.client.receive_message(
            QueueUrl=url or self.url,
            MaxNumberOfMessages=most,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
            WaitTimeSeconds=0,
        )
        return list(answer.get("Messages", []))

    def delete(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Delete messages; return the answer."""
        entries = [{"Id": str(at), "ReceiptHandle": each["ReceiptHandle"]} for at, each in enumerate(messages)]
        return dict(self.client.delete_message_batch(QueueUrl=self.url, Entries=entries))

    def change_visibility(self, messages: list[dict[str, Any]], seconds: int = 0) -> None:
        """Change how long messages are hidden."""
        entries = [
            {"Id": str(at), "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": seconds}
            for at, each in enumerate(messages)
        ]
        self.client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)


@pytest.fixture(params=["ours", "moto"])
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    """Return one queue after the other."""
    import boto3

    if request.param == "moto":
        queue = MessageQueue()
        yield Asked(queue.client(), queue.url, queue.dead_letter_url)
        queue.stop()
        return
    server = LoopbackServer("127.0.0.1", 0, Services().respond, MAX_CALL_BYTES)
    server.start()
    yield Asked(boto3.client("sqs", endpoint_url=server.url, region_name=REGION), QUEUES.url, QUEUES.dead_letter_url)
    server.stop(1.0)


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    """Return the messages' bodies, in their order."""
    return [message["Body"] for message in messages]


def test_the_depth_is_told(asked: Asked) -> None:
    """What waits, and what is in work: the doctor asks for both."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    for number in range(3):
        asked.send("x", group=str(number))
    asked.receive(1)
    found = asked.client.get_queue_attributes(QueueUrl=asked.url, AttributeNames=names)["Attributes"]
    assert {name: found[name] for name in names} == dict(zip(names, ("2", "1"), strict=True))


def test_a_group_is_handed_out_in_order_and_one_batch_at_a_time(asked: Asked) -> None:
    """What is in flight holds up its own group, and no other."""
    for body in "abc":
        asked.send(body)
    first = asked.receive(2)
    assert bodies(first) == ["a", "b"]
    asked.send("x", "h")
    assert bodies(asked.receive()) == ["x"]
    assert asked.receive() == []
    asked.delete(first)
    assert bodies(asked.receive()) == ["c"]


def test_what_is_shown_again_is_handed_out_again_with_a_count(asked: Asked) -> None:
    """A new receipt, and one time more."""
    asked.send("a")
    (first,) = asked.receive()
    assert first["Attributes"]["ApproximateReceiveCount"] == "1"
    assert first["Attributes"]["MessageGroupId"] == "g"
    asked.change_visibility([first], 900)
    assert asked.receive() == []
    asked.change_visibility([first], 0)
    (second,) = asked.receive()
    assert second["MessageId"] == first["MessageId"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"


def test_what_is_deleted_twice_is_deleted(asked: Asked) -> None:
    """As when a worker deletes what Lambda deletes again."""
    asked.send("a")
    messages = asked.receive()
    for _ in range(2):
        assert not asked.delete(messages).get("Failed")
    assert asked.receive() == []


def test_a_duplicate_is_swallowed(asked: Asked) -> None:
    """By its id alone, whatever it holds."""
    asked.send("a", duplicate="same")
    asked.send("b", duplicate="same")
    assert bodies(asked.receive()) == ["a"]


def test_what_was_received_too_often_is_a_dead_letter(asked: Asked) -> None:
    """With the next time that it would be handed out; its attributes stay with it."""
    asked.send("a", MessageAttributes={"reason": {"DataType": "String", "StringValue": "why"}})
    for _ in range(MAX_RECEIVES):
        asked.change_visibility(asked.receive(), 0)
    assert asked.receive() == []
    (letter,) = asked.receive(url=asked.dead_letter_url)
    assert letter["Body"] == "a"
    assert letter["MessageAttributes"]["reason"]["StringValue"] == "why"


def test_a_queue_that_is_not_there_is_said(asked: Asked) -> None:
    """By the name that AWS gives the failure."""
    asked.url = asked.url.replace(".fifo", "-none.fifo")
    with pytest.raises(asked.client.exceptions.QueueDoesNotExist):
        asked.receive()


def test_a_receipt_is_over_when_the_message_can_be_seen() -> None:
    """Stricter than moto, and as AWS has it for FIFO queues: somebody else may have the message by then."""
    queue = FifoQueue(visibility_seconds=30)
    queue.send({"MessageGroupId": "g", "MessageDeduplicationId": "d", "MessageBody": "a"}, 0)
    (message,) = queue.receive(10, 0)
    receipt = message.receipt
    assert queue.receive(10, 29) == []
    assert not queue.delete(receipt, 31)
    assert not queue.change_visibility(receipt, 10, 31)
    assert len(queue.receive(10, 31)) == 1


def test_the_same_id_is_a_new_message_after_five_minutes() -> None:
    """So long SQS remembers."""
    queue = FifoQueue()
    fields = {"MessageGroupId": "g", "MessageDeduplicationId": "d", "MessageBody": "a"}
    assert queue.send(fields, 0) == queue.send(fields, 299) != queue.send(fields, 301)


def test_a_call_costs_no_more_the_more_messages_wait() -> None:
    """Why this queue is not moto's, which needs over 100 s of a processor for the same."""
    queue = FifoQueue(visibility_seconds=960, dead_letters=FifoQueue(), max_receives=8)
    started = time.process_time()
    for number in range(2_000):
        queue.send({"MessageGroupId": f"g{number % 1_000}", "MessageDeduplicationId": f"{number}"}, 0)
    taken = 0
    while messages := queue.receive(10, 1):
        taken += len(messages)
        assert all(queue.delete(message.receipt, 1) for message in messages)
    assert taken == 2_000
    assert time.process_time() - started < 5
