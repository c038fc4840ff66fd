"""The deadline of a run, which every wait, poll and long loop checks.

At its timeout Lambda kills the process, whatever it is doing. That is safe, but costs a cold start and the log line. So
a run stops by itself a little earlier.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from handler.errors import OutOfTime

MARGIN_SECONDS = 20.0
"""A run stops this long before Lambda kills the process, to have time for its last step, the log line and the queue."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time in seconds of `clock`; `at` None is no deadline."""

    at: float | None = None
    clock: Callable[[], float] = time.time

    @classmethod
    def of_context(cls, context: object, clock: Callable[[], float] = time.time) -> "Deadline":
        """Return the deadline MARGIN_SECONDS before the timeout of Lambda's `context`; none outside Lambda."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        return cls(clock() + remaining() / 1000 - MARGIN_SECONDS if callable(remaining) else None, clock)

    def is_past(self) -> bool:
        """Whether the run has to stop now."""
        return self.at is not None and self.clock() >= self.at

    def check(self, message: str) -> None:
        """Raise OutOfTime with `message` where the run has to stop now. Safe for threads."""
        if self.is_past():
            raise OutOfTime(message)

    def minus(self, seconds: float) -> "Deadline":
        """Return the deadline `seconds` earlier, after which nothing may begin that takes so long."""
        return Deadline(None if self.at is None else self.at - seconds, self.clock)

    def or_earlier(self, other: "Deadline") -> "Deadline":
        """Return the deadline that comes first."""
        if self.at is None or (other.at is not None and other.at < self.at):
            return other
        return self

    def bound(self, seconds: float) -> float:
        """Return how long to wait: `seconds`, or less if the deadline comes first; 0 where it is past."""
        return seconds if self.at is None else max(0.0, min(seconds, self.at - self.clock()))


NO_DEADLINE = Deadline()
"""For an operator's shell and for tests."""
