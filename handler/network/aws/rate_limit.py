"""What unverified requests may cause, bounded: so many at once, so many a second."""

import threading
from collections.abc import Callable


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
