"""Carry out an operator's commands on one stack, and return their content: what programs get."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial

from handler.config.names import spelled_otherwise
from handler.config.targets import targets_of
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import (
    ConfigurationInvalid,
    Git2EfsError,
    OutOfTime,
    ParametersUnavailable,
    Rejected,
    RepositoryUnknown,
    TargetUnknown,
)
from handler.exchange.drift import RepositoryDrift
from handler.exchange.operations import MountedTarget, Operations
from handler.model import Outcome, OutcomeKind, Repository
from handler.network.aws.parameters import Parameters
from handler.network.deliver import Deliverer
from handler.network.operations.command import Command
from handler.network.operations.doctor import LAST_REQUEST_SECONDS, Doctor
from handler.network.operations.status import ListedRepository, StatusSurvey, content_of_status, cut, with_published
from handler.network.trigger import Trigger
from handler.outcome import as_failure, outcome_of
from handler.settings import Settings

WELL, ATTENTION, REFUSED, FAILED = 0, 1, 2, 3
"""Exit codes: all is well; something needs attention; refused, and nothing was done; failed."""
MAX_TARGETS = 4000
"""A status lists at most so many targets: Lambda bounds an answer to 6 MB."""
Content = dict[str, object]


class Operator:
    """Carries out commands."""

    def __init__(
        self,
        settings: Settings,
        operations: Operations,
        deliverer: Deliverer,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`operations` is the mount side. `say` is told in a sentence what a long command is at."""
        self._settings = settings
        self._operations = operations
        self._deliverer = deliverer
        self._say = say
        self._clock = clock
        self._parameters = Parameters(settings)
        self.outcomes: list[Outcome] = []  # what the last command did to targets, for the log

    def close(self) -> None:
        """Close the deliverer, and with it the mount side."""
        self._deliverer.close()
        self._parameters.close()

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored tokens, without showing them."""
        return self._parameters.secret_problems()

    def run(self, command: Command, deadline: Deadline = NO_DEADLINE) -> Content:
        """Carry out a command by `deadline`; return its content, with `exit_code`. Raises Git2EfsError."""
        self.outcomes = []
        actions: Mapping[str, Callable[[Command, Deadline], Content]] = {
            "status": self._status,
            "publish": self._publish,
            "rollback": self._roll_back,
            "hold": self._hold,
            "resume": self._resume,
            "take-over": self._take_over,
            "verify": self._verify,
            "doctor": self._doctor,
        }
        return {"action": command.action, **actions[command.action](command, deadline)}

    # -- commands that change nothing --------------------------------------------------------------------------------

    def _status(self, command: Command, deadline: Deadline) -> Content:
        listed = self._list(command.subject)
        survey = StatusSurvey(
            operations=self._operations,
            drift=None if command.is_offline else partial(self._drift, deadline=deadline),
            deadline=deadline.minus(LAST_REQUEST_SECONDS),
        )
        self._say("looking at the targets" + ("" if command.is_offline else ", and asking the remotes"))
        statuses, left_out = cut(survey.survey(listed, self._operations.read_schedule_state("reconcile")), MAX_TARGETS)
        problems = [f"{left_out} more targets are not shown: name a repository"] if left_out else []
        if command.counts_disk:
            try:
                statuses = list(self._operations.count_disk(statuses, deadline=deadline))
            except OutOfTime as error:
                problems.append(str(error))
        is_well = not problems and all(each.is_healthy for each in statuses)
        return {
            "exit_code": WELL if is_well else ATTENTION,
            "at": self._clock(),
            "repositories": [content_of_status(each) for each in statuses],
            "problems": problems,
        }

    def _list(self, full_name: str | None) -> list[ListedRepository]:
        """Return the repositories that are configured or are on the mount; or the one that is named."""
        if full_name is not None:
            return [(full_name, self._repository(full_name))]
        published = self._operations.repositories()
        return with_published(dict(self._parameters.repositories(lambda: published)), published)

    def _repository(self, full_name: str) -> Repository:
        """Return the repository. Raises RepositoryUnknown, which names one that differs by letter case alone."""
        try:
            return self._parameters.repository(full_name)
        except RepositoryUnknown:
            with suppress(ParametersUnavailable, ConfigurationInvalid):
                if spelling := spelled_otherwise(full_name, [name for name, _ in self._parameters.repositories()]):
                    raise RepositoryUnknown(f"there is no {full_name}, but {spelling}: letter case counts") from None
            raise

    def _drift(self, repository: Repository, deadline: Deadline) -> RepositoryDrift:
        return self._deliverer.drift(repository, self._parameters.token_of(repository), deadline)

    def _verify(self, command: Command, deadline: Deadline) -> Content:
        targets = self._operations.find_targets(command.subject)
        outcomes = [
            self._operations.verify(each, is_repairing=command.is_repairing, deadline=deadline) for each in targets
        ]
        if command.is_repairing:
            self.outcomes = outcomes
        return _content_of_outcomes(outcomes, has_notes=True)

    def _doctor(self, command: Command, deadline: Deadline) -> Content:
        doctor = Doctor(
            settings=self._settings,
            parameters=self._parameters,
            operations=self._operations,
            deliverer=self._deliverer,
            clock=self._clock,
            say=self._say,
            deadline=deadline,
        )
        checks = doctor.check(command.subject)
        return {"exit_code": WELL if checks.are_well() else ATTENTION, "checks": [asdict(each) for each in checks]}

    # -- commands that publish or hold -------------------------------------------------------------------------------

    def _publish(self, command: Command, deadline: Deadline) -> Content:
        assert command.subject is not None
        repository = self._repository(command.subject)
        if command.ref is not None:
            return self._deliver(repository, [command.ref], deadline)
        drift = self._drift(repository, deadline)
        refs = dict.fromkeys((*(each.ref for each in drift.targets if each.commit), *drift.behind))
        return self._deliver(repository, list(refs), deadline)

    def _deliver(self, repository: Repository, refs: Sequence[str], deadline: Deadline) -> Content:
        outcomes: list[Outcome] = []
        for ref in refs:
            outcomes += self._deliver_ref(repository, ref, deadline)
        self.outcomes = outcomes
        return _content_of_outcomes(outcomes)

    def _deliver_ref(self, repository: Repository, ref: str, deadline: Deadline) -> Sequence[Outcome]:
        self._say(f"publishing {ref} of {repository.full_name}")
        trigger = Trigger(ref=ref, push=None, delivery="", received_at=self._clock(), deadline=deadline)
        return self._deliverer.deliver(repository, self._parameters.token_of(repository), trigger)

    def _take_over(self, command: Command, deadline: Deadline) -> Content:
        assert command.subject is not None
        assert command.previous is not None
        # Read the parameter first: a repository that is not to be published takes nothing over.
        repository = self._parameters.repository(command.subject)
        taken = self._operations.take_over(
            command.previous, repository=command.subject, path=command.path, deadline=deadline
        )
        notes = self._notes_on(command.previous)
        outcomes = [replace(each, notes=(*each.notes, *notes, *note_on_rules(repository, each))) for each in taken]
        # The new repository's mirror is without the objects of what it took over, until a run has fetched them.
        for ref in dict.fromkeys(each.ref for each in taken if each.ref and not note_on_rules(repository, each)):
            try:
                outcomes += self._deliver_ref(repository, ref, deadline)
            except Git2EfsError as error:
                # What is taken over stays so, and has to be in the answer.
                outcomes.append(replace(outcome_of(error), repository=repository.full_name, ref=ref))
        self.outcomes = outcomes
        return _content_of_outcomes(outcomes, has_notes=True)

    def _notes_on(self, previous: str) -> tuple[str, ...]:
        """Say that the previous repository still has a parameter, if so."""
        try:
            if not self._parameters.has_parameter(previous):
                return ()
        except ConfigurationInvalid:
            pass  # it is there, and cannot be read
        except Git2EfsError:
            return ()
        return (f"{previous} still has a parameter, and its pushes are refused here: delete it",)

    def _roll_back(self, command: Command, deadline: Deadline) -> Content:
        targets = self._find(command)
        if len(targets) > 1:
            paths = ", ".join(each.path for each in targets)
            raise TargetUnknown(f"{command.subject} has several targets: name one of {paths}")
        answer = self._operations.roll_back(
            targets[0], to=command.to, by=command.by, why=command.why, deadline=deadline
        )
        self._deliverer.put_events(answer.events)
        self.outcomes = [answer.outcome]
        return _content_of_outcomes(self.outcomes)

    def _hold(self, command: Command, deadline: Deadline) -> Content:
        self.outcomes = []
        for each in self._find(command):
            answer = self._operations.hold(each, by=command.by, why=command.why, deadline=deadline)
            self._deliverer.put_events(answer.events)
            self.outcomes.append(answer.outcome)
        return _content_of_outcomes(self.outcomes)

    def _resume(self, command: Command, deadline: Deadline) -> Content:
        targets = self._find(command)
        # Read the parameter before ending the hold: a wrong one must leave the target held.
        repository = self._parameters.repository(targets[0].repository)
        refs = [self._operations.end_hold(each, deadline=deadline) for each in targets]
        return self._deliver(repository, list(dict.fromkeys(refs)), deadline)

    def _find(self, command: Command) -> tuple[MountedTarget, ...]:
        assert command.subject is not None
        return self._operations.find_targets(command.subject)


def _content_of_outcomes(outcomes: Sequence[Outcome], *, has_notes: bool = False) -> Content:
    return {
        "exit_code": max((_exit_code(each) for each in outcomes), default=WELL),
        "targets": [_content_of_outcome(each, has_notes=has_notes) for each in outcomes],
    }


def note_on_rules(repository: Repository, taken: Outcome) -> tuple[str, ...]:
    """Say that no rule of the repository publishes the taken target's ref to its path, if so."""
    assert taken.ref is not None
    # Only the remote knows its default branch: if a rule publishes that, it may be this one.
    for default_branch in (None, taken.ref):
        with suppress(ConfigurationInvalid):
            if any(each.path == taken.path for each in targets_of(repository, taken.ref, default_branch)):
                return ()
    rule = json.dumps({"publish": [{"ref": taken.ref, "path": taken.path}]})
    return (
        f"no rule of {repository.full_name} publishes {taken.ref} there, and nothing updates it until one does: {rule}",
    )


