"""Rates that are bounded: what unverified requests may cause, and how fast a listing reads Parameter Store."""

import threading
import time
from collections.abc import Callable

PAGES_PER_SECOND = 20.0
"""Half of what Parameter Store gives an account by default, 40 requests a second, all functions together."""


class TokenBucket:
    """`burst` tokens, filled up again by `rate` a second. Safe between threads; `clock` is in seconds."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        """Full at first."""
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Take one token; False when there is none."""
        with self._lock:
            now = self._clock()
            # A clock that was set back fills nothing, and takes nothing away.
            gained = max(0.0, now - self._filled_at) * self._rate
            self._tokens, self._filled_at = min(float(self._burst), self._tokens + gained), now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def give_back(self, count: int = 1) -> None:
        """Put tokens back: what they were taken for turned out to be no stranger's doing."""
        with self._lock:
            self._tokens = min(float(self._burst), self._tokens + count)


class RateLimiter:
    """Lets through `per_second` calls a second at most, evenly. For one thread."""

    def __init__(
        self,
        per_second: float = PAGES_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """The first call need not wait."""
        self._interval = 1 / per_second
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()

    def wait(self) -> None:
        """Return when the next call may be made."""
        now = self._clock()
        if now < self._next_at:
            self._sleep(self._next_at - now)
        # From now on and not from the last time: a call that took long is not made up for by a burst.
        self._next_at = max(now, self._next_at) + self._interval
