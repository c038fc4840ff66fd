"""The simulation's machinery: its clock, a rate limit, Lambda's environments. Pure.

Events and processes are simpy's. Times are seconds from midnight.
"""

from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import simpy

T = TypeVar("T")
Steps = Generator[simpy.Event, Any, T]
"""A process, or a part of one, that yields the events it waits for and returns T."""


def until(clock: simpy.Environment, when: float) -> simpy.Event:
    """Return the event of that time, or of now if that is past."""
    return clock.timeout(max(0.0, when - clock.now))


class Bucket:
    """A token bucket: `burst` at once, and `rate` a second."""

    def __init__(self, rate: float, burst: float) -> None:
        """Full at midnight."""
        self._rate, self._burst = rate, burst
        self._level, self._at = burst, 0.0

    def take(self, now: float) -> bool:
        """Return whether the limit admits one more."""
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


class Meter:
    """Amounts per second."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.total = 0.0
        self._seconds: defaultdict[int, float] = defaultdict(float)

    def add(self, start: float, amount: float, seconds: float = 0.0) -> None:
        """Add `amount` from `start` on, spread evenly over `seconds`."""
        self.total += amount
        first, last = int(start), int(start + seconds)
        for second in range(first, last + 1):
            self._seconds[second] += amount / (last - first + 1)

    @property
    def peak(self) -> float:
        """The most in a second."""
        return max(self._seconds.values(), default=0.0)


@dataclass(eq=False, slots=True)
class Environment:
    """One environment of a function: one processor, its caches, and the time since it is idle."""

    idle_since: float = 0.0
    processor_until: float = 0.0
    is_connected: bool = False
    read_at: dict[int, float] = field(default_factory=dict)
    """The time when each parameter was read, by repository; -1 is the secret."""

    def compute(self, start: float, seconds: float) -> float:
        """Return when `seconds` of work end that begin at `start`: the processor does one thing at a time."""
        self.processor_until = max(start, self.processor_until) + seconds
        return self.processor_until


class Function:
    """A Lambda function: a run takes the most recently used environment, or a new one, up to a limit.

    With `is_shared` all runs share one environment that is never cold, like the local service with its threads.
    """

    def __init__(self, cold_seconds: float, limit: int, keep_alive: float, *, is_shared: bool = False) -> None:
        """Begin without environments."""
        self._cold_seconds, self._limit, self._keep_alive = cold_seconds, limit, keep_alive
        self._idle: list[Environment] = []
        self._shared = Environment() if is_shared else None
        self.running = self.peak = self.runs = self.cold_starts = 0
        self.busy_seconds = 0.0

    def start(self, now: float) -> tuple[Environment, float] | None:
        """Return an environment and when it is ready; None at the limit."""
        if self.running >= self._limit:
            return None
        self.running += 1
        self.runs += 1
        self.peak = max(self.peak, self.running)
        if self._shared is not None:
            return self._shared, now
        while self._idle:
            found = self._idle.pop()
            if now - found.idle_since <= self._keep_alive:
                return found, now
            self._idle.clear()  # the others have been idle for longer
        self.cold_starts += 1
        return Environment(), now + self._cold_seconds

    def end(self, environment: Environment, started: float, now: float) -> None:
        """End a run that began at `started`."""
        self.running -= 1
        self.busy_seconds += now - started
        environment.idle_since = now
        if self._shared is None:
            self._idle.append(environment)
