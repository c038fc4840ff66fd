"""What the schedule keeps from one run to the next. Pure: no I/O, no clock. Times are in seconds since the epoch."""

from dataclasses import dataclass, field

LONGEST_PAUSE_SECONDS = 6 * 3600
"""The longest that the schedule leaves alone what keeps failing."""
RECONCILE, CHORES = TASKS = ("reconcile", "chores")
"""The schedule's tasks, by the names in its event and in its state's file."""
DAY_HOURS = 24


@dataclass(slots=True)
class BackOff:
    """After `failures` in a row the schedule leaves it alone until `not_before`."""

    failures: int = 0
    not_before: float = 0.0

    def fail(self, now: float, *, first_seconds: float, longest_seconds: float) -> None:
        """Count a failure, and wait for twice as long as after the one before."""
        self.failures += 1
        self.rest(now, first_seconds=first_seconds, longest_seconds=longest_seconds)

    def rest(self, now: float, *, first_seconds: float, longest_seconds: float) -> None:
        """Wait for as long as after so many failures, and after the first one at least."""
        pause = min(first_seconds * 2 ** min(max(self.failures - 1, 0), 20), longest_seconds)
        # Half a minute less: otherwise a timer of the same period would run a moment too early, and skip it.
        self.not_before = now + pause - 30


@dataclass(slots=True)
class RepositoryState(BackOff):
    """The schedule's state of one repository.

    `confirmed_at` is when all its targets last matched the remote, at first when the schedule first visited it. The
    back-off is of failures of the whole repository. `refs` has those of single refs: one bad branch, which whoever may
    push can make, must not take the schedule away from its neighbours. One without failures was left to a worker, who
    may still publish it.

    The others say how often the remote is asked, by the reconcile task alone: `due_at` is when its turn comes, `tips`
    what it named when it last answered, as a digest, and `pushes` how many pushes there were of late. `asked_at` is
    when that was, if not all targets matched: thousands of these travel in one message.
    """

    confirmed_at: float = 0.0
    refs: dict[str, BackOff] = field(default_factory=dict)
    asked_at: float = 0.0
    due_at: float = 0.0
    pushes: float = 0.0
    tips: str = ""

    @property
    def answered_at(self) -> float:
        """When the remote last answered."""
        return max(self.asked_at, self.confirmed_at)

    @property
    def is_failing(self) -> bool:
        """Whether the last visit failed, or that of a ref did."""
        return self.failures > 0 or any(each.failures for each in self.refs.values())


@dataclass(slots=True)
class ScheduleState:
    """The state of one task.

    `stopped_at` names the first repository that the last run had no time for; None if it visited all. `resume_at` is,
    for each repository, the cursor at which its maintenance continues. `hours` are how many pushes each hour of the day
    had of late, in UTC; empty: nobody knows.
    """

    repositories: dict[str, RepositoryState] = field(default_factory=dict)
    stopped_at: str | None = None
    resume_at: dict[str, str] = field(default_factory=dict)
    hours: tuple[float, ...] = ()
