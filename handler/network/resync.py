"""One run of the schedule over every configured repository, many at a time, until the deadline.

A run that ends early lets the next one start with the repository that it did not reach. A repository that keeps failing
is visited less and less often, and one in which nothing happens is asked seldom (`pace`).
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from handler.deadline import Deadline
from handler.errors import ConfigurationInvalid
from handler.exchange.schedule_state import LONGEST_PAUSE_SECONDS, BackOff, RepositoryState, ScheduleState
from handler.model import Outcome, OutcomeKind, Repository
from handler.network import pace
from handler.network.aws.parameters import Parameters
from handler.outcome import as_failure, outcome_of

IN_FLIGHT = 32
"""Repositories that are visited at a time: nearly all the time goes into waiting for the remote."""
FIRST_PAUSE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Visited:
    """What came of one repository: the outcomes, how many refs were behind, and how many targets are held.

    `gone` are refs that the remote has no more, and that are published still. `tips` is a digest of what the remote's
    refs name; None where it was not asked.
    """

    outcomes: Sequence[Outcome]
    behind: int = 0
    held: int = 0
    gone: frozenset[str] = frozenset()
    tips: str | None = None


Visit = Callable[[Repository, RepositoryState], Visited]
"""Do a repository's task, but for refs that rest. May raise."""
Report = Callable[[Outcome], None]

_Listed = tuple[str, Repository | ConfigurationInvalid]


@dataclass(slots=True, kw_only=True)
class ResyncReport:
    """What a run has done so far. The names are fields of the schedule's log line and answer."""

    looked_at: int = 0
    behind: int = 0
    failing: int = 0
    resting: int = 0
    left: int = 0
    held: int = 0
    not_due: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Resync:
    """Makes one run. `report` is called with every outcome, by any thread; `state` is brought up to date.

    `published` returns the repositories that were ever published; it is called where an owner has a rule. No repository
    is left out for longer than `longest_pause_seconds`; with 0 each is visited in every run.
    """

    parameters: Parameters
    published: Callable[[], Iterable[str]]
    visit: Visit
    report: Report
    state: ScheduleState
    deadline: Deadline
    clock: Callable[[], float] = time.time
    longest_pause_seconds: float = 0.0
    in_flight: int = IN_FLIGHT
    _lost: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _totals: ResyncReport = field(default_factory=ResyncReport)

    def run(self) -> ResyncReport:
        """Visit all repositories. Raises ParametersUnavailable and ConfigurationInvalid where they cannot be listed."""
        listed = list(self.parameters.repositories(self.published))
        self._forget_others(dict(listed))
        ordered = _rotated(listed, self.state.stopped_at)
        chosen, others = self._split(ordered)
        left = self._visit_all(chosen)
        if others and not left and pace.are_many_lost(self._lost, self._totals.looked_at):
            # Deliveries do not arrive: whoever's turn it is not may have lost one as well.
            left, others = self._visit_all(others), []
        self._totals.not_due = len(others)
        self._totals.left = len(left)
        self.state.stopped_at = left[0] if left else None
        # Also those that are not visited for now: an alarm must not stop because of that.
        self._totals.failing = sum(state.is_failing for state in self.state.repositories.values())
        return self._totals

    def _split(self, ordered: list[_Listed]) -> tuple[list[_Listed], list[_Listed]]:
        """Return the repositories to visit, and those whose turn it is not."""
        if not self.longest_pause_seconds:
            return ordered, []
        chosen = set(pace.due((name for name, _ in ordered), self.state, self.clock()))
        return [each for each in ordered if each[0] in chosen], [each for each in ordered if each[0] not in chosen]

    def _visit_all(self, chosen: list[_Listed]) -> list[str]:
        """Visit the repositories; return the names of those that there was no time for."""
        with ThreadPoolExecutor(self.in_flight, thread_name_prefix="resync") as pool:
            reached = list(pool.map(lambda each: self._visit_repository(*each), chosen))
        return [name for (name, _), is_reached in zip(chosen, reached, strict=True) if not is_reached]

    def oldest_seconds(self) -> float | None:
        """Return the age of the oldest successful check of any repository; None without any repository.

        The time until a repository's turn comes does not count: only what should have been checked is late.
        """
        now = self.clock()
        states = self.state.repositories.values()
        return max((max(0.0, now - max(each.confirmed_at, each.due_at)) for each in states), default=None)

    def _forget_others(self, listed: Mapping[str, object]) -> None:
        for name in self.state.repositories.keys() - listed.keys():
            # While an owner's rule cannot be read, nobody can tell whether it is the rule of this one.
            if isinstance(listed.get(name.partition("/")[0]), ConfigurationInvalid):
                continue
            del self.state.repositories[name]
            self.state.resume_at.pop(name, None)

    def _visit_repository(self, name: str, found: Repository | ConfigurationInvalid) -> bool:
        """Visit one repository, unless it rests after failures; return False where no time was left."""
        now = self.clock()
        if self.deadline.is_past():
            return False
        state = self.state.repositories.setdefault(name, RepositoryState(confirmed_at=now))
        if now < state.not_before:
            with self._lock:
                self._totals.resting += 1
            return True
        # What fails is late from now on, however far its next turn was.
        state.due_at, asked_before = 0.0, state.answered_at
        done = self._visit_or_fail(name, found, state)
        _update(state, done, now)
        if done.tips is not None and self.longest_pause_seconds:
            self._set_turn(state, done, asked_before, now)
        self._count(done)
        for outcome in done.outcomes:
            self.report(outcome)
        return True

    def _visit_or_fail(self, name: str, found: Repository | ConfigurationInvalid, state: RepositoryState) -> "Visited":
        try:
            if isinstance(found, ConfigurationInvalid):
                raise found
            return self.visit(found, state)
        except Exception as error:  # also a defect: this repository fails with it, the others do not
            return Visited((replace(outcome_of(as_failure(error)), repository=name),))

    def _set_turn(self, state: RepositoryState, done: Visited, asked_before: float, now: float) -> None:
        """Say when it is the repository's turn again, by what its remote named before and names now."""
        is_pushed = state.tips not in ("", done.tips)
        is_lost = is_pushed and done.behind > len(done.gone)
        with self._lock:
            self._lost += is_lost
            if is_pushed:
                self.state.hours = pace.with_push(self.state.hours, asked_before, now)
            hours = self.state.hours
        pushes = pace.LOST_PUSHES if is_lost else float(is_pushed)
        state.pushes, state.tips = pace.with_pushes(state.pushes, pushes, now - asked_before), done.tips or ""
        state.asked_at = 0.0 if state.confirmed_at == now else now
        # What is not in order is looked at again in the next run, which obeys the back-off of each of its refs.
        if not done.behind and state.confirmed_at == now:
            state.due_at = float(round(pace.next_turn(state, hours, now, longest_seconds=self.longest_pause_seconds)))

    def _count(self, done: "Visited") -> None:
        with self._lock:
            self._totals.looked_at += 1
            self._totals.behind += done.behind
            self._totals.held += done.held
            for outcome in done.outcomes:
                key = f"{outcome.kind}:{outcome.reason}"
                self._totals.outcomes[key] = self._totals.outcomes.get(key, 0) + 1


