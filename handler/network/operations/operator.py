"""Carries out an operator's commands on one stack; the content that it returns is what programs get."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import OutOfTime, Rejected, TargetUnknown
from handler.exchange.drift import RepositoryDrift, TargetDrift
from handler.exchange.trigger import Trigger
from handler.model import Outcome, OutcomeKind, Repository
from handler.mount.git.store_pool import StorePool
from handler.mount.maintenance.state import read_state
from handler.mount.operations.rollback import Rollback
from handler.mount.operations.status import Listed, RepositoryStatus, Status, on_mount, sentence_of
from handler.mount.operations.targets import MountedTarget, find_target, targets_on_list
from handler.mount.operations.verify import Verifier
from handler.network.aws.eventbridge import make_emit
from handler.network.aws.parameters import Parameters
from handler.network.operations.command import Command
from handler.network.operations.doctor import Doctor, is_well
from handler.network.remote.client import HttpRemote
from handler.runtime import make_sides
from handler.settings import Settings

WELL, ATTENTION, REFUSED, FAILED = 0, 1, 2, 3
"""Exit codes: all well; something needs attention; what was asked cannot be, and nothing was done; failed."""
_LAST_LOOK_SECONDS = 60.0
"""So long before its end a run asks no further remote: one that hangs takes as long."""
MOST_TARGETS = 4000
"""So many targets a status tells: Lambda's answer ends at 6 MB."""

Content = dict[str, object]


