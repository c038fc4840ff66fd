"""Reconcile a repository as handler/mount/reconcile.py does: lock, ask the remote, publish the tip. Pure.

A look publishes the ref's tip at the moment when it asks, and so every push up to then at once.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

import simpy

from benchmarks.scale.engine import Environment, Meter, Steps, until
from benchmarks.scale.model import Sizes, Stack, Times
from benchmarks.scale.trace import Push

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
_LATE_SECONDS = 0.02
_ROUNDING_SECONDS = 1e-9
_MIN_RELEASES = 8


class End(StrEnum):
    """The outcome of a look or of a delivery."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    SETTLED = "settled"
    LOCK_TIMEOUT = "lock_timeout"
    IN_GRACE = "releases_in_grace"
    THROTTLED = "throttled"
    NO_CONCURRENCY = "no_concurrency"
    PARAMETERS = "parameters_unavailable"


FAILURES = frozenset({End.LOCK_TIMEOUT, End.IN_GRACE, End.THROTTLED, End.NO_CONCURRENCY, End.PARAMETERS})


@dataclass(eq=False, slots=True)
class Repository:
    """One repository and its only target."""

    files: int
    is_locked: bool = False
    waiting: list[tuple[float, int]] = field(default_factory=list)
    """The pushes that are not visible yet: (time, number in the trace)."""
    asked_at: float = -1.0
    pushed_at: int = -1
    """`pushed_at` of the newest confirmed delivery, in GitHub's whole seconds, as in the target's record."""
    retired: list[float] = field(default_factory=list)
    """The times since when each release but the current one is retired, the oldest first."""
    last: Environment | None = None


