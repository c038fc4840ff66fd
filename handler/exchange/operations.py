"""What an operator's commands ask of the mount side, and the values that come back. Pure: no I/O, no clock.

All values are frozen and plain, so that they can travel as JSON. Times are seconds since the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from handler.deadline import Deadline
from handler.exchange.checks import Check
from handler.exchange.drift import TargetDrift
from handler.exchange.events import PendingEvent
from handler.exchange.schedule_state import ScheduleState
from handler.model import Outcome, Usage


class TargetState(StrEnum):
    """How a target compares with its ref; docs/operate.md explains each state to operators."""

    CURRENT = "current"
    PUBLISHED = "published"
    RETIRING = "retiring"
    BEHIND = "behind"
    HELD = "held"
    UNPUBLISHED = "unpublished"
    NO_REF = "no ref"
    LEFT_OVER = "left over"
    FAILED = "failed"


HEALTHY_STATES = frozenset({TargetState.CURRENT, TargetState.PUBLISHED, TargetState.RETIRING})
"""The states that need nobody's attention."""


@dataclass(frozen=True, slots=True)
class MountedTarget:
    """A target that is published on the mount: its path, and the repository that it is published from."""

    repository: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An operator holds the target at `commit` since `since` (seconds since the epoch); no push changes it.

    `left` are the commits that rollbacks left during the hold: the next rollback goes further back, not forth again.
    """

    since: float
    by: str = ""
    why: str = ""
    commit: str = ""
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStatus:
    """A release on the mount. `retired_at` is None for the current one; `usage` is None until it is counted.

    `is_intact` is False where somebody else changed the release.
    """

    commit: str
    is_current: bool
    is_intact: bool
    retired_at: float | None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """A target. `tip` is the commit that its ref names on the remote; None where the remote was not asked."""

    path: str
    state: TargetState
    ref: str | None = None
    commit: str | None = None
    since: float | None = None
    previous_commit: str | None = None
    confirmed_at: float | None = None
    tip: str | None = None
    held: Hold | None = None
    releases: tuple[ReleaseStatus, ...] = ()
    problems: tuple[str, ...] = ()
    published_from: str | None = None
    """Another repository, from which the target is published: the one that it is a status of cannot have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryStatus:
    """A repository, its targets, and what the schedule knows of it. `mirror` is None until it is counted."""

    repository: str
    targets: tuple[TargetStatus, ...] = ()
    confirmed_at: float | None = None
    failures: int = 0
    mirror: Usage | None = None
    problems: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing needs attention."""
        return not self.problems and all(each.state in HEALTHY_STATES and not each.problems for each in self.targets)


@dataclass(frozen=True, slots=True)
class OperatorAnswer:
    """The outcome of an operator's command, and the events that are to be put on the bus."""

    outcome: Outcome
    events: tuple[PendingEvent, ...] = ()


class Operations(Protocol):
    """An operator's commands on one mount. Safe for threads.

    Every method raises the mount's failures as Git2EfsError, unless it says that it raises nothing.
    """

    def repositories(self) -> tuple[str, ...]:
        """Return the full names of all repositories that have targets on the mount."""
        ...

    def read_schedule_state(self, task: str) -> ScheduleState:
        """Return the state that the last run of a task left, without holding it."""
        ...

    def find_targets(self, name: str | None) -> tuple[MountedTarget, ...]:
        """Return the target at the path `name`, or all targets of the repository `name`; None: all on the mount.

        Raises TargetUnknown where a name matches nothing.
        """
        ...

    def target_statuses(self, repository: str, drift: Sequence[TargetDrift] | None) -> tuple[TargetStatus, ...]:
        """Return the status of every target of a repository (`<owner>/<name>`), without its disk usage.

        `drift` is what `Publisher.drift` found; None where the remote was not asked, or did not answer. A target that
        cannot be read is `failed`.
        """
        ...

    def count_disk(self, statuses: Sequence[RepositoryStatus], *, deadline: Deadline) -> tuple[RepositoryStatus, ...]:
        """Return the statuses with the usage of each mirror and release. Raises OutOfTime at the deadline."""
        ...

    def roll_back(
        self, target: MountedTarget, *, to: str | None, by: str, why: str, deadline: Deadline
    ) -> OperatorAnswer:
        """Flip the target to the release `to` (a commit's first digits; None: the one before), and hold it there.

        Raises TargetUnknown, TargetOccupied, ReleaseUnusable, LockTimeout.
        """
        ...

    def hold(self, target: MountedTarget, *, by: str, why: str, deadline: Deadline) -> OperatorAnswer:
        """Hold the target where it is: pushes and the schedule leave it. Raises as `roll_back`."""
        ...

    def end_hold(self, target: MountedTarget, *, deadline: Deadline) -> str:
        """End the target's hold, if there is one; return the ref to publish now. Raises TargetUnknown, LockTimeout."""
        ...

    def take_over(self, previous: str, *, repository: str, path: str | None, deadline: Deadline) -> tuple[Outcome, ...]:
        """Make the target at `path` (None: all of them) that is published from `previous` the `repository`'s.

        Both are full names. Raises TargetUnknown, TargetOccupied, LockTimeout, OutOfTime.
        """
        ...

    def verify(self, target: MountedTarget, *, is_repairing: bool, deadline: Deadline) -> Outcome:
        """Compare every release of the target with its commit, and repair it if asked.

        Raises no Exception: a failure is the outcome.
        """
        ...

    def mount_checks(self) -> tuple[Check, ...]:
        """Return the doctor's checks of the mount. Raises no Exception."""
        ...
