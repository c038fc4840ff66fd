"""An organisation's pushes, from a seed. Pure.

People's pushes are a Poisson process whose rate follows the working day. Repositories follow a power law (Zipf): a few
get most pushes. A push is followed by another soon, with a given chance. Now and then a bot pushes to many repositories
within a minute.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

DAY_SECONDS = 86_400.0
HOUR_SECONDS = 3_600.0
HOURS = (1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 18, 15, 12, 17, 18, 17, 14, 9, 5, 4, 3, 2, 2, 1)
"""Each hour's share of a working day's pushes, as weights: two time zones of one continent."""
MOST_FILES = 50_000


@dataclass(frozen=True, slots=True)
class Profile:
    """An organisation's pushes in a working day.

    `pushes_a_day` counts people's. Each is followed by another to the same repository with the chance `follow_up`,
    after `follow_up_seconds` on average. `popularity` is Zipf's exponent. Each of `bots_a_day` bursts goes
    to `bot_repositories` different ones within `bot_seconds`, during working hours.
    """

    repositories: int
    pushes_a_day: float
    bots_a_day: int = 0
    bot_repositories: int = 0
    bot_seconds: float = 60.0
    popularity: float = 0.8
    follow_up: float = 0.3
    follow_up_seconds: float = 120.0
    tree_median_files: float = 300.0
    tree_spread: float = 1.5


@dataclass(frozen=True, slots=True, order=True)
class Push:
    """A push: its time (seconds from midnight), its repository, and the number of files that it changes."""

    at: float
    repository: int
    files: int


def make_trace(profile: Profile, seed: int) -> list[Push]:
    """Return a working day's pushes in their order. The same profile and seed give the same trace."""
    random = Random(seed)
    people = sorted(_people(profile, random))
    bots = [push for _ in range(profile.bots_a_day) for push in _bot(profile, random)]
    return sorted([*people, *bots])


def make_trees(profile: Profile, seed: int) -> list[int]:
    """Return the number of files in each repository: log-normal, so that a few are large."""
    random = Random(f"trees {seed}")
    middle = math.log(profile.tree_median_files)
    return [
        min(MOST_FILES, max(1, round(random.lognormvariate(middle, profile.tree_spread))))
        for _ in range(profile.repositories)
    ]


def _people(profile: Profile, random: Random) -> Iterator[Push]:
    weights = itertools.accumulate(1 / rank**profile.popularity for rank in range(1, profile.repositories + 1))
    cumulative, everybody = list(weights), range(profile.repositories)
    for at in _working_day(profile.pushes_a_day * (1 - profile.follow_up), random):
        [repository] = random.choices(everybody, cum_weights=cumulative)
        yield Push(at, repository, _changed(random))
        again = at
        while random.random() < profile.follow_up:
            again += random.expovariate(1 / profile.follow_up_seconds)
            if again < DAY_SECONDS:
                yield Push(again, repository, _changed(random))


def _working_day(total: float, random: Random) -> Iterator[float]:
    for hour, weight in enumerate(HOURS):
        rate = total * weight / sum(HOURS) / HOUR_SECONDS
        at = hour * HOUR_SECONDS
        while rate:
            at += random.expovariate(rate)
            if at >= (hour + 1) * HOUR_SECONDS:
                break
            yield at


def _bot(profile: Profile, random: Random) -> Iterator[Push]:
    start = random.uniform(9, 17) * HOUR_SECONDS
    for repository in random.sample(range(profile.repositories), profile.bot_repositories):
        yield Push(start + random.uniform(0, profile.bot_seconds), repository, 1)


def _changed(random: Random) -> int:
    """Return a number of files: one in six pushes of ten, else log-normal with a median of 5, at most 2,000."""
    return 1 if random.random() < 0.6 else min(2000, 1 + round(random.lognormvariate(math.log(5), 1.3)))


def storm(repositories: int, seconds: float, seed: int, start: float = 0.0) -> list[Push]:
    """Return a burst: one push to each of `repositories` repositories within `seconds`."""
    random = Random(f"storm {seed}")
    return sorted(Push(start + random.uniform(0, seconds), each, 1) for each in range(repositories))


def peak_rate(trace: Sequence[Push], seconds: float) -> float:
    """Return the highest rate of pushes, per second, in any window of `seconds` that begins with a push."""
    most, first = 0, 0
    for last, push in enumerate(trace):
        while push.at - trace[first].at >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most / seconds
