"""A FIFO queue and its dead letters on a loopback port.

`deliver_batch` stands for Lambda's event source mapping; `show_all` for the end of every visibility timeout.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from local.event import ACCOUNT_ID
from local.mapping import EventSourceMapping
from local.parameters import REGION
from testing.aws import AwsService

MAX_RECEIVES = 8


class MessageQueue(AwsService):
    """A queue of its own for each test.

    `calls` lists (operation, parameters) of every client's call, in order.
    """

    ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL_SQS"
    ERROR_PREFIX = "com.amazonaws.sqs#"

    def __init__(self) -> None:
        """Listen, with an empty queue and its dead letters."""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        super().__init__()
        self._name = f"test-{uuid.uuid4().hex[:12]}"
        self.dead_letter_url = self._make(f"{self._name}-dead", {})
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{self._name}-dead.fifo"
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
        self.url = self._make(self._name, {"VisibilityTimeout": "960", "RedrivePolicy": redrive})
        self.calls.clear()

    def client(self) -> Any:
        """Return boto3's client for the queue."""
        import boto3

        return boto3.client("sqs", endpoint_url=self.endpoint, region_name=REGION)

    def of_operation(self, operation: str) -> list[dict[str, Any]]:
        """Return the parameters of each call of an operation."""
        return [asked for name, asked in self.calls if name == operation]

    # -- messages -------------------------------------------------------------------------------------------

    def put(self, body: str | Mapping[str, object], group: str = "octo/site") -> None:
        """Send a message with any body."""
        text = body if isinstance(body, str) else json.dumps(body)
        self.client().send_message(
            QueueUrl=self.url, MessageBody=text, MessageGroupId=group, MessageDeduplicationId=uuid.uuid4().hex
        )

    @property
    def bodies(self) -> list[str]:
        """The bodies of all messages in the queue, hidden ones too."""
        return [message.body for message in self._queue(self.url)._messages]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages in the queue, hidden ones too."""
        return [json.loads(body) for body in self.bodies]

    @property
    def dead_letters(self) -> list[tuple[str, dict[str, str]]]:
        """Each dead letter's body, with the values of its attributes."""
        return [
            (message.body, {name: value["StringValue"] for name, value in message.message_attributes.items()})
            for message in self._queue(self.dead_letter_url)._messages
        ]

    @property
    def hidden_seconds(self) -> list[float]:
        """The seconds for which each message is still hidden, rounded; 0.0 for visible ones."""
        from moto.core.utils import unix_time_millis

        now = unix_time_millis()
        return [max(0.0, round((m.visible_at - now) / 1000)) for m in self._queue(self.url)._messages]

    @property
    def oldest_seconds(self) -> float:
        """The age of the oldest message in the queue, hidden ones too, in seconds; 0.0 where there is none."""
        from moto.core.utils import unix_time_millis

        now = unix_time_millis()
        return max([0.0, *((now - float(m.sent_timestamp)) / 1000 for m in self._queue(self.url)._messages)])

    def show_all(self) -> None:
        """Make every message visible, as at the end of its visibility timeout."""
        with self._lock:
            queue = self._queue(self.url)
            for message in queue._messages:
                message.visible_at = 0.0
            queue.pending_messages.clear()

    def deliver_batch(self, invoke: Callable[[dict[str, Any]], Any]) -> Any:
        """Deliver one batch to a function as Lambda does, and delete the messages that it does not report.

        Return the answer; None if there was no message to receive.
        """
        answers: list[Any] = []

        def remember(event: dict[str, Any]) -> Any:
            answers.append(invoke(event))
            return answers[-1]

        mapping = EventSourceMapping(self.client(), self.url, remember)
        messages = mapping.take()
        if not messages:
            return None
        mapping.run(messages)
        return answers[-1] if answers else None

    def deliver_all(self, invoke: Callable[[dict[str, Any]], Any]) -> int:
        """Deliver batches until there is none; return their number."""
        count = 0
        while self.deliver_batch(invoke) is not None:
            count += 1
        return count

    def _note(self, operation: str, asked: dict[str, Any]) -> None:
        self.calls.append((operation, asked))

    def _make(self, name: str, attributes: dict[str, str]) -> str:
        fifo = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
        url: str = self.client().create_queue(QueueName=f"{name}.fifo", Attributes=fifo | attributes)["QueueUrl"]
        return url

    def _queue(self, url: str) -> Any:
        return self.backend("sqs").queues[url.rpartition("/")[2]]
