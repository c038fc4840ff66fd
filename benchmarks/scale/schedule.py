"""The schedule's pass over all repositories: its duration, and the time when it reaches a repository. Pure.

A pass lists the repositories, unless the list is cached, and asks for the refs of each, many in flight.
"""

import math
from dataclasses import dataclass

from benchmarks.scale.model import Stack, Times

PAGE = 10


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass: the seconds of its parts, and how often one begins."""

    repositories: int
    listing_seconds: float
    asking_seconds: float
    every_seconds: float
    listing_cache_seconds: float

    @property
    def seconds(self) -> float:
        """The duration of a pass that has to list."""
        return self.listing_seconds + self.asking_seconds

    @property
    def period_seconds(self) -> float:
        """Seconds between the starts of passes: an unfinished pass delays the next."""
        return max(self.every_seconds, self.seconds)

    @property
    def listing_share(self) -> float:
        """The part of the time in which a listing runs."""
        return self.listing_seconds / max(self.period_seconds, self.listing_cache_seconds)

    @property
    def listings_a_day(self) -> float:
        """Listings a day."""
        return 86_400 / max(self.period_seconds, self.listing_cache_seconds)

    @property
    def passes_a_day(self) -> float:
        """Passes a day."""
        return 86_400 / self.period_seconds

    @property
    def asks_per_second(self) -> float:
        """Requests to GitHub a second, on average."""
        return self.repositories / self.period_seconds

    def next_visit(self, now: float, repository: int) -> float:
        """Return when the schedule next looks at a repository; it follows the order of the list."""
        offset = self.listing_seconds + self.asking_seconds * repository / self.repositories
        number = math.ceil((now - offset) / self.period_seconds)
        return number * self.period_seconds + offset


def pass_of(repositories: int, stack: Stack, times: Times) -> Pass:
    """Return the pass over `repositories` repositories."""
    asking = max(repositories * times.github / stack.in_flight, repositories * times.ask_processor)
    return Pass(
        repositories,
        math.ceil(repositories / PAGE) / stack.listing_rate,
        asking,
        stack.reconcile_seconds,
        stack.listing_cache_seconds,
    )
