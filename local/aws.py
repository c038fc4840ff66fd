"""Parameter Store and SQS on loopback, in a process of their own: `python -m local.aws`.

Clients find them through AWS_ENDPOINT_URL. They run in a process of their own, so that their work does not count as the
handler's time. The process ends when standard input does: with its parent, however the parent ends.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from local.event import ACCOUNT_ID
from local.exchange import Request, Response
from local.moto_call import call_moto, operation_of
from local.parameters import AWS_ENVIRONMENT, DROPPED, REGION, put_parameters
from local.server import LoopbackServer
from local.sqs import CallRefused, FifoQueue, FifoQueues

MAX_CALL_BYTES = 2 * 1024 * 1024
MAX_RECEIVES = 8
VISIBILITY_SECONDS = 960
"""As template.yaml has them."""


@dataclass(frozen=True, slots=True)
class Queues:
    """The addresses of a FIFO queue and of its dead letters."""

    url: str
    dead_letter_url: str


QUEUES = Queues(
    f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/git2efs-local.fifo",
    f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/git2efs-local-dead-letters.fifo",
)


class Services:
    """Answers calls of the JSON protocol. Safe between threads."""

    def __init__(self) -> None:
        """Create empty queues; moto holds the parameters."""
        dead_letters = FifoQueue(VISIBILITY_SECONDS)
        queue = FifoQueue(VISIBILITY_SECONDS, dead_letters, MAX_RECEIVES)
        self._queues = FifoQueues({QUEUES.url: queue, QUEUES.dead_letter_url: dead_letters}, time.time)
        self._lock = threading.Lock()

    def respond(self, request: Request) -> Response:
        """Answer one call."""
        headers = dict(request.headers)
        service, operation = operation_of(headers)
        if service == "AmazonSSM":
            with self._lock:
                status, content = call_moto(headers, request.body)
            return Response(status, content, {"Content-Type": "application/x-amz-json-1.1"})
        try:
            if service != "AmazonSQS":
                raise CallRefused("UnknownOperationException")
            status, answer = 200, self._queues.call(operation, json.loads(request.body))
        except CallRefused as error:
            status, answer = 400, {"__type": f"com.amazonaws.sqs#{error}", "message": str(error)}
        return Response(status, json.dumps(answer).encode(), {"Content-Type": "application/x-amz-json-1.0"})


@contextmanager
def embedded_aws(
    prefix: str, secret: str, repositories: Mapping[str, str], secure: Mapping[str, str] | None = None
) -> Iterator[Queues]:
    """Run a Parameter Store, as `embedded_parameters` does, and a queue, until the block ends.

    Meanwhile the environment directs the clients of this process and of its children there.
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
        yield QUEUES
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
        os.environ.clear()
        os.environ.update(before)


def main() -> None:
    """Serve until standard input ends; the first line of standard output is the address."""
    # Ctrl-C goes to the whole process group. The parent handles it, and ends this process last.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = LoopbackServer("127.0.0.1", 0, Services().respond, MAX_CALL_BYTES)
    server.start()
    print(server.url, flush=True)
    sys.stdin.read()
    server.stop(1.0)


if __name__ == "__main__":
    main()
