"""A burst of signed pushes over many repositories, through the local service: `python -m benchmarks.burst --help`.

Each push moves its ref at a real `git http-backend`, and is then delivered, up to `--in-flight` deliveries at once. The
report counts the answers and the requests to the remote, and says when every tip was published.
"""

import argparse
import itertools
import json
import os
import random
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from local import github
from local.service import Service
from testing.origin import GitOrigin
from testing.repositories import COMMIT_INTERVAL_SECONDS, GENESIS, Upstream

SECRET = "burst"
REF = "refs/heads/main"
TARGET_FETCHES = 0.3
PATIENCE_SECONDS = 300.0


@dataclass(slots=True)
class Result:
    """The result of a burst. Times are in seconds, `handler_ms` in milliseconds; lists are sorted."""

    pushes: int
    answers: Counter[str] = field(default_factory=Counter)
    handler_ms: list[float] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    answered_seconds: float = 0.0
    published_seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    lag_seconds: list[float] = field(default_factory=list)
    """Queued mode: how long the oldest message of each look had waited, sorted."""

    @property
    def fetches_per_push(self) -> float:
        """Packs requested per push."""
        return self.asked["fetch"] / self.pushes


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value that `part` of all values do not exceed."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class _Repository:
    """One upstream with commits made beforehand, and the number of those already pushed."""

    def __init__(self, root: Path, number: int, pushes: int) -> None:
        self.upstream = Upstream(root, f"octo/site{number:03d}")
        self.commits = self.upstream.generate(20, pushes + 1, seed=number)
        self.lock = threading.Lock()
        self.pushed_at = int(time.time()) - 1000
        self.at = 0
        self._point(self.commits[0])

    @property
    def tip(self) -> str:
        return self.commits[self.at]

    def push(self) -> dict[str, object]:
        """Push the next commit; return the payload."""
        with self.lock:
            before, self.at, self.pushed_at = self.tip, self.at + 1, self.pushed_at + 1
            self._point(self.tip)
            return self.payload(before)

    def payload(self, before: str) -> dict[str, object]:
        committed_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(GENESIS + self.at * COMMIT_INTERVAL_SECONDS))
        change = github.Change(committed_at=committed_at)
        name = self.upstream.full_name
        return github.push_payload(name, REF, before, self.tip, change=change, pushed_at=self.pushed_at)

    def _point(self, commit: str) -> None:
        # Write the loose ref as git does: git's own command would take longer than the push.
        path = self.upstream.path / REF
        temporary = path.with_name("main.new")
        temporary.write_text(commit + "\n")
        temporary.rename(path)


def burst(
    place: Path,
    *,
    pushes: int,
    repositories: int,
    in_flight: int,
    over_seconds: float,
    is_queued: bool,
    latency_seconds: float = 0.0,
    poisoned: int = 0,
) -> Result:
    """Play a burst in an empty directory, after a first publish of every repository, which does not count.

    `poisoned` further repositories get as many pushes, and have a remote that never answers.
    """
    (place / "origin").mkdir()
    each = pushes // repositories
    result = Result(each * repositories)
    with GitOrigin(place / "origin") as origin, socket.create_server(("127.0.0.1", 0), backlog=1024) as silent:
        origin.latency_seconds = latency_seconds
        stocked = [_Repository(origin.root, number, each) for number in range(repositories)]
        urls = {one.upstream.full_name: origin.url(one.upstream.full_name) for one in stocked}
        dead = [_Repository(origin.root, repositories + number, each) for number in range(poisoned)]
        urls |= {one.upstream.full_name: f"http://127.0.0.1:{silent.getsockname()[1]}/x.git" for one in dead}
        options = ["--queued"] if is_queued else []
        with Service(str(place / "mount"), SECRET, urls, options) as service, ThreadPoolExecutor(in_flight) as pool:

            def deliver(payload: dict[str, object]) -> github.Answer:
                return github.send(service.url, payload, SECRET)

            list(pool.map(deliver, [one.payload(github.NO_COMMIT) for one in stocked]))
            _wait_for_tips(place, stocked)
            origin.forget()
            order = list(itertools.chain.from_iterable([one] * each for one in (*stocked, *dead)))
            service.records(0.0)
            random.Random(1).shuffle(order)
            started = time.monotonic()
            for answer in [future.result() for future in _push(order, over_seconds, pool, deliver)]:
                fields = answer.fields
                result.answers[f"{answer.status} {fields.get('outcome')} {fields.get('reason')}"] += 1
                result.handler_ms.append(float(fields.get("duration_ms", "nan")))
            result.answered_seconds = time.monotonic() - started
            result.lost = _wait_for_tips(place, stocked)
            result.published_seconds = time.monotonic() - started
            result.asked = origin.counts
            names = {one.upstream.full_name for one in stocked}
            lines = service.records()[0]
            result.lag_seconds = sorted(
                line["queue_lag_seconds"] for line in lines if line.get("repository") in names and "coalesced" in line
            )
    result.handler_ms.sort()
    return result


