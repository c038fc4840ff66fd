"""The mount side as the network side sees it. Pure: no I/O, no clock.

Neither side imports the other. An entry point makes the mount side (`handler.publisher`) and hands it to the network
side, which only knows this protocol.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from handler.deadline import Deadline
from handler.errors import Git2EfsError
from handler.exchange.drift import RepositoryDrift
from handler.exchange.operations import Operations
from handler.exchange.remote import Remote, RemoteRefs
from handler.exchange.schedule_state import ScheduleState
from handler.exchange.trigger import Trigger
from handler.model import Outcome, Repository, Target


@dataclass(frozen=True, slots=True)
class MaintenanceResult:
    """The outcomes of maintenance: one for each target that was finished, in the order of the registry.

    `resume_at` is None when all is done. Otherwise the deadline was reached, and it is the cursor for the next call.
    """

    outcomes: tuple[Outcome, ...]
    resume_at: str | None = None


class Publisher(Protocol):
    """Publishes to one mount. Safe for threads."""

    def reconcile(
        self,
        repository: Repository,
        target: Target,
        remote: Remote,
        trigger: Trigger,
        begin: Callable[[str], None],
    ) -> Outcome:
        """Make the target's `current` equal the tip of its ref.

        `begin` is called with the commit before it is published. Raises no Exception: a failure is the outcome, with
        the commit that readers have meanwhile.
        """
        ...

    def drift(self, repository: Repository, refs: RemoteRefs) -> RepositoryDrift:
        """Return which targets are behind `refs`, which the remote just answered.

        Raises ConfigurationInvalid, and the mount's failures as Git2EfsError.
        """
        ...

    def published_refs(self, repository: Repository) -> tuple[str, ...]:
        """Return the refs of all targets that are published now. Raises the mount's failures as Git2EfsError."""
        ...

    def maintain(
        self, repository: Repository, *, deadline: Deadline, resume_at: str | None = None
    ) -> MaintenanceResult:
        """Do the daily maintenance of all the repository's targets. Raises no Exception: a failure is an outcome."""
        ...

    def failed(self, repository: Repository, target: Target, error: Git2EfsError) -> Outcome:
        """Return the outcome of a failure, with what readers of the target have meanwhile. Raises no Exception."""
        ...

    def schedule_state(self, task: str) -> AbstractContextManager[ScheduleState]:
        """Read and lock the state of one of the schedule's tasks; write it at the end of a block that raised nothing.

        Raises LockTimeout where another run has the same task, and the mount's failures as Git2EfsError.
        """
        ...

    @property
    def operations(self) -> Operations:
        """What an operator's commands ask of the mount."""
        ...

    def close(self) -> None:
        """Close what is kept open."""
        ...
