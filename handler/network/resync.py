"""A round of the schedule: every configured repository, many at a time, within the time that there is.

What ends early goes on with the next repository at the next run; who keeps failing is looked at less and less often.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from handler.deadline import Deadline
from handler.errors import ConfigurationInvalid
from handler.exchange.schedule_state import RepositoryState, ScheduleState
from handler.model import Outcome, OutcomeKind, Repository
from handler.network.aws.parameters import Parameters
from handler.outcome import as_failure, outcome_of

IN_FLIGHT = 32
"""Repositories at a time: nearly all of it is waiting for the remote."""
FIRST_PAUSE_SECONDS = 300
LONGEST_PAUSE_SECONDS = 6 * 3600

Visit = Callable[[Repository], tuple[int, Sequence[Outcome]]]
"""Look after a repository: how many refs were behind, and what came of it. Raises Git2EfsError, OSError."""
Report = Callable[[Outcome], None]


@dataclass(slots=True)
class ResyncReport:
    """What a round has done so far."""

    looked_at: int = 0
    behind: int = 0
    failing: int = 0
    resting: int = 0
    left: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Resync:
    """Makes one round. `tell` gets every outcome that did something, or failed."""

    parameters: Parameters
    visit: Visit
    report: Report
    state: ScheduleState
    deadline: Deadline
    clock: Callable[[], float] = time.time
    in_flight: int = IN_FLIGHT
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _report: ResyncReport = field(default_factory=ResyncReport)

    def run(self) -> ResyncReport:
        """Go round. Raises ParametersUnavailable, ConfigurationInvalid where the repositories cannot be listed."""
        listed = list(self.parameters.repositories())
        self._forget_others({name for name, _ in listed})
        ordered = _from(listed, self.state.stopped_at)
        names = [name for name, _ in ordered]
        with ThreadPoolExecutor(self.in_flight, thread_name_prefix="round") as pool:
            done = list(pool.map(lambda each: self._one(*each), ordered))
        left = [name for name, is_done in zip(names, done, strict=True) if not is_done]
        self._report.left = len(left)
        self.state.stopped_at = left[0] if left else None
        # Those that rest too: an alarm must not fall silent because somebody is left in peace.
        self._report.failing = sum(entry.failures > 0 for entry in self.state.repositories.values())
        return self._report

    def oldest_seconds(self) -> float | None:
        """Return the age of the oldest confirmation, None without any repository."""
        now = self.clock()
        return max((now - entry.confirmed_at for entry in self.state.repositories.values()), default=None)

    def _forget_others(self, names: set[str]) -> None:
        for name in self.state.repositories.keys() - names:
            del self.state.repositories[name]
            self.state.resume_at.pop(name, None)

    def _one(self, name: str, found: Repository | ConfigurationInvalid) -> bool:
        """Look after one repository; returns whether it had its turn."""
        now = self.clock()
        if self.deadline.is_past():
            return False
        entry = self.state.repositories.setdefault(name, RepositoryState(now))
        if now < entry.not_before:
            with self._lock:
                self._report.resting += 1
            return True
        behind, outcomes = self._visited(name, found)
        is_failed = any(outcome.kind is OutcomeKind.FAILED for outcome in outcomes)
        is_sent = any(outcome.kind is OutcomeKind.ACCEPTED for outcome in outcomes)
        if is_failed:
            entry.failures += 1
            pause = min(FIRST_PAUSE_SECONDS * 2 ** min(entry.failures - 1, 20), LONGEST_PAUSE_SECONDS)
            # Half a minute sooner: else a timer of the same period would come a moment before it, and skip a turn.
            entry.not_before = now + pause - 30
        else:
            entry.failures, entry.not_before = 0, 0.0
            if not is_sent:
                entry.confirmed_at = now
        with self._lock:
            self._report.looked_at += 1
            self._report.behind += behind
            for outcome in outcomes:
                key = f"{outcome.kind}:{outcome.reason}"
                self._report.outcomes[key] = self._report.outcomes.get(key, 0) + 1
        for outcome in outcomes:
            self.report(outcome)
        return True

    def _visited(self, name: str, found: Repository | ConfigurationInvalid) -> tuple[int, Sequence[Outcome]]:
        try:
            if isinstance(found, ConfigurationInvalid):
                raise found
            return self.visit(found)
        except Exception as error:  # whatever it is: this repository fails with it, the others do not
            return 0, (replace(outcome_of(as_failure(error)), repository=name),)


def _from(
    listed: Iterable[tuple[str, Repository | ConfigurationInvalid]], start: str | None
) -> list[tuple[str, Repository | ConfigurationInvalid]]:
    """Return them by name, beginning with `start`, or with what comes after it."""
    ordered = sorted(listed, key=lambda each: each[0])
    if start is None:
        return ordered
    return [each for each in ordered if each[0] >= start] + [each for each in ordered if each[0] < start]
