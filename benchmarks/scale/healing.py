"""Lost webhooks, and how long it takes until the schedule finds them: days of pushes, asked by turns. Pure.

A delivery that arrives publishes every push before it too. The others wait for the schedule, or for the repository's
next delivery. The turns are `handler.network.pace`'s own; no remote fails.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.scale.model import Stack, Times
from benchmarks.scale.schedule import Pass, pass_of
from benchmarks.scale.trace import DAY_SECONDS, Profile, Push, make_trace
from handler.exchange.schedule_state import RepositoryState, ScheduleState
from handler.network import pace

DAYS, LEARNING_DAYS = 4, 2
"""The schedule learns for the first days; the others count."""

IsLost = Callable[[Push], bool]


@dataclass(slots=True)
class Healing:
    """What the days came to. `waits` are seconds from a lost push until it was found, sorted."""

    asks: int = 0
    asks_in_every_run: int = 0
    waits: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """How often the remote was asked; 1 is every repository in every run."""
        return self.asks / self.asks_in_every_run

    @property
    def asks_per_second(self) -> float:
        """Requests to the remote a second, on average."""
        return self.asks / ((DAYS - LEARNING_DAYS) * DAY_SECONDS)

    @property
    def mean(self) -> float:
        """Seconds until a lost push was found, on average."""
        return sum(self.waits) / len(self.waits)

    def wait(self, part: float) -> float:
        """Return the wait that `part` of the lost pushes did not exceed; 1 gives the longest."""
        return self.waits[min(len(self.waits) - 1, int(part * len(self.waits)))]


def at_random(share: float, seed: int) -> IsLost:
    """Return what loses this share of all deliveries, one as well as another."""
    random = Random(f"lost {seed}")
    return lambda push: random.random() < share


def of_repositories(share: float, repositories: int, seed: int) -> IsLost:
    """Return what loses every delivery of this share of the repositories: their webhooks are broken, or not there."""
    broken = set(Random(f"broken {seed}").sample(range(repositories), int(share * repositories)))
    return lambda push: push.repository in broken


def between(start: float, end: float) -> IsLost:
    """Return what loses every delivery between two times: the webhook cannot be reached."""
    return lambda push: start <= push.at < end


def make_pushes(profile: Profile, seed: int) -> list[Push]:
    """Return the pushes of DAYS working days in their order."""
    return [
        Push(day * DAY_SECONDS + push.at, push.repository, push.files)
        for day in range(DAYS)
        for push in make_trace(profile, seed + day)
    ]


class Simulation:
    """One stack's schedule over DAYS days; the same arguments give the same result."""

    def __init__(self, tour: Pass, pushes: Sequence[Push], is_lost: IsLost, longest_pause_seconds: float) -> None:
        """`tour` is the pass over all repositories; `longest_pause_seconds` as in the settings, but not 0."""
        self._pass = tour
        self._longest = longest_pause_seconds
        self._pushes: dict[str, list[tuple[float, bool]]] = {f"octo/r{each}": [] for each in range(tour.repositories)}
        # Asked in their order, so that the same ones are lost whatever the schedule does.
        lost = [is_lost(push) for push in pushes]
        for push, is_lost_one in zip(reversed(pushes), reversed(lost), strict=True):
            self._pushes[f"octo/r{push.repository}"].append((push.at, is_lost_one))
        self._waiting: dict[str, list[float]] = {name: [] for name in self._pushes}
        self._tips = dict.fromkeys(self._pushes, 0)
        self._state = ScheduleState({name: RepositoryState() for name in self._pushes})
        self.result = Healing()

    def run(self) -> Healing:
        """Make every run of the days."""
        period, names = self._pass.period_seconds, list(self._pushes)
        for number in range(int(DAYS * DAY_SECONDS / period)):
            start = number * period
            chosen = pace.due(names, self._state, start)
            lost = self._visit_all(chosen, start)
            if len(chosen) < len(names) and pace.are_many_lost(lost, len(chosen)):
                asked = set(chosen)
                self._visit_all([name for name in names if name not in asked], start)
        self.result.waits.sort()
        return self.result

    def _visit_all(self, names: Sequence[str], start: float) -> int:
        """Visit the repositories, one after the other; return in how many of them a push was lost."""
        begin, each = start + self._pass.listing_seconds, self._pass.asking_seconds / self._pass.repositories
        lost = sum(self._visit(name, begin + each * number) for number, name in enumerate(names))
        if start >= LEARNING_DAYS * DAY_SECONDS:
            self.result.asks += len(names)
        return lost

    def _visit(self, name: str, now: float) -> bool:
        """Ask for a repository's refs at that time; return whether a push was found that no delivery had brought."""
        state, before = self._state.repositories[name], self._tips[name]
        is_lost = self._is_behind(name, now)
        is_pushed = bool(state.tips) and self._tips[name] != before
        if is_pushed:
            self._state.hours = pace.with_push(self._state.hours, state.confirmed_at, now)
        pushes = pace.LOST_PUSHES if is_lost else float(is_pushed)
        state.pushes = pace.with_pushes(state.pushes, pushes, now - state.confirmed_at)
        state.confirmed_at, state.tips = now, "known"
        turn = pace.next_turn(state, self._state.hours, now, longest_seconds=self._longest)
        state.due_at = 0.0 if is_lost else turn
        return is_lost

    def _is_behind(self, name: str, now: float) -> bool:
        """Let the pushes until that time happen; return whether one of them is found now."""
        pushes, waiting = self._pushes[name], self._waiting[name]
        while pushes and pushes[-1][0] <= now:
            at, is_lost = pushes.pop()
            self._tips[name] += 1
            if is_lost:
                waiting.append(at)
            else:
                self._found(waiting, at + Times().webhook)
        is_behind = bool(waiting)
        self._found(waiting, now)
        return is_behind

    def _found(self, waiting: list[float], now: float) -> None:
        self.result.waits += [now - at for at in waiting if at >= LEARNING_DAYS * DAY_SECONDS]
        waiting.clear()


def heal(profile: Profile, pushes: Sequence[Push], is_lost: IsLost, longest_pause_seconds: float) -> Healing:
    """Return what the profile's days come to."""
    tour = pass_of(profile.repositories, Stack(), Times())
    found = Simulation(tour, pushes, is_lost, longest_pause_seconds).run() if longest_pause_seconds else Healing()
    found.asks_in_every_run = int((DAYS - LEARNING_DAYS) * DAY_SECONDS / tour.period_seconds) * profile.repositories
    if not longest_pause_seconds:
        found.asks = found.asks_in_every_run
        found.waits = sorted(_waits_in_every_run(tour, pushes, is_lost))
    return found


def _waits_in_every_run(tour: Pass, pushes: Sequence[Push], is_lost: IsLost) -> Iterator[float]:
    """Yield the wait of each lost push, where each run asks every repository: it ends at the next visit or delivery."""
    lost = [is_lost(push) for push in pushes]
    delivered_at: dict[int, float] = {}
    for push, is_lost_one in zip(reversed(pushes), reversed(lost), strict=True):
        if not is_lost_one:
            delivered_at[push.repository] = push.at + Times().webhook
        elif push.at >= LEARNING_DAYS * DAY_SECONDS:
            found_at = tour.next_visit(push.at, push.repository)
            yield min(found_at, delivered_at.get(push.repository, found_at)) - push.at
