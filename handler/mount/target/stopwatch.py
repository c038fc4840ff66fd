"""Where the time of a run goes. Times are those of `time.perf_counter`."""

import time

from handler.model import Durations


class Stopwatch:
    """Starts when it is made; each method ends one part of the run and begins the next."""

    def __init__(self) -> None:
        self._at = time.perf_counter()
        self._fetch_ms = self._checkout_ms = self._publish_ms = 0.0

    def fetched(self) -> None:
        """End the fetch."""
        self._fetch_ms = self._lap(time.perf_counter())

    def checked_out(self, at: float) -> None:
        """End the check-out, which was done at `at`."""
        self._checkout_ms = self._lap(at)

    def published(self) -> None:
        """End the flip and the record."""
        self._publish_ms = self._lap(time.perf_counter())

    @property
    def durations(self) -> Durations:
        """The parts so far."""
        return Durations(fetch_ms=self._fetch_ms, checkout_ms=self._checkout_ms, publish_ms=self._publish_ms)

    def _lap(self, at: float) -> float:
        since, self._at = self._at, at
        return (at - since) * 1000
