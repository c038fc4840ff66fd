"""Parameter Store and SQS on loopback: moto's, in a process of their own: `python -m local.aws`.

Clients find them through AWS_ENDPOINT_URL. A process of their own, because what they cost would else be counted as the
handler's time. It ends when standard input does: with its parent, however that ends.

moto's queues are no safer between threads than lists are (a message that is
put while another is deleted is lost): hence the lock around every call, and no call that waits for a message inside it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from local.exchange import Request, Response
from local.parameters import AWS_ENVIRONMENT, DROPPED, REGION, put_parameters
from local.server import LoopbackServer

MAX_CALL_BYTES = 2 * 1024 * 1024
MAX_RECEIVE_COUNT = 8
VISIBILITY_SECONDS = 960
"""As template.yaml has them."""

_SERVICES = {"AmazonSSM": "ssm", "AmazonSQS": "sqs"}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Queues:
    """The addresses of a FIFO queue and of its dead letters."""

    url: str
    dead_letter_url: str


def answer_call(headers: Mapping[str, str], body: bytes) -> Response:
    """Return moto's answer to one call of the JSON protocol. Safe between threads."""
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.compat import HTTPHeaders
    from moto.core.botocore_stubber import BotocoreStubber

    target = next((value for name, value in headers.items() if name.lower() == "x-amz-target"), "")
    service = _SERVICES.get(target.partition(".")[0])
    if service is None:
        return Response(400, json.dumps({"__type": "UnknownOperationException"}).encode())
    all_headers = HTTPHeaders()
    for name, value in headers.items():
        if name.lower() != "host":
            all_headers[name] = value
    request = AWSPreparedRequest("POST", f"https://{service}.{REGION}.amazonaws.com/", all_headers, body, False)
    with _lock:
        answered = BotocoreStubber().process_request(request)
    assert answered is not None, "moto does not know the address of its own service"
    status, answer_headers, content = answered
    kept = {name: str(value) for name, value in answer_headers.items() if name.lower().startswith("x-amz")}
    return Response(
        status,
        content.encode() if isinstance(content, str) else content,
        {"Content-Type": "application/x-amz-json-1.0", **kept},
    )


def make_queues(client: Any, name: str) -> Queues:
    """Make a queue with its dead letters, as template.yaml does; `client` is boto3's for SQS."""
    fifo = {
        "FifoQueue": "true",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
    }
    dead_letter_url = client.create_queue(QueueName=f"{name}-dead-letters.fifo", Attributes=fifo)["QueueUrl"]
    asked = client.get_queue_attributes(QueueUrl=dead_letter_url, AttributeNames=["QueueArn"])
    redrive = {"deadLetterTargetArn": asked["Attributes"]["QueueArn"], "maxReceiveCount": MAX_RECEIVE_COUNT}
    more = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": json.dumps(redrive)}
    url = client.create_queue(QueueName=f"{name}.fifo", Attributes=fifo | more)["QueueUrl"]
    return Queues(url, dead_letter_url)


@contextmanager
def embedded_aws(
    prefix: str, secret: str, repositories: Mapping[str, str], secure: Mapping[str, str] | None = None
) -> Iterator[Queues]:
    """Hold a Parameter Store, as `embedded_parameters` does, and a queue, until the block ends.

    The process's environment leads clients there meanwhile, those of its children too.
    """
    import boto3

    before = dict(os.environ)
    for name in DROPPED:
        os.environ.pop(name, None)
    os.environ.update(AWS_ENVIRONMENT)
    process = subprocess.Popen([sys.executable, "-m", "local.aws"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        os.environ["AWS_ENDPOINT_URL"] = process.stdout.readline().decode().strip()
        put_parameters(boto3.client("ssm"), prefix, secret, repositories, secure or {})
        yield make_queues(boto3.client("sqs"), "git2efs-local")
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
        os.environ.clear()
        os.environ.update(before)


def main() -> None:
    """Serve until standard input ends; the first line of standard output is the address."""
    # A Ctrl-C is the whole group's; the parent takes it, and ends this process last.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def respond(request: Request) -> Response:
        return answer_call(dict(request.headers), request.body)

    server = LoopbackServer("127.0.0.1", 0, respond, MAX_CALL_BYTES)
    server.start()
    print(server.url, flush=True)
    sys.stdin.read()
    server.stop(1.0)


if __name__ == "__main__":
    main()
