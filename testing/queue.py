"""A FIFO queue and its dead letters on a loopback port: moto's, for clients in this process and in child processes.

Clients find it through AWS_ENDPOINT_URL_SQS, with nothing of botocore patched. `deliver_batch` plays Lambda's event
source mapping; time is played by `show_all`.
"""

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from local.mapping import EventSourceMapping
from testing.parameters import ACCOUNT, REGION, AwsServer

MAX_RECEIVES = 8


class MessageQueue:
    """A queue of its own for each test.

    `calls` lists (operation, what was asked) of every client's call, in order. `is_down` hangs up on every call.
    """

    def __init__(self) -> None:
        """Listen on a free loopback port, with an empty queue."""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.is_down = False
        self._faults: list[tuple[str, int]] = []
        self._lock = threading.Lock()
        self._server = AwsServer(self)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="queue", daemon=True
        ).start()
        self._name = f"test-{uuid.uuid4().hex[:12]}"
        self.dead_letter_url = self._make(f"{self._name}-dead", {})
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self._name}-dead.fifo"
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
        self.url = self._make(self._name, {"VisibilityTimeout": "960", "RedrivePolicy": redrive})
        self.calls.clear()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a client here."""
        return {"AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{self._server.server_port}"}

    def client(self) -> Any:
        """Return boto3's client of the queue's."""
        import boto3

        return boto3.client("sqs", endpoint_url=self.environment()["AWS_ENDPOINT_URL_SQS"], region_name=REGION)

    def fail_next(self, n: int = 1, error: str = "ThrottlingException", status: int = 400) -> None:
        """Answer the next `n` calls with an error of SQS's."""
        self._faults += [(error, status)] * n

    def of_operation(self, operation: str) -> list[dict[str, Any]]:
        """Return what was asked in each call of an operation."""
        return [asked for name, asked in self.calls if name == operation]

    # -- messages -------------------------------------------------------------------------------------------

    def put(self, body: str | Mapping[str, object], group: str = "octo/site") -> None:
        """Put a message of any body."""
        text = body if isinstance(body, str) else json.dumps(body)
        self.client().send_message(
            QueueUrl=self.url, MessageBody=text, MessageGroupId=group, MessageDeduplicationId=uuid.uuid4().hex
        )

    @property
    def bodies(self) -> list[str]:
        """The bodies of all messages in the queue, hidden ones too."""
        return [message.body for message in self._backend(self.url)._messages]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages in the queue, hidden ones too."""
        return [json.loads(body) for body in self.bodies]

    @property
    def dead_letters(self) -> list[tuple[str, dict[str, str]]]:
        """Each dead letter's body, with the values of its attributes."""
        return [
            (message.body, {name: value["StringValue"] for name, value in message.message_attributes.items()})
            for message in self._backend(self.dead_letter_url)._messages
        ]

    @property
    def hidden_seconds(self) -> list[float]:
        """How much longer each message is hidden, rounded to seconds; 0.0 for those that can be seen."""
        from moto.core.utils import unix_time_millis

        now = unix_time_millis()
        return [max(0.0, round((m.visible_at - now) / 1000)) for m in self._backend(self.url)._messages]

    def show_all(self) -> None:
        """Let every message be seen, as when all time has passed for which they were hidden."""
        with self._lock:
            queue = self._backend(self.url)
            for message in queue._messages:
                message.visible_at = 0.0
            queue.pending_messages.clear()

    def deliver_batch(self, invoke: Callable[[dict[str, Any]], Any]) -> Any:
        """Take one batch to a function, as Lambda does, and delete what it does not report; return its answer.

        None where there was nothing to take.
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
        """Take batch after batch until none is to be had; return how many there were."""
        count = 0
        while self.deliver_batch(invoke) is not None:
            count += 1
        return count

    # -- for the server -------------------------------------------------------------------------------------

    def answer(self, operation: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Answer one call of a client: a fault that was ordered, or what moto says."""
        from botocore.awsrequest import AWSPreparedRequest
        from botocore.compat import HTTPHeaders
        from moto.core.botocore_stubber import BotocoreStubber

        all_headers = HTTPHeaders()
        for key, value in headers.items():
            if key.lower() != "host":
                all_headers[key] = value
        # moto's queues are lists: what is put while another message is deleted would be lost.
        with self._lock:
            self.calls.append((operation, json.loads(body or b"{}")))
            if self._faults:
                error, status = self._faults.pop(0)
                return status, json.dumps({"__type": f"com.amazonaws.sqs#{error}", "message": "ordered"}).encode()
            request = AWSPreparedRequest("POST", f"https://sqs.{REGION}.amazonaws.com/", all_headers, body, False)
            response = BotocoreStubber().process_request(request)
        assert response, "moto does not know SQS's address"
        status, _, content = response
        return status, content.encode() if isinstance(content, str) else content

    def _make(self, name: str, attributes: dict[str, str]) -> str:
        fifo = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
        url: str = self.client().create_queue(QueueName=f"{name}.fifo", Attributes=fifo | attributes)["QueueUrl"]
        return url

    @staticmethod
    def _backend(url: str) -> Any:
        from moto.sqs.models import sqs_backends

        return sqs_backends[ACCOUNT][REGION].queues[url.rpartition("/")[2]]
