"""The schedule's pass over all repositories: how long it takes, and when it comes by. Pure.

A pass lists the repositories where the list is not remembered, and asks each one's refs, so many in flight.
"""

import math
from dataclasses import dataclass

from benchmarks.scale.model import Stack, Times

PAGE = 10


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass: seconds of its parts, and how often one begins."""

    repositories: int
    listing_seconds: float
    asking_seconds: float
    every_seconds: float
    listing_cache_seconds: float

    @property
    def seconds(self) -> float:
        """A pass that has to list."""
        return self.listing_seconds + self.asking_seconds

    @property
    def period_seconds(self) -> float:
        """From one pass's beginning to the next one's: a pass that is not done delays the next."""
        return max(self.every_seconds, self.seconds)

    @property
    def listing_share(self) -> float:
        """Which part of the time a listing goes on."""
        return self.listing_seconds / max(self.period_seconds, self.listing_cache_seconds)

    @property
    def listings_a_day(self) -> float:
        """How often a day the list is read anew."""
        return 86_400 / max(self.period_seconds, self.listing_cache_seconds)

    @property
    def passes_a_day(self) -> float:
        """How many passes a day there are."""
        return 86_400 / self.period_seconds

    @property
    def asks_per_second(self) -> float:
        """Requests to GitHub, on average."""
        return self.repositories / self.period_seconds

    def next_visit(self, now: float, repository: int) -> float:
        """Return when the schedule next looks at a repository: they come in the order of the list."""
        offset = self.listing_seconds + self.asking_seconds * repository / self.repositories
        number = math.ceil((now - offset) / self.period_seconds)
        return number * self.period_seconds + offset


def pass_of(repositories: int, stack: Stack, times: Times) -> Pass:
    """Return what a pass over so many repositories is."""
    asking = max(repositories * times.github / stack.in_flight, repositories * times.ask_processor)
    return Pass(
        repositories,
        math.ceil(repositories / PAGE) / stack.listing_rate,
        asking,
        stack.reconcile_seconds,
        stack.listing_cache_seconds,
    )