class Mount:
    """All repositories, and the cost of looks at them."""

    def __init__(
        self, clock: simpy.Environment, trees: list[int], trace: list[Push], stack: Stack, times: Times, seed: int
    ) -> None:
        """Begin with every repository published long ago, and two retired releases past their grace."""
        self._clock, self._trace, self._stack, self._times = clock, trace, stack, times
        self._random = Random(f"lock {seed}")
        self._sizes = Sizes()
        long_ago = -10 * stack.grace_seconds - 10
        self.repositories = [Repository(files, retired=[long_ago] * max(0, stack.keep_releases - 1)) for files in trees]
        self.visible_at: list[float | None] = [None] * len(trace)
        self.published_twice = 0
        self.ends: dict[End, int] = dict.fromkeys(End, 0)
        self.whole_trees = 0
        self.whole_files = 0
        self.reads, self.writes = Meter(), Meter()
        self.written_kib = 0.0
        self.fetches = self.asks = 0

    def push(self, number: int) -> None:
        """Move the ref: GitHub accepted this push."""
        push = self._trace[number]
        self.repositories[push.repository].waiting.append((push.at, number))

    def look(
        self, number: int, received_at: float, push: int | None, environment: Environment, *, is_late: bool = False
    ) -> Steps[End]:
        """Look at a repository on behalf of a delivery; return how that ended.

        `push` is the delivery's number in the trace, None for the schedule. The ref is asked and the delivery's commit
        fetched side by side. A look that is late, waited for the lock, or finds that the ref moved, fetches afterwards.
        """
        pushed_at = -1 if push is None else int(self._trace[push].at)
        repository = self.repositories[number]
        begun = self._clock.now
        if not (yield from self._take_lock(repository)):
            return self._end(End.LOCK_TIMEOUT)
        now = self._clock.now
        if received_at <= repository.asked_at and pushed_at <= repository.pushed_at:
            self._count(now, self._sizes.look_reads, self._sizes.look_writes)
            yield self._clock.timeout(self._times.lock)
            end = End.SETTLED
        else:
            hoped = None if is_late or now - begun > _LATE_SECONDS else push
            yield self._clock.timeout(self._times.lock)
            asked_at = self._clock.now
            end = yield from self._ask(repository, environment, hoped)
            if end is End.PUBLISHED or (end is End.UNCHANGED and pushed_at > repository.pushed_at):
                repository.asked_at, repository.pushed_at = asked_at, max(repository.pushed_at, pushed_at)
        repository.is_locked = False
        return self._end(end)

    def _take_lock(self, repository: Repository) -> Steps[bool]:
        """Poll for the lock as the handler does, with jitter; return False when its deadline passes."""
        deadline = self._clock.now + self._stack.lock_seconds
        pause = _FIRST_PAUSE
        while repository.is_locked:
            left = deadline - self._clock.now
            if left <= _ROUNDING_SECONDS:
                return False
            yield self._clock.timeout(min(left, pause * self._random.uniform(0.5, 1)))
            pause = min(pause * 2, _LONGEST_PAUSE)
        repository.is_locked = True
        return True

    def _ask(self, repository: Repository, environment: Environment, hoped: int | None) -> Steps[End]:
        """Ask the remote for the ref, and publish every push that it knows of by then."""
        times = self._times
        self.asks += 1
        sent = self._clock.now + (0.0 if environment.is_connected else times.connect)
        environment.is_connected = True
        yield until(self._clock, sent + times.read_share * times.github)
        covered, repository.waiting = repository.waiting, []
        if not covered:
            self._count(self._clock.now, self._sizes.look_reads, self._sizes.look_writes)
            yield until(self._clock, environment.compute(sent + times.github, times.ask_processor) + times.confirm)
            return End.UNCHANGED
        self.fetches += 1
        yield until(self._clock, sent + (1 if covered[-1][1] == hoped else 2) * times.github)
        return (yield from self._publish(repository, covered, environment))

    def _publish(
        self, repository: Repository, covered: list[tuple[float, int]], environment: Environment
    ) -> Steps[End]:
        now, grace = self._clock.now, self._stack.grace_seconds
        is_past = bool(repository.retired) and (grace == 0 or now - repository.retired[0] >= grace + 1)
        standing = len(repository.retired) + 1
        if not is_past and standing >= max(_MIN_RELEASES, self._stack.burst_files // repository.files):
            repository.waiting = covered + repository.waiting
            return End.IN_GRACE
        yield self._clock.timeout(self._write(repository, covered, environment, is_past))
        self._flip(repository, covered)
        yield self._clock.timeout(self._times.tidy)
        return End.PUBLISHED

    def _write(
        self, repository: Repository, covered: list[tuple[float, int]], environment: Environment, is_past: bool
    ) -> float:
        """Count what a publish writes; return how many seconds it takes. `is_past`: a release may be recycled."""
        now: float = self._clock.now
        times, sizes = self._times, self._sizes
        changed = min(repository.files, sum(self._trace[number].files for _, number in covered))
        # A recycled release is two pushes behind, and needs both.
        files = min(repository.files, 2 * changed - 1) if is_past else repository.files
        strange = repository.last is not environment
        repository.last = environment
        computed = environment.compute(now, times.processor + times.file * (files - 1))
        seconds = computed - now + max(0.0, times.publish - times.processor) + (times.strange if strange else 0.0)
        self._count(now, sizes.warm_reads + (sizes.strange_reads if strange else 0), sizes.warm_writes)
        self.written_kib += sizes.metadata_kib * (sizes.warm_writes - sizes.push_contents)
        self.written_kib += sizes.content_kib * sizes.push_contents
        each = sizes.patch_operations if is_past else sizes.file_writes
        self.writes.add(now, each * (files - 1), seconds)
        self.written_kib += (sizes.content_kib + sizes.metadata_kib * (each - 1)) * (files - 1)
        if is_past:
            repository.retired.pop(0)
        else:
            self.whole_trees += 1
            self.whole_files += files
        return seconds

    def _flip(self, repository: Repository, covered: list[tuple[float, int]]) -> None:
        now, grace = self._clock.now, self._stack.grace_seconds
        for _, number in covered:
            self.published_twice += self.visible_at[number] is not None
            self.visible_at[number] = now
        repository.retired.append(now)
        while len(repository.retired) >= self._stack.keep_releases and now - repository.retired[0] >= grace + 1:
            repository.retired.pop(0)

    def _end(self, end: End) -> End:
        self.ends[end] += 1
        return end

    def _count(self, now: float, reads: float, writes: float) -> None:
        self.reads.add(now, reads)
        self.writes.add(now, writes)
