"""Run the worker behind an event source mapping, in a process of its own: `python -m local.worker`.

`serve --queued` starts it. It has its own process, as in Lambda: in the webhook's process both would compete for the
interpreter lock. When standard input ends, with its parent and however the parent ends, it finishes the batches in
flight and ends.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from local.mapping import EventSourceMapping, invoking

FUNCTION_NAME = "git2efs-local-worker"
GRACE_SECONDS = 30.0
"""How long batches in flight may take after standard input ended."""


def main() -> None:
    """Run batches until standard input ends."""
    # Ctrl-C goes to the whole process group. The parent handles it, and ends this process in turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import boto3

    from handler.worker import handler

    mapping = EventSourceMapping(boto3.client("sqs"), os.environ["GIT2EFS_QUEUE_URL"], invoking(handler, FUNCTION_NAME))
    ended = threading.Event()
    thread = threading.Thread(target=mapping.run_until, args=(ended,))
    thread.start()
    sys.stdin.read()
    ended.set()
    thread.join()


@contextmanager
def working() -> Iterator[None]:
    """Run the worker beside this process, with its environment and its output, until the block ends."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "AWS_LAMBDA_FUNCTION_NAME": FUNCTION_NAME}
    process = subprocess.Popen([sys.executable, "-m", "local.worker"], stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    try:
        yield
    finally:
        process.stdin.close()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            print("git2efs: the worker was still at it", file=sys.stderr, flush=True)
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
