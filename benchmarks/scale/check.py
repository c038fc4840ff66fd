"""Compare the simulation with reality: play the same burst through the local service and through the model.

The local service is one process with threads, and fetches from a real `git http-backend` that answers late. This checks
the lock, the waiting, and the number of looks in a burst. It cannot check the parts of Lambda and AWS.
"""

import os
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from benchmarks.scale.model import Stack, Times
from benchmarks.scale.mount import End
from benchmarks.scale.report import table
from benchmarks.scale.simulate import Simulation
from benchmarks.scale.trace import Push
from local import github
from local.service import Service
from testing.origin import GitOrigin
from testing.repositories import Upstream

_REF = "refs/heads/main"
_SECRET = "check"
_FILES = 20


@dataclass(frozen=True, slots=True)
class Played:
    """The result of a burst: sorted lags in seconds, and the number of deliveries by outcome."""

    lags: list[float]
    published: int
    unchanged: int
    failed: int


class _Repository:
    """An upstream with commits made beforehand, and the times when each was pushed and seen on the mount."""

    def __init__(self, root: Path, number: int, pushes: int) -> None:
        self.upstream = Upstream(root, f"octo/check{number}")
        self.commits = self.upstream.generate(_FILES, pushes + 1, seed=number)
        self.at = 0
        self.pushed_at: list[float] = []
        self.seen_at: list[tuple[float, int]] = []
        self._point()

    def _point(self) -> None:
        path = self.upstream.path / _REF
        temporary = path.with_name("main.new")
        temporary.write_text(self.commits[self.at] + "\n")
        temporary.rename(path)

    def push(self) -> dict[str, object]:
        """Push the next commit; return the payload."""
        self.at += 1
        self._point()
        self.pushed_at.append(time.time())
        return self.payload()

    def payload(self) -> dict[str, object]:
        """Return the payload of the last push."""
        before = self.commits[self.at - 1] if self.at else github.NO_COMMIT
        return github.push_payload(
            self.upstream.full_name, _REF, before, self.commits[self.at], pushed_at=int(time.time())
        )

    def look(self, mount: Path) -> None:
        """Note which commit is current."""
        commit = os.path.basename(os.readlink(mount / self.upstream.full_name / "main" / "current"))
        at = self.commits.index(commit)
        if not self.seen_at or self.seen_at[-1][1] != at:
            self.seen_at.append((time.time(), at))

    def lags(self) -> list[float]:
        """Return the seconds from each push until it, or a later one, was seen."""
        return [
            next(seen for seen, at in self.seen_at if at > number) - pushed
            for number, pushed in enumerate(self.pushed_at)
        ]


def _order(repositories: int, pushes: int, seconds: float, seed: int) -> list[tuple[float, int]]:
    """Return (time, repository) of each push: up to six in a row, a twentieth of a second apart."""
    random = Random(seed)
    order: list[tuple[float, int]] = []
    while len(order) < pushes:
        at, repository = random.uniform(0, seconds), random.randrange(repositories)
        order += [(at + 0.05 * number, repository) for number in range(random.randint(1, 6))]
    return sorted(order[:pushes])


def _play(place: Path, latency_seconds: float, seed: int) -> tuple[Played, Times, list[Push]]:
    """Play a burst through the local service; return its result, the times of single pushes, and the pushes."""
    (place / "origin").mkdir()
    order = _order(10, 100, 12.0, seed)
    with GitOrigin(place / "origin") as origin:
        stocked = [_Repository(origin.root, number, 110) for number in range(10)]
        urls = {one.upstream.full_name: origin.url(one.upstream.full_name) for one in stocked}
        mount = place / "mount"
        with Service(str(mount), _SECRET, urls) as service, ThreadPoolExecutor(64) as pool:

            def send(payload: dict[str, object]) -> github.Answer:
                return github.send(service.url, payload, _SECRET)

            for one in stocked:
                send(one.payload())
            origin.latency_seconds = latency_seconds
            times = _alone(stocked, send)
            for one in stocked:
                one.pushed_at.clear()
                one.commits = one.commits[one.at :]
                one.at = 0
            ended = threading.Event()
            watcher = threading.Thread(target=_watch, args=(stocked, mount, ended))
            watcher.start()
            started, answers, pushes = time.time(), [], []
            for at, number in order:
                time.sleep(max(0.0, started + at - time.time()))
                answers.append(pool.submit(send, stocked[number].push()))
                pushes.append(Push(stocked[number].pushed_at[-1] - int(started), number, 1))
            outcomes = [answer.result().fields.get("outcome") for answer in answers]
            time.sleep(0.1)
            ended.set()
            watcher.join()
    lags = sorted(lag for one in stocked for lag in one.lags())
    played = Played(lags, outcomes.count("published"), outcomes.count("unchanged"), outcomes.count("failed"))
    return played, times, pushes


def _watch(stocked: list[_Repository], mount: Path, ended: threading.Event) -> None:
    while not ended.wait(0.003):
        for one in stocked:
            one.look(mount)


def _alone(stocked: list[_Repository], send: object) -> Times:
    """Measure single pushes, and single deliveries that find nothing new."""
    assert callable(send)
    published, unchanged = [], []
    for one in stocked:
        published.append(_seconds(lambda one=one: send(one.push())))
        unchanged.append(_seconds(lambda one=one: send(one.payload())))
    push, look = statistics.median(published), statistics.median(unchanged)
    door, lock, confirm, processor = 0.003, 0.001, 0.001, 0.013
    asked = max(0.0, look - door - lock - confirm)
    publish = max(processor, push - door - lock - asked)
    return replace(
        Times(),
        webhook=0.0,
        door=door,
        lock=lock,
        github=asked,
        connect=0.0,
        read_share=1.0,
        publish=publish,
        strange=0.0,
        tidy=0.001,
        confirm=confirm,
        file=0.0,
        processor=processor,
    )


def _seconds(action: object) -> float:
    assert callable(action)
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def compare(latency_seconds: float = 0.1, seed: int = 1) -> tuple[Played, Played]:
    """Return the measured result and the model's."""
    with tempfile.TemporaryDirectory() as place:
        measured, times, pushes = _play(Path(place), latency_seconds, seed)
    result = Simulation(pushes, [_FILES] * 10, Stack(throttle_rate=1e6), times, is_local=True).run()
    ends = result.mount.ends
    unchanged = ends[End.UNCHANGED] + ends[End.SETTLED]
    return measured, Played(result.lags, ends[End.PUBLISHED], unchanged, ends[End.LOCK_TIMEOUT])


def check_table() -> str:
    """Return the comparison as a table."""
    lines = []
    for latency in (0.1, 0.5):
        for name, played in zip(("measured", "model"), compare(latency), strict=True):
            lags = [played.lags[int(part * (len(played.lags) - 1))] for part in (0.5, 0.9, 0.99, 1)]
            counts = [str(each) for each in (played.published, played.unchanged, played.failed)]
            lines.append([f"{1000 * latency:.0f} ms", name, *(f"{lag:.2f}" for lag in lags), *counts])
    head = [
        "the remote's answer takes",
        "",
        "p50, s",
        "p90, s",
        "p99, s",
        "most, s",
        "published",
        "unchanged",
        "failed",
    ]
    return table(head, lines)
