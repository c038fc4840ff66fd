"""What the schedule keeps from one run to the next. Pure: no I/O, no clock. Times are in seconds since the epoch."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class RepositoryState:
    """The schedule's state of one repository.

    `confirmed_at` is when all its targets last matched the remote, at first when the schedule first visited it. After
    `failures` in a row the schedule does not visit it until `not_before`.
    """

    confirmed_at: float
    failures: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class ScheduleState:
    """The state of one task.

    `stopped_at` names the first repository that the last run had no time for; None if it visited all. `resume_at` is,
    for each repository, the cursor at which its maintenance continues.
    """

    repositories: dict[str, RepositoryState] = field(default_factory=dict)
    stopped_at: str | None = None
    resume_at: dict[str, str] = field(default_factory=dict)