def _exit_code(outcome: Outcome) -> int:
    if outcome.kind is OutcomeKind.FAILED:
        return FAILED
    is_well = outcome.kind is not OutcomeKind.IGNORED and outcome.reason not in ("drifted", "set_aside")
    return WELL if is_well else ATTENTION


def _content_of_outcome(outcome: Outcome, *, has_notes: bool) -> Content:
    counts = {name: value for name, value in asdict(outcome.counts).items() if value}
    return {
        "repository": outcome.repository,
        "path": outcome.path,
        "ref": outcome.ref,
        "outcome": str(outcome.kind),
        "reason": outcome.reason,
        "commit": outcome.commit,
        "previous_commit": outcome.previous_commit,
        **({"refused_commit": outcome.refused_commit} if outcome.refused_commit else {}),
        **counts,
        **({"detail": outcome.detail} if outcome.detail else {}),
        **({"notes": list(outcome.notes)} if has_notes and outcome.notes else {}),
    }


def content_of_failure(command: Command | None, error: Exception) -> Content:
    """Return the content of a command that raised `error`; None: of an event that is no command.

    The doctor is asked to find wrong settings: for it they are a check that is wrong, and no failure.
    """
    if command is not None and command.action == "doctor" and isinstance(error, ConfigurationInvalid):
        todo = "set the function's environment as template.yaml does"
        check = {"name": "settings", "verdict": "wrong", "found": str(error), "todo": todo}
        return {"action": "doctor", "exit_code": ATTENTION, "checks": [check]}
    failure = as_failure(error)
    return {
        "action": command.action if command is not None else None,
        "exit_code": REFUSED if isinstance(failure, Rejected) else FAILED,
        "reason": failure.reason,
        "detail": str(failure),
    }
