"""What the schedule remembers from one run to the next. Pure: no I/O, no clock. Times are seconds since the epoch."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class RepositoryState:
    """What the schedule knows of one repository.

    `confirmed_at` is when all its targets were last seen to be what the remote says, or the first time that the
    schedule looked at it. After `failures` in a row the schedule leaves it alone until `not_before`.
    """

    confirmed_at: float
    failures: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class ScheduleState:
    """The state of one task.

    `stopped_at` names the first repository that a run which ended early did not reach; None if it reached all.
    `resume_at` is the cursor at which maintenance of a repository goes on.
    """

    repositories: dict[str, RepositoryState] = field(default_factory=dict)
    stopped_at: str | None = None
    resume_at: dict[str, str] = field(default_factory=dict)