class Operator:
    """What carries out commands, on a mount. `say` hears sentences on long work."""

    def __init__(
        self,
        settings: Settings,
        progress: Callable[[str, int, int], None],
        say: Callable[[str], None],
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Connects to nothing yet; `progress` and `warn` as for `Deliverer`."""
        self._settings = settings
        self._say = say
        self._clock = clock
        self._parameters = Parameters(settings)
        _, self._deliverer = make_sides(settings, progress=progress, warn=warn)
        self._mirrors = StorePool()
        self._turning = Rollback(settings, self._mirrors, make_emit(settings.event_bus, warn), clock)
        self.outcomes: list[Outcome] = []
        """What the last command did to targets, for the log."""

    def close(self) -> None:
        """Close what is kept open."""
        self._deliverer.close()
        self._mirrors.close()

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored tokens, without showing them."""
        return self._parameters.secret_problems()

    def run(self, command: Command, deadline: Deadline = NO_DEADLINE) -> Content:
        """Carry out a command; returns its content, `exit_code` in it.

        Ends by `deadline`. Raises Git2EfsError and OSError.
        """
        self.outcomes = []
        actions: Mapping[str, Callable[[Command, Deadline], Content]] = {
            "status": self._status,
            "publish": self._publish,
            "rollback": self._roll_back,
            "hold": self._hold,
            "resume": self._resume,
            "verify": self._verify,
            "doctor": self._doctor,
        }
        return {"action": command.action, **actions[command.action](command, deadline)}

    # -- looking -----------------------------------------------------------------------------------------------------

    def _status(self, command: Command, deadline: Deadline) -> Content:
        problems: list[str] = []
        listed = self._listed(command.subject)
        survey = None if command.is_offline else self._survey
        status = Status(self._settings, self._clock, survey, deadline.minus(_LAST_LOOK_SECONDS))
        self._say("looking at the targets" + ("" if command.is_offline else ", and asking the remotes"))
        found = status.look(listed, read_state(self._settings.mount, "reconcile"))
        left_out = _cut(found)
        if left_out:
            problems.append(f"{left_out} more targets are not shown: name a repository")
        if command.counts_disk:
            try:
                status.count(found, self._counting(deadline))
            except OutOfTime as error:
                problems.append(str(error))
        exit_code = WELL if not problems and all(each.is_well for each in found) else ATTENTION
        repositories = [each.content() for each in found]
        return {"exit_code": exit_code, "at": self._clock(), "repositories": repositories, "problems": problems}

    def _listed(self, subject: str | None) -> list[Listed]:
        if subject is not None:
            return [(subject, self._parameters.repository(subject))]
        listed: dict[str, Listed] = {name: (name, each) for name, each in self._parameters.repositories()}
        return [listed.get(name, (name, None)) for name in sorted({*listed, *on_mount(self._settings.mount)})]

    def _survey(self, repository: Repository) -> Sequence[TargetDrift]:
        return self._drift(repository).targets

    def _drift(self, repository: Repository) -> RepositoryDrift:
        return self._deliverer.drift(repository, self._parameters.token_of(repository))

    def _remote(self, repository: Repository) -> HttpRemote:
        return self._deliverer.remote(repository, self._parameters.token_of(repository))

    def _counting(self, deadline: Deadline) -> Callable[[int], None]:
        said_at = self._clock()

        def pulse(files: int) -> None:
            nonlocal said_at
            now = self._clock()
            deadline.check("the disk was not counted to its end: ask with no_disk, or name a repository")
            if now - said_at >= 2:
                said_at = now
                self._say(f"counted {files} files")

        return pulse

    def _verify(self, command: Command, deadline: Deadline) -> Content:
        looking = Verifier(self._settings, self._mirrors, self._clock, self._say)
        if command.subject is not None:
            targets: Sequence[MountedTarget] = find_target(self._settings.mount, command.subject, self._clock)
        else:
            targets = [each for name in on_mount(self._settings.mount) for each in self._targets_of(name)]
        done = [looking.verify(each, is_repairing=command.is_repairing, deadline=deadline) for each in targets]
        if command.is_repairing:
            self.outcomes = done
        return self._told(done, shows_notes=True)

    def _targets_of(self, full_name: str) -> tuple[MountedTarget, ...]:
        return targets_on_list(self._settings.mount, full_name, self._clock)

    def _doctor(self, command: Command, deadline: Deadline) -> Content:
        doctor = Doctor(
            self._settings, self._parameters, self._remote, self._clock, self._say, deadline.minus(_LAST_LOOK_SECONDS)
        )
        checks = list(doctor.checks(command.subject))
        return {"exit_code": WELL if is_well(checks) else ATTENTION, "checks": [asdict(each) for each in checks]}

    # -- doing -------------------------------------------------------------------------------------------------------

    def _publish(self, command: Command, deadline: Deadline) -> Content:
        assert command.subject is not None
        repository = self._parameters.repository(command.subject)
        if command.ref is not None:
            refs = [command.ref]
        else:
            survey = self._drift(repository)
            refs = list(dict.fromkeys((*(each.ref for each in survey.targets if each.commit), *survey.behind)))
        return self._delivered(repository, refs, deadline)

    def _delivered(self, repository: Repository, refs: Sequence[str], deadline: Deadline) -> Content:
        done: list[Outcome] = []
        for ref in refs:
            self._say(f"publishing {ref} of {repository.full_name}")
            request = Trigger(ref=ref, push=None, delivery="", received_at=self._clock(), deadline=deadline)
            done += self._deliverer.deliver(repository, self._parameters.token_of(repository), request)
        self.outcomes = done
        return self._told(done)

    def _roll_back(self, command: Command, deadline: Deadline) -> Content:
        targets = self._found(command)
        if len(targets) > 1:
            paths = ", ".join(each.path for each in targets)
            raise TargetUnknown(f"{command.subject} has several targets: name one of {paths}")
        self.outcomes = [self._turning.roll_back(targets[0], command.to, command.by, command.why, deadline)]
        return self._told(self.outcomes)

    def _hold(self, command: Command, deadline: Deadline) -> Content:
        targets = self._found(command)
        self.outcomes = [self._turning.hold(each, command.by, command.why, deadline) for each in targets]
        return self._told(self.outcomes)

    def _resume(self, command: Command, deadline: Deadline) -> Content:
        targets = self._found(command)
        # First, so that a wrong parameter leaves the hold where it is.
        repository = self._parameters.repository(targets[0].repository)
        refs = [self._turning.let_go(each, deadline) for each in targets]
        return self._delivered(repository, list(dict.fromkeys(refs)), deadline)

    def _found(self, command: Command) -> tuple[MountedTarget, ...]:
        assert command.subject is not None
        return find_target(self._settings.mount, command.subject, self._clock)

    def _told(self, outcomes: Sequence[Outcome], *, shows_notes: bool = False) -> Content:
        return {
            "exit_code": max((_exit_code(each) for each in outcomes), default=WELL),
            "targets": [_content(each, shows_notes=shows_notes) for each in outcomes],
        }


def _exit_code(outcome: Outcome) -> int:
    if outcome.kind is OutcomeKind.FAILED:
        return FAILED
    is_well = outcome.kind is not OutcomeKind.IGNORED and outcome.reason not in ("drifted", "set_aside")
    return WELL if is_well else ATTENTION


def _content(outcome: Outcome, *, shows_notes: bool) -> Content:
    counts = {name: value for name, value in asdict(outcome.counts).items() if value}
    return {
        "repository": outcome.repository,
        "path": outcome.path,
        "ref": outcome.ref,
        "outcome": str(outcome.kind),
        "reason": outcome.reason,
        "commit": outcome.commit,
        "previous_commit": outcome.previous_commit,
        **counts,
        **({"detail": outcome.detail} if outcome.detail else {}),
        **({"notes": list(outcome.notes)} if shows_notes and outcome.notes else {}),
    }


def _cut(found: Sequence[RepositoryStatus]) -> int:
    """Leave MOST_TARGETS targets; returns how many were left out."""
    room, left_out = MOST_TARGETS, 0
    for each in found:
        left_out += max(0, len(each.targets) - room)
        del each.targets[room:]
        room -= len(each.targets)
    return left_out


def content_of_failure(action: str | None, error: Exception) -> Content:
    """Return the content of a command that came to nothing."""
    reason, _, detail = sentence_of(error).partition(": ")
    exit_code = REFUSED if isinstance(error, Rejected) else FAILED
    return {"action": action, "exit_code": exit_code, "reason": reason, "detail": detail}
