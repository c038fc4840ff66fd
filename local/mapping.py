"""Lambda's event source mapping for a FIFO queue: batches of messages become events, answers become deletions.

As on AWS, a batch has up to ten messages and several batches run at once. The queue itself allows one batch in flight
per group. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from local.event import ACCOUNT_ID
from local.gateway import LambdaContext
from local.parameters import REGION

BATCH_SIZE = 10
CONCURRENCY = 5
"""Lambda starts with this many pollers."""
IDLE_SECONDS = 0.05

Invoke = Callable[[dict[str, Any]], Any]
"""Invokes a function with an event; returns its answer, or raises if the run fails."""


def invoking(handler: Callable[[dict[str, Any], Any], Any], name: str) -> Invoke:
    """Return a function that invokes a handler in this process, with a context like Lambda's."""

    def invoke(event: dict[str, Any]) -> Any:
        return handler(event, LambdaContext(str(uuid.uuid4()), function_name=name))

    return invoke


def sqs_event(messages: list[Mapping[str, Any]], queue_name: str) -> dict[str, Any]:
    """Return the event that Lambda makes of received messages."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": dict(message["Attributes"]),
                "messageAttributes": {},
                "md5OfBody": message["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{queue_name}",
                "awsRegion": REGION,
            }
            for message in messages
        ]
    }


class EventSourceMapping:
    """Delivers messages from a queue to a function. `client` is boto3's SQS client."""

    def __init__(self, client: Any, queue_url: str, invoke: Invoke) -> None:
        """Take no message yet."""
        self._client = client
        self._url = queue_url
        self._invoke = invoke

    def take(self) -> list[Mapping[str, Any]]:
        """Return the next batch, and hide it from others; it may be empty."""
        answer = self._client.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=BATCH_SIZE, AttributeNames=["All"], WaitTimeSeconds=0
        )
        messages: list[Mapping[str, Any]] = answer.get("Messages", [])
        return messages

    def run(self, messages: list[Mapping[str, Any]]) -> None:
        """Invoke the function with a batch, and delete what it did not report as failed.

        After a failed run, or an answer that Lambda would not understand, delete nothing: the messages become visible
        again when their visibility timeout ends.
        """
        try:
            answer = self._invoke(sqs_event(messages, self._url.rpartition("/")[2]))
            failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        except (Exception, SystemExit) as error:
            why = traceback.format_exception_only(error)[-1].strip()
            print(f"git2efs: the worker failed: {why}", file=sys.stderr, flush=True)
            return
        if failed - {message["MessageId"] for message in messages}:
            return
        done = [message for message in messages if message["MessageId"] not in failed]
        if done:
            entries = [{"Id": str(at), "ReceiptHandle": message["ReceiptHandle"]} for at, message in enumerate(done)]
            self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)

    def run_until(self, ended: threading.Event, concurrency: int = CONCURRENCY) -> None:
        """Run up to `concurrency` batches at once until `ended` is set; then wait for those in flight."""
        free = threading.Semaphore(concurrency)

        def let_go(_: Future[None]) -> None:
            free.release()

        with ThreadPoolExecutor(concurrency, thread_name_prefix="batch") as pool:
            while not ended.is_set():
                if not free.acquire(timeout=IDLE_SECONDS):
                    continue
                messages = self.take()
                if messages:
                    pool.submit(self.run, messages).add_done_callback(let_go)
                else:
                    free.release()
                    ended.wait(IDLE_SECONDS)
