"""Time the queued webhook from event to answer, one request at a time, as a Lambda environment gets them.

`python -m benchmarks.front_door`: the handler itself, a Parameter Store and a queue on loopback, no worker.
"""

import argparse
import os
import statistics
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from local.aws import embedded_aws
from local.gateway import LambdaContext
from testing.deliveries import http_api_event, push_payload, webhook_request

MOST_P99_MS = 50.0
PREFIX = "/git2efs/benchmark"
SECRET = "benchmark"


def front_door(requests: int, repositories: int = 50) -> tuple[float, list[float]]:
    """Return the milliseconds of the first request, and of each warm one, in their order."""
    names = [f"octo/site{number:03d}" for number in range(repositories)]
    with embedded_aws(PREFIX, SECRET, dict.fromkeys(names, "{}")) as queues:
        os.environ |= {
            "GIT2EFS_PARAMETER_PREFIX": PREFIX,
            "GIT2EFS_MOUNT": "/mnt/none",
            "GIT2EFS_QUEUE_URL": queues.url,
        }
        with redirect_stdout(StringIO()):
            from handler.webhook import handler, reset

            reset()
            first = _milliseconds(handler, _event(names[0], 0))
            for number, name in enumerate(names):
                _milliseconds(handler, _event(name, number))
            taken = [_milliseconds(handler, _event(names[at % repositories], at)) for at in range(requests)]
            reset()
    return first, taken


def _event(name: str, number: int) -> dict[str, Any]:
    before, after = f"{number:040x}", f"{number + 1:040x}"
    payload = push_payload(name, "refs/heads/main", before, after, pushed_at=1_750_000_000 + number)
    return http_api_event(webhook_request("push", payload, SECRET))


def _milliseconds(handler: Any, event: dict[str, Any]) -> float:
    started = time.perf_counter()
    answer = handler(event, LambdaContext(str(uuid.uuid4())))
    taken = (time.perf_counter() - started) * 1000
    assert answer["statusCode"] == 202, answer
    return taken


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.front_door", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    first, taken = front_door(parser.parse_args(arguments).requests)
    ordered = sorted(taken)
    p99 = ordered[int(0.99 * len(ordered))]
    print(f"{len(taken)} warm requests, after a first one of {first:.0f} ms")
    print(
        f"median {statistics.median(taken):.1f} ms, p99 {p99:.1f} ms (at most {MOST_P99_MS:g}), most {ordered[-1]:.1f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
