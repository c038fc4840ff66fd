"""The mount side as the network side sees it: requests, answers, and who answers them. Pure: no I/O, no clock.

Neither side imports the other. The network side knows this protocol alone: behind it is the mount side in the same
process, or a function that is invoked (`exchange.messages` is how the values travel then). All values are frozen and
plain. Times are seconds since the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from handler.deadline import NO_DEADLINE, Deadline
from handler.exchange.answers import Answers, Failure, Need
from handler.exchange.drift import RepositoryDrift
from handler.exchange.events import PendingEvent
from handler.exchange.operations import Operations
from handler.exchange.remote import RemoteRefs
from handler.exchange.schedule_state import ScheduleState
from handler.model import Counts, Outcome, PushEvent, Repository, Target

MAX_MESSAGE_BYTES = 6 * 1000 * 1000
"""Lambda takes and answers 6 MB in a synchronous invocation; a little less, since it counts its own envelope too."""
MAX_PACK_BYTES = 4 * 1000 * 1000
"""The packs of one request together, before base64 makes them a third longer; a larger one goes ahead in parts."""
PART_BYTES = 4 * 1000 * 1000
"""A part of a large pack, before base64."""
MAX_SURVEYED = 200
"""Repositories in one survey."""
MAX_ROUNDS = 8
"""How often one run is asked for at most, each time with more answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """Make the target's `current` equal the tip of its ref, by these answers of the remote.

    `push` is None for a timer or an operator. `delivery` is the id that correlates log lines, `received_at` is when the
    request came. The repository's `url` is only given for a working copy, its credentials never.
    """

    repository: Repository
    target: Target
    push: PushEvent | None
    delivery: str
    received_at: float
    answers: Answers = field(default_factory=Answers)
    deadline: Deadline = NO_DEADLINE
    makes_spares: bool = False
    """Whether `make_spares` is called afterwards, so that what the run leaves over need not be removed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishAnswer:
    """How the run ended, or what it needs to know before it does anything; and events that are to be put on the bus."""

    outcome: Outcome | None = None
    need: Need | None = None
    events: tuple[PendingEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class SurveyItem:
    """A repository, and what its remote's refs name."""

    repository: Repository
    refs: RemoteRefs


@dataclass(frozen=True, slots=True)
class SurveyFinding:
    """Which targets of a repository are behind, or why that cannot be told."""

    drift: RepositoryDrift | None = None
    failed: Failure | None = None


@dataclass(frozen=True, slots=True)
class MaintenanceResult:
    """The outcomes of maintenance: one for each target that was finished, in the order of the registry.

    `resume_at` is None when all is done. Otherwise the deadline was reached, and it is the cursor for the next call.
    """

    outcomes: tuple[Outcome, ...]
    resume_at: str | None = None


class Publisher(Protocol):
    """Publishes to one mount. Safe for threads.

    Every method raises the mount's failures as Git2EfsError, and PublisherUnavailable and PublisherRefused where the
    mount side is a function that does not answer; unless it says that it raises nothing else.
    """

    def publish(self, request: PublishRequest) -> PublishAnswer:
        """Reconcile a target. A failure on the mount is the outcome, with the commit that readers have meanwhile."""
        ...

    def receive(self, repository: str, *, transfer: str, offset: int, content: bytes) -> int:
        """Write the next part of a large pack, at 0 the first; return the size of what came so far.

        `transfer` is 32 hex digits, drawn by the network side; it names the pack until a run takes it.

        Raises Malformed where the parts do not come in order, and PackTooLarge.
        """
        ...

    def announced(self, event: PendingEvent) -> Outcome | None:
        """Note that the bus took the event. Returns the outcome of what waited for that: a retirement."""
        ...

    def look(self, repository: str, target: Target) -> Outcome:
        """Return an outcome that says only which commit readers have, and how long ago that was last confirmed."""
        ...

    def make_spares(self, repository: Repository, target: Target, *, deadline: Deadline) -> Counts:
        """Make the complete trees that the target's next pushes will need, and remove what is left over.

        It ends early where another run works on the repository, or waits for it. A mount side that is a function does
        it without being waited for, and nothing is known of what it did. Returns what was written and removed.
        """
        ...

    def survey(self, items: Sequence[SurveyItem]) -> tuple[SurveyFinding, ...]:
        """Return which targets are behind what the remotes just answered, for each of at most MAX_SURVEYED items."""
        ...

    def published_refs(self, repository: str) -> tuple[str, ...]:
        """Return the refs of all targets of a repository that are published now."""
        ...

    def maintain(
        self, repository: Repository, *, deadline: Deadline, resume_at: str | None = None
    ) -> MaintenanceResult:
        """Do the daily maintenance of all the repository's targets. A failure on the mount is an outcome."""
        ...

    def take_lease(self, task: str, *, run: str, until: float) -> ScheduleState:
        """Lease one of the schedule's tasks to `run`, until then (seconds since the epoch); return the task's state.

        The run may renew its own lease. Raises LockTimeout while another run has it.
        """
        ...

    def end_lease(self, task: str, *, run: str, state: ScheduleState | None) -> None:
        """Write the task's state (None: leave it as it was), and release the lease.

        Does nothing where another run has the lease meanwhile.
        """
        ...

    @property
    def is_remote(self) -> bool:
        """Whether each call goes over the network."""
        ...

    def is_warm(self) -> bool:
        """Whether the next call is answered at once; else a `look` before it wakes the mount side."""
        ...

    @property
    def operations(self) -> Operations:
        """What an operator's commands ask of the mount."""
        ...

    def close(self) -> None:
        """Close what is kept open."""
        ...
