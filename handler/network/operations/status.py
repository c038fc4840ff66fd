"""The status of repositories: ask their remotes, let the mount side compare, and add what the schedule knows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

from handler.config.names import is_owner
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import ConfigurationInvalid
from handler.exchange.drift import RepositoryDrift, TargetDrift
from handler.exchange.operations import Operations, RepositoryStatus, TargetState, TargetStatus
from handler.exchange.schedule_state import RepositoryState, ScheduleState
from handler.model import Repository, Usage
from handler.outcome import summary_of

_IN_FLIGHT = 16
_MAX_REFS = 5
"""Refs that a repository's problems name."""

ListedRepository = tuple[str, Repository | ConfigurationInvalid | None]
"""A repository by its full name; None where it is not configured, and is on the mount alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSurvey:
    """Surveys repositories. `drift` asks a remote and compares its targets; None: no remote is asked."""

    operations: Operations
    drift: Callable[[Repository], RepositoryDrift] | None
    deadline: Deadline = NO_DEADLINE
    """The survey asks no further remote after it."""

    def survey(self, listed: Sequence[ListedRepository], schedule: ScheduleState) -> list[RepositoryStatus]:
        """Return the status of each repository, without disk usage. A failure is a problem of its repository alone."""
        with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="status") as pool:
            pending = [pool.submit(self._status, *each, schedule.repositories.get(each[0])) for each in listed]
            statuses = [each.result() for each in pending]
        # Of one without a parameter, whose targets were all retired or taken over, only the mirror is left.
        left = zip(listed, statuses, strict=True)
        return [status for (_, configured), status in left if configured is not None or status.targets]

    def _status(
        self, name: str, repository: Repository | ConfigurationInvalid | None, schedule: RepositoryState | None
    ) -> RepositoryStatus:
        problems: list[str] = []
        if schedule is not None and schedule.failures:
            problems.append(f"the schedule failed {schedule.failures} times in a row")
        for ref, back_off in list(schedule.refs.items())[:_MAX_REFS] if schedule is not None else ():
            problems.append(f"the schedule failed {back_off.failures} times in a row to publish {ref}")
        drift: Sequence[TargetDrift] | None = None
        targets: tuple[TargetStatus, ...] = ()
        try:
            if repository is None:
                problems.append("has no parameter any more: nothing is published")
            else:
                drift = self._drift(repository)
        except Exception as error:
            problems.append(summary_of(error))
        try:
            # An owner's rule that is wrong has no targets of its own.
            targets = () if is_owner(name) else self.operations.target_statuses(name, drift)
        except Exception as error:
            problems.append(summary_of(error))
        if schedule is None:
            return RepositoryStatus(repository=name, targets=targets, problems=tuple(problems))
        return RepositoryStatus(
            repository=name,
            targets=tuple(_confirmed(each, schedule.confirmed_at) for each in targets),
            confirmed_at=schedule.confirmed_at,
            failures=schedule.failures,
            problems=tuple(problems),
        )

    def _drift(self, repository: Repository | ConfigurationInvalid) -> Sequence[TargetDrift] | None:
        if isinstance(repository, ConfigurationInvalid):
            raise repository
        if self.drift is None:
            return None
        self.deadline.check("there was no time left to ask the remote: name the repository")
        return self.drift(repository).targets


def with_published(
    listed: Mapping[str, Repository | ConfigurationInvalid], published: Iterable[str]
) -> list[ListedRepository]:
    """Return what is configured and what was published, sorted by name."""
    # Where an owner's rule is wrong, nobody can tell which of its repositories it includes.
    wrong = {name: each for name, each in listed.items() if is_owner(name)}
    return [(name, listed.get(name, wrong.get(name.partition("/")[0]))) for name in sorted({*listed, *published})]


def _confirmed(target: TargetStatus, at: float) -> TargetStatus:
    """Return the status with the time of the schedule's last look, where that confirmed what is published."""
    if target.state is not TargetState.CURRENT:
        return target
    return replace(target, confirmed_at=max(target.confirmed_at or 0.0, at))


def cut(statuses: Sequence[RepositoryStatus], room: int) -> tuple[list[RepositoryStatus], int]:
    """Return the statuses with at most `room` targets in all, and how many targets were left out."""
    kept, left_out = [], 0
    for each in statuses:
        left_out += max(0, len(each.targets) - room)
        kept.append(replace(each, targets=each.targets[:room]))
        room -= len(kept[-1].targets)
    return kept, left_out


def content_of_status(status: RepositoryStatus) -> dict[str, object]:
    """Return the repository's part of a status command's content, for JSON."""
    return {
        "repository": status.repository,
        "confirmed_at": status.confirmed_at,
        "failures": status.failures,
        "mirror": None if status.mirror is None else asdict(status.mirror),
        "targets": [_content_of_target(each) for each in status.targets],
        "problems": list(status.problems),
    }


def _content_of_target(target: TargetStatus) -> dict[str, object]:
    disk = _disk(target)
    return {
        "path": target.path,
        "ref": target.ref,
        "state": str(target.state),
        "commit": target.commit,
        "since": target.since,
        "previous_commit": target.previous_commit,
        "confirmed_at": target.confirmed_at,
        "tip": target.tip,
        "held": None if target.held is None else asdict(target.held),
        "releases": list(_contents_of_releases(target)),
        "disk": None if disk is None else asdict(disk),
        "problems": list(target.problems),
        "published_from": target.published_from,
    }


def _contents_of_releases(target: TargetStatus) -> Iterator[dict[str, object]]:
    for each in target.releases:
        yield {
            "commit": each.commit,
            "is_current": each.is_current,
            "is_intact": each.is_intact,
            "retired_at": each.retired_at,
            **({} if each.usage is None else asdict(each.usage)),
        }


def _disk(target: TargetStatus) -> Usage | None:
    """Return what all releases take together; None where they were not counted."""
    usages = [each.usage for each in target.releases if each.usage is not None]
    if len(usages) < len(target.releases):
        return None
    return Usage(sum(each.files for each in usages), sum(each.bytes for each in usages))