def _push(
    order: Sequence[_Repository],
    over_seconds: float,
    pool: ThreadPoolExecutor,
    deliver: Callable[[dict[str, object]], github.Answer],
) -> list[Future[github.Answer]]:
    """Push in this order, evenly over `over_seconds`, whether or not the deliveries keep up."""
    started = time.monotonic()
    deliveries = []
    for number, one in enumerate(order):
        time.sleep(max(0.0, started + over_seconds * number / len(order) - time.monotonic()))
        deliveries.append(pool.submit(deliver, one.push()))
    return deliveries


def _wait_for_tips(place: Path, stocked: Sequence[_Repository]) -> list[str]:
    """Wait until every tip is published; return the repositories whose tip is not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    behind = list(stocked)
    while behind and time.monotonic() < deadline:
        behind = [one for one in behind if _published(place, one) != one.tip]
        time.sleep(0.02 if behind else 0)
    return [one.upstream.full_name for one in behind]


def _published(place: Path, one: _Repository) -> str | None:
    try:
        return os.path.basename(os.readlink(place / "mount" / one.upstream.full_name / "main" / "current"))
    except FileNotFoundError:
        return None


def _report(mode: str, result: Result) -> str:
    ms = result.handler_ms
    return "\n".join(
        [
            f"{mode}: {result.pushes} pushes",
            f"  answers           {json.dumps(dict(result.answers.most_common()))}",
            f"  all answered      {result.answered_seconds:.1f} s",
            f"  every tip         {result.published_seconds:.1f} s; lost: {', '.join(result.lost) or 'none'}",
            f"  asked the remote  {dict(result.asked)}; fetches a push {result.fetches_per_push:.3f} "
            f"(at most {TARGET_FETCHES})",
            f"  handler           median {statistics.median(ms):.1f} ms, p99 {quantile(ms, 0.99):.1f} ms, "
            f"most {ms[-1]:.1f} ms",
            *(
                [f"  lag in the queue  median {statistics.median(lag):.2f} s, p99 {quantile(lag, 0.99):.2f} s"]
                if (lag := result.lag_seconds)
                else []
            ),
        ]
    )


def main() -> None:
    """Play the burst in each mode, and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.burst", description=__doc__)
    parser.add_argument("--pushes", type=int, default=1000)
    parser.add_argument("--repositories", type=int, default=50)
    parser.add_argument("--in-flight", type=int, default=50, help="deliveries at once (%(default)s)")
    parser.add_argument("--over", type=float, default=1.0, help="seconds that the pushes are spread over (%(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that the remote takes longer to answer")
    parser.add_argument("--poisoned", type=int, default=0, help="further repositories whose remote never answers")
    parser.add_argument("--mode", choices=["direct", "queued", "both"], default="both")
    options = parser.parse_args()
    for mode in ["direct", "queued"] if options.mode == "both" else [options.mode]:
        with tempfile.TemporaryDirectory() as place:
            result = burst(
                Path(place),
                pushes=options.pushes,
                repositories=options.repositories,
                in_flight=options.in_flight,
                over_seconds=options.over,
                is_queued=mode == "queued",
                latency_seconds=options.latency,
                poisoned=options.poisoned,
            )
        print(_report(mode, result), flush=True)


if __name__ == "__main__":
    main()