def _update(state: RepositoryState, done: Visited, now: float) -> None:
    """Note a visit in the repository's state; `now` is when it began."""
    outcomes = done.outcomes
    failed = [outcome.ref for outcome in outcomes if outcome.kind is OutcomeKind.FAILED]
    queued = [outcome.ref for outcome in outcomes if outcome.kind is OutcomeKind.ACCEPTED]
    for ref in {outcome.ref for outcome in outcomes if outcome.ref is not None}:
        # What is to be retired is behind until its grace is over, and fails nobody.
        if ref in failed or (ref in queued and ref in state.refs and ref not in done.gone):
            # A worker does not say how it ended. A ref that was left to one and is behind still was not published: its
            # message is among the dead letters, most likely, and each run would put one more there.
            back_off = state.refs.setdefault(ref, BackOff())
            back_off.fail(now, first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)
        elif ref in queued and ref not in done.gone:
            state.refs[ref] = BackOff()
            state.refs[ref].rest(now, first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)
        else:
            state.refs.pop(ref, None)
    if None in failed:
        state.fail(now, first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS)
        return
    state.failures, state.not_before = 0, 0.0
    # A queued push is not published yet: a later run confirms it.
    if not state.refs and not any(outcome.kind is OutcomeKind.ACCEPTED for outcome in outcomes):
        state.confirmed_at = now


def _rotated(listed: Iterable[_Listed], start: str | None) -> list[_Listed]:
    """Return the repositories sorted by name, rotated so that they begin at `start`."""
    ordered = sorted(listed, key=lambda each: each[0])
    if start is None:
        return ordered
    return [each for each in ordered if each[0] >= start] + [each for each in ordered if each[0] < start]
