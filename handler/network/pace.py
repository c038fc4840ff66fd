"""How often the schedule asks a repository's remote: seldom where nothing is pushed, or nothing gets lost. Pure.

For a given number of requests, lost pushes are found soonest on average if the time between two requests goes with one
over the square root of how many pushes there are: of this repository, and at this hour of the day. So a repository
that gets four times the pushes is asked twice as often, and one whose push no delivery had brought, several times.

Times are in seconds since the epoch.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter

from handler.exchange.schedule_state import DAY_HOURS, RepositoryState, ScheduleState

ALWAYS_ASKED = 200
"""So many repositories are asked in each run, whether it is their turn or not: less than one request a second."""
LOST_PUSHES = 10.0
"""A push that no delivery had brought counts as so many: where one was lost, the next one may be."""
_MEMORY_SECONDS = 3 * 86_400.0
"""A push counts 1, a third of that after so long, and so on: a weekend does not make a busy repository a quiet one."""
_UNSEEN_PUSHES = 4.0
"""As if each repository had had so many: one that is quiet may get a push all the same."""
_PAUSE_SECONDS = 1950.0
"""The pause of a repository that had one push a day, at the day's average hour. benchmarks/scale chose it: so that at
10,000 repositories the remote is asked a seventh of what it would be in every run."""
_LEAST_WEIGHT = 0.25
"""An hour without pushes counts as one with a sixteenth of the average: there may be one nevertheless."""
_MAX_HOURS_SUM = 20_000.0
"""Where the hours sum to more, all are halved: what is long ago counts less."""
_HOUR = 3600.0
_TOLERANCE_SECONDS = 30.0
"""A timer of the same period may run a moment too early."""
_FEWEST_LOST, _LOST_SHARE = 5, 0.02


def due(names: Iterable[str], state: ScheduleState, now: float) -> list[str]:
    """Return the names whose turn it is, and at least the ALWAYS_ASKED whose turn comes soonest; in their order."""
    turns = [(name, _due_at(state.repositories.get(name))) for name in names]
    chosen = [name for name, at in turns if at <= now + _TOLERANCE_SECONDS]
    if len(chosen) >= ALWAYS_ASKED:
        return chosen
    soonest = {name for name, _ in sorted(turns, key=itemgetter(1))[:ALWAYS_ASKED]}
    return [name for name, _ in turns if name in soonest]


def are_many_lost(lost: int, asked: int) -> bool:
    """Whether so many lost pushes mean that deliveries do not arrive at all, and the others should be asked too."""
    return lost >= max(_FEWEST_LOST, _LOST_SHARE * asked)


def with_pushes(before: float, pushes: float, seconds: float) -> float:
    """Return the count of a repository's pushes of late, with those that came in so many seconds since `before`."""
    return round(before * math.exp(-max(0.0, seconds) / _MEMORY_SECONDS) + pushes, 2)


def with_push(hours: Sequence[float], since: float, until: float) -> tuple[float, ...]:
    """Return the hours' counts with a push more, which was between the two times."""
    counts = list(hours) if len(hours) == DAY_HOURS else [0.0] * DAY_HOURS
    counts[_hour_of((since + until) / 2)] += 1
    return tuple(each / 2 for each in counts) if sum(counts) > _MAX_HOURS_SUM else tuple(counts)


def next_turn(state: RepositoryState, hours: Sequence[float], now: float, *, longest_seconds: float) -> float:
    """Return when it is the repository's turn again, if all its targets match the remote."""
    pushes_a_day = (state.pushes + _UNSEEN_PUSHES) / (_MEMORY_SECONDS / 86_400)
    left, at = _PAUSE_SECONDS / math.sqrt(pushes_a_day), now
    weights = _weights(tuple(hours))
    while at - now < longest_seconds:
        weight, end = weights[_hour_of(at)], (at // _HOUR + 1) * _HOUR
        if weight * (end - at) >= left:
            return min(at + left / weight, now + longest_seconds)
        left, at = left - weight * (end - at), end
    return now + longest_seconds


@lru_cache(maxsize=1)
def _weights(hours: tuple[float, ...]) -> list[float]:
    """Return how often to ask in each hour of the day, in UTC; 1 is the average."""
    # One more in each: what is known of a new stack weighs as little as it is.
    counts = [each + 1 for each in hours] if len(hours) == DAY_HOURS else [1.0] * DAY_HOURS
    average = sum(counts) / DAY_HOURS
    return [max(_LEAST_WEIGHT, math.sqrt(each / average)) for each in counts]


def _hour_of(at: float) -> int:
    return int(at // _HOUR) % DAY_HOURS


def _due_at(state: RepositoryState | None) -> float:
    return 0.0 if state is None else state.due_at
