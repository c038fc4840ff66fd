"""Bounded rates: of the calls that unverified requests may cause, and of reading pages from Parameter Store."""

import threading
import time
from collections.abc import Callable

PAGES_PER_SECOND = 20.0
"""Half of Parameter Store's default quota for an account: 40 requests a second, all functions together."""


class TokenBucket:
    """A token bucket of `burst` tokens, refilled with `rate` tokens a second. Safe for threads; `clock` in seconds."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]) -> None:
        """Start with a full bucket."""
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Take one token; return False when there is none."""
        with self._lock:
            now = self._clock()
            # A clock that was set back adds no tokens, and takes none away.
            gained = max(0.0, now - self._filled_at) * self._rate
            self._tokens, self._filled_at = min(float(self._burst), self._tokens + gained), now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def give_back(self, count: int = 1) -> None:
        """Return tokens to the bucket: the request that took them is verified by now."""
        with self._lock:
            self._tokens = min(float(self._burst), self._tokens + count)


class RateLimiter:
    """Limits calls to `per_second`, evenly spaced. For one thread."""

    def __init__(
        self,
        per_second: float = PAGES_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """The first call does not wait."""
        self._interval = 1 / per_second
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()

    def wait(self) -> None:
        """Sleep until the next call may be made."""
        now = self._clock()
        if now < self._next_at:
            self._sleep(self._next_at - now)
        # Count from now, and not from the planned time: no burst makes up for a call that took long.
        self._next_at = max(now, self._next_at) + self._interval
