"""A minute of a queued stack on this machine: pushes, redeliveries, forgeries, failures, and the schedule."""

import json
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.dashboard.samples import Sample, samples_of
from testing.guards import isolated_environment
from testing.hostile import UNSAFE
from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service

REPOSITORIES = {"octo/site": 400, "octo/dags": 1_500, "octo/themes": 4_000, "octo/notes": 60}
"""The number of files in each."""
SEED = 7
SCHEDULE_SECONDS = 8.0
_QUEUE = "<DeliveryQueue.QueueName>"
_DEAD = "<DeadLetterQueue.QueueName>"


class _Run:
    """The stack, the pushes to it, and the figures that it emits."""

    def __init__(self, service: Service, queue: MessageQueue, upstreams: list[Upstream]) -> None:
        self.service = service
        self.queue = queue
        self.upstreams = upstreams
        self.random = random.Random(SEED)
        self.began_at = time.time()
        self.running: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self.ended = threading.Event()

    def note(self, namespace: str, name: str, dimensions: dict[str, str], value: float) -> None:
        """Keep a figure that AWS would measure."""
        self.samples.append(Sample(time.time() - self.began_at, namespace, name, dimensions, value))

    def timed(self, function: str, call: Callable[[], Any]) -> Any:
        """Call a function as Lambda would; keep its duration, its errors, and how many run at a time."""
        of = {"FunctionName": f"<{function}>"}
        started = time.perf_counter()
        self.running[function] += 1
        self.note("AWS/Lambda", "ConcurrentExecutions", of, self.running[function])
        is_error = True
        try:
            result = call()
            is_error = False
        finally:
            self.running[function] -= 1
            self.note("AWS/Lambda", "Errors", of, is_error)
            self.note("AWS/Lambda", "Duration", of, (time.perf_counter() - started) * 1000)
        return result

    def work(self) -> None:
        """Deliver batches to the worker until the end."""
        while not self.ended.wait(0.02):
            self.queue.deliver_batch(lambda event: self.timed("WorkerFunction", lambda: self.service.work(event)))

    def watch(self) -> None:
        """Sample the queues' sizes and ages, as SQS does for its metrics."""
        while not self.ended.wait(0.25):
            # Few messages: reading moto's lists is cheap.
            hidden = sum(seconds > 0 for seconds in self.queue.hidden_seconds)
            waiting = len(self.queue.bodies) - hidden
            dead = len(self.queue.dead_letters)
            self.note("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": _QUEUE}, max(0, waiting))
            self.note("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", {"QueueName": _QUEUE}, hidden)
            self.note("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": _QUEUE}, self.queue.oldest_seconds)
            self.note("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": _DEAD}, dead)

    def weigh(self) -> None:
        """Sample the bytes on the mount, as EFS does for its metric, though more often."""
        of = {"StorageClass": "Total", "FileSystemId": "<FileSystem>"}
        while not self.ended.wait(2.0):
            self.note("AWS/EFS", "StorageBytes", of, sum(_bytes_below(self.service.mount)))

    def push(self) -> None:
        """Make one push, of one of the kinds that a webhook gets."""
        upstream = self.random.choice(self.upstreams)
        kind = self.random.choices(
            ["push", "burst", "redelivery", "forgery", "other", "lost", "bad"], [60, 8, 8, 5, 6, 8, 3]
        )
        options: dict[str, Any] = {"pushed_at": int(time.time())}
        if kind == ["other"]:
            upstream.commit({"note": self.random.randbytes(20)}, "experiment")
            self.send(upstream, "experiment", options)
        elif kind == ["bad"]:
            tip = upstream.tip()
            upstream.commit_tree(next(iter(UNSAFE.values()))(upstream))
            self.send(upstream, None, options)
            time.sleep(0.5)
            assert tip is not None
            upstream.point("refs/heads/main", tip)
        else:
            for _ in range(6 if kind == ["burst"] else 1):
                files = {f"changed/{self.random.randrange(40)}": self.random.randbytes(400) for _ in range(3)}
                if kind != ["redelivery"]:
                    upstream.commit(files)
                if kind != ["lost"]:
                    secret = {"secret": "another one"} if kind == ["forgery"] else {}
                    self.send(upstream, None, options | secret)

    def send(self, upstream: Upstream, ref: str | None, options: dict[str, Any]) -> None:
        """Deliver a push; keep the figures that API Gateway would measure."""
        request = self.service.push_request(upstream, ref, **options)
        started = time.perf_counter()
        answer = self.timed("WebhookFunction", lambda: self.service.send(request))
        api = {"ApiId": "<HttpApi>"}
        self.note("AWS/ApiGateway", "Latency", api, (time.perf_counter() - started) * 1000)
        self.note("AWS/ApiGateway", "Count", api, 1)
        self.note("AWS/ApiGateway", "4xx", api, 400 <= answer.status < 500)
        self.note("AWS/ApiGateway", "5xx", api, answer.status >= 500)

    def go(self, seconds: float) -> list[Sample]:
        """Push, deliver and reconcile for so long; return the figures."""
        threads = [threading.Thread(target=each) for each in (self.work, self.watch, self.weigh)]
        for thread in threads:
            thread.start()
        looked_at = 0.0
        while (now := time.time() - self.began_at) < seconds:
            if now - looked_at > SCHEDULE_SECONDS:
                looked_at = now
                self.timed("ScheduleFunction", self.service.run_schedule)
            self.push()
            time.sleep(self.random.expovariate(2.5))
        self.ended.set()
        for thread in threads:
            thread.join()
        for line in self.service.metrics:
            self.samples += samples_of(line, self.began_at)
        return self.samples


def _bytes_below(directory: Path) -> Iterator[int]:
    """Yield each file's bytes; what goes meanwhile counts no more."""
    for path, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                yield os.lstat(os.path.join(path, name)).st_size


def run(seconds: float) -> list[Sample]:
    """Run for so many seconds; return the figures of that time."""
    with tempfile.TemporaryDirectory(prefix="git2efs-dashboard-") as directory, _stack(Path(directory)) as one:
        return [sample for sample in one.go(seconds) if 0 <= sample.at <= seconds]


@contextmanager
def _stack(directory: Path) -> Iterator[_Run]:
    before = dict(os.environ)
    (directory / "home").mkdir()
    os.environ.update(isolated_environment(directory / "home", before))
    store, queue = ParameterStore(), MessageQueue()
    (directory / "origin").mkdir()
    try:
        with GitOrigin(directory / "origin") as origin:
            service = Service(directory / "mount", store, origin).start()
            service.use_queue(queue)
            upstreams = [Upstream(origin.root, name) for name in REPOSITORIES]
            for upstream, files in zip(upstreams, REPOSITORIES.values(), strict=True):
                fields = {"publish": [{"ref": "refs/heads/main"}], "grace_seconds": 3}
                service.put_repository(upstream.full_name, **json.loads(json.dumps(fields)))
                upstream.generate(files)
            yield _Run(service, queue, upstreams)
            service.stop()
    finally:
        queue.stop()
        store.stop()
        os.environ.clear()
        os.environ.update(before)
