"""The mount half of the operator's commands, in this process. What the mount answers becomes a failure of ours here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from handler.deadline import Deadline
from handler.exchange.checks import Check
from handler.exchange.drift import TargetDrift
from handler.exchange.events import Emit, Event, pending
from handler.exchange.operations import MountedTarget, OperatorAnswer, RepositoryStatus, TargetStatus
from handler.exchange.schedule_state import ScheduleState
from handler.model import Outcome
from handler.mount.fs.errno_map import mount_errors
from handler.mount.git.mirror import StorePool
from handler.mount.maintenance.state import read_state
from handler.mount.operations.checks import mount_checks
from handler.mount.operations.rollback import Rollback
from handler.mount.operations.status import StatusReader
from handler.mount.operations.take_over import TakeOver
from handler.mount.operations.targets import find_targets, repositories_on
from handler.mount.operations.verify import Verifier
from handler.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOperations:
    """Carries out commands on one mount. Safe for threads.

    `emit_into(events)` returns what adds to a list of events; None: there is no bus. `say` hears in a sentence what a
    long command is at.
    """

    settings: Settings
    mirrors: StorePool
    emit_into: Callable[[list[Event]], Emit | None]
    clock: Callable[[], float]
    say: Callable[[str], None]

    def repositories(self) -> tuple[str, ...]:
        """See `Operations.repositories`."""
        with mount_errors():
            return tuple(repositories_on(self.settings.mount))

    def read_schedule_state(self, task: str) -> ScheduleState:
        """See `Operations.read_schedule_state`."""
        with mount_errors():
            return read_state(self.settings.mount, task, now=self.clock())

    def find_targets(self, name: str | None) -> tuple[MountedTarget, ...]:
        """See `Operations.find_targets`."""
        with mount_errors():
            return find_targets(self.settings.mount, name)

    def target_statuses(self, repository: str, drift: Sequence[TargetDrift] | None) -> tuple[TargetStatus, ...]:
        """See `Operations.target_statuses`."""
        with mount_errors():
            return self._status.targets(repository, drift)

    def count_disk(self, statuses: Sequence[RepositoryStatus], *, deadline: Deadline) -> tuple[RepositoryStatus, ...]:
        """See `Operations.count_disk`."""
        with mount_errors():
            return self._status.count_disk(statuses, deadline)

    def roll_back(
        self, target: MountedTarget, *, to: str | None, by: str, why: str, deadline: Deadline
    ) -> OperatorAnswer:
        """See `Operations.roll_back`."""
        events: list[Event] = []
        with mount_errors():
            outcome = self._rollback(events).roll_back(target, to=to, by=by, why=why, deadline=deadline)
        return OperatorAnswer(outcome, tuple(map(pending, events)))

    def hold(self, target: MountedTarget, *, by: str, why: str, deadline: Deadline) -> OperatorAnswer:
        """See `Operations.hold`."""
        events: list[Event] = []
        with mount_errors():
            outcome = self._rollback(events).hold(target, by=by, why=why, deadline=deadline)
        return OperatorAnswer(outcome, tuple(map(pending, events)))

    def end_hold(self, target: MountedTarget, *, deadline: Deadline) -> str:
        """See `Operations.end_hold`."""
        with mount_errors():
            return self._rollback([]).end_hold(target, deadline=deadline)

    def take_over(self, previous: str, *, repository: str, path: str | None, deadline: Deadline) -> tuple[Outcome, ...]:
        """See `Operations.take_over`."""
        with mount_errors():
            taking = TakeOver(self.settings, self.mirrors, self.clock)
            return taking.take_over(previous, repository=repository, path=path, deadline=deadline)

    def verify(self, target: MountedTarget, *, is_repairing: bool, deadline: Deadline) -> Outcome:
        """See `Operations.verify`."""
        verifier = Verifier(self.settings, self.mirrors, self.clock, self.say)
        return verifier.verify(target, is_repairing=is_repairing, deadline=deadline)

    def mount_checks(self) -> tuple[Check, ...]:
        """See `Operations.mount_checks`."""
        return mount_checks(self.settings.mount, self.clock)

    @property
    def _status(self) -> StatusReader:
        return StatusReader(self.settings, self.clock, self.say)

    def _rollback(self, events: list[Event]) -> Rollback:
        return Rollback(self.settings, self.mirrors, self.emit_into(events), self.clock)
