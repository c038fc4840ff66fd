"""What stands on the mount, target by target, beside what the remotes' refs name."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from handler.config.names import is_full_name
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import ConfigurationInvalid, TargetUnknown
from handler.exchange.drift import TargetDrift
from handler.exchange.schedule_state import RepositoryState, ScheduleState
from handler.model import Repository
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.usage import Usage, usage_of
from handler.mount.operations.targets import refuse_links
from handler.mount.releases.inventory import list_releases
from handler.mount.releases.strategy import Release
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.layout import RepositoryPaths
from handler.mount.target.record import Hold
from handler.mount.target.registry import TargetRegistry
from handler.settings import Settings

_IN_FLIGHT = 16
WELL = frozenset({"current", "published", "retiring"})
"""The states that need nobody's attention."""
NOT_WELL = frozenset({"behind", "held", "unpublished", "no ref", "left over", "failed"})

Listed = tuple[str, Repository | ConfigurationInvalid | None]
"""A repository by its name: None where it has no parameter, and is only found on the mount."""


@dataclass(slots=True)
class TargetStatus:
    """A target. Times are seconds since the epoch; `tip` is what the ref names on the remote, where it was asked."""

    path: str
    ref: str | None = None
    state: str = "unpublished"
    commit: str | None = None
    since: float | None = None
    previous_commit: str | None = None
    confirmed_at: float | None = None
    tip: str | None = None
    held: Hold | None = None
    releases: tuple[Release, ...] = ()
    usage: tuple[Usage, ...] = ()
    problems: list[str] = field(default_factory=list)

    def content(self) -> dict[str, object]:
        """Return it for JSON."""
        releases = [
            {
                "commit": each.commit,
                "is_current": each.commit == self.commit,
                "is_intact": each.is_intact,
                "retired_at": None if each.commit == self.commit else each.retired_at,
                **({} if not self.usage else asdict(self.usage[number])),
            }
            for number, each in enumerate(self.releases)
        ]
        disk = Usage(sum(each.files for each in self.usage), sum(each.bytes for each in self.usage))
        return {
            "path": self.path,
            "ref": self.ref,
            "state": self.state,
            "commit": self.commit,
            "since": self.since,
            "previous_commit": self.previous_commit,
            "confirmed_at": self.confirmed_at,
            "tip": self.tip,
            "held": None if self.held is None else asdict(self.held),
            "releases": releases,
            "disk": asdict(disk) if self.usage or not self.releases else None,
            "problems": self.problems,
        }


@dataclass(slots=True)
class RepositoryStatus:
    """A repository: its targets, its mirror's size, and what the schedule's diary says."""

    name: str
    targets: list[TargetStatus] = field(default_factory=list)
    entry: RepositoryState | None = None
    mirror: Usage | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nothing needs attention."""
        return not self.problems and all(each.state in WELL and not each.problems for each in self.targets)

    def content(self) -> dict[str, object]:
        """Return it for JSON."""
        entry = self.entry
        return {
            "repository": self.name,
            "confirmed_at": entry.confirmed_at if entry else None,
            "failures": entry.failures if entry else 0,
            "mirror": None if self.mirror is None else asdict(self.mirror),
            "targets": [each.content() for each in self.targets],
            "problems": self.problems,
        }


@dataclass(frozen=True, slots=True)
class Status:
    """Looks at repositories on one mount. `survey` asks the remote what its refs name; None: nobody is asked."""

    settings: Settings
    clock: Callable[[], float]
    survey: Callable[[Repository], Sequence[TargetDrift]] | None
    deadline: Deadline = NO_DEADLINE
    """From then on no further remote is asked."""

    def look(self, listed: Sequence[Listed], diary: ScheduleState) -> list[RepositoryStatus]:
        """Return the repositories as they stand, many looked at at a time. One's trouble is its own."""
        with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="status") as pool:
            looks = [pool.submit(self._repository, *each, diary.repositories.get(each[0])) for each in listed]
            return [each.result() for each in looks]

    def _repository(
        self, name: str, repository: Repository | ConfigurationInvalid | None, entry: RepositoryState | None
    ) -> RepositoryStatus:
        status = RepositoryStatus(name, entry=entry)
        if entry is not None and entry.failures:
            status.problems.append(f"the schedule failed {entry.failures} times in a row")
        seen: Sequence[TargetDrift] | None = None
        try:
            if isinstance(repository, ConfigurationInvalid):
                raise repository
            if repository is None:
                status.problems.append("has no parameter any more: nothing is published")
            elif self.survey is not None:
                self.deadline.check("there was no time left to ask the remote: name the repository")
                seen = self.survey(repository)
        except Exception as error:
            status.problems.append(sentence_of(error))
        try:
            self._targets(status, seen)
        except Exception as error:
            status.problems.append(sentence_of(error))
        return status

    def _targets(self, status: RepositoryStatus, seen: Sequence[TargetDrift] | None) -> None:
        by_path = {each.path: each for each in seen or ()}
        listed = TargetRegistry.of(self.settings.mount, status.name).target_paths() if is_full_name(status.name) else []
        for path in dict.fromkeys((*by_path, *listed)):
            target = TargetStatus(path)
            try:
                self._target(status, target, by_path.get(path), is_asked=seen is not None)
            except Exception as error:
                target.state = "failed"
                target.problems.append(sentence_of(error))
            status.targets.append(target)

    def _target(
        self, status: RepositoryStatus, target: TargetStatus, seen: TargetDrift | None, *, is_asked: bool
    ) -> None:
        if seen is not None:
            target.ref, target.tip = seen.ref, seen.commit
        directory = TargetDirectory.at(self.settings.mount, target.path, self.clock)
        if os.path.lexists(directory.paths.directory):
            refuse_links(self.settings.mount, target.path)
        found = directory.read_published()
        record = found.record if found.commit is not None else directory.read_record()
        if record is not None and record.repository != status.name:
            raise TargetUnknown(f"{target.path} is published from {record.repository}")
        target.commit = found.commit
        if found.commit is not None:
            order = sorted(
                list_releases(directory.paths).releases,
                key=lambda each: (each.commit != found.commit, -each.retired_at),
            )
            target.releases = tuple(order)
            target.problems += [
                f"releases/{each.commit} was changed by somebody else" for each in order if not each.is_intact
            ]
            if not directory.paths.is_copy and all(each.commit != found.commit for each in order):
                target.problems.append("`current` leads to nothing: its release is gone")
        if record is not None:
            target.ref = target.ref or record.ref
            target.since, target.previous_commit = record.published_at, record.previous_commit
            target.confirmed_at, target.held = record.asked_at, record.held
            if self.settings.event_bus and not record.announced:
                target.problems.append("the event bus did not take this release's event yet")
        elif found.commit is not None:
            target.problems.append("there is no record of what is published")
        is_gone = record is not None and record.gone_since is not None
        target.state = _state(target, seen, is_asked=is_asked, is_gone=is_gone)
        if target.state == "current" and status.entry is not None:
            target.confirmed_at = max(target.confirmed_at or 0.0, status.entry.confirmed_at)

    def count(self, statuses: Sequence[RepositoryStatus], pulse: Callable[[int], object]) -> None:
        """Count what releases and mirrors take. Raises OSError and what `pulse` raises."""
        mount = self.settings.mount
        roots = [RepositoryPaths.of(mount, each.name).mirror for each in statuses]
        owners = [(target, release) for each in statuses for target in each.targets for release in target.releases]
        roots += [f"{mount}/{target.path}/releases/{release.commit}" for target, release in owners]
        found = usage_of(roots, workers=self.settings.checkout_workers, pulse=pulse)
        for each, usage in zip(statuses, found, strict=False):
            each.mirror = usage
        for (target, _), usage in zip(owners, found[len(statuses) :], strict=True):
            target.usage = (*target.usage, usage)


def _state(target: TargetStatus, seen: TargetDrift | None, *, is_asked: bool, is_gone: bool) -> str:
    if target.held is not None:
        return "held"
    if target.commit is None:
        return "unpublished" if seen is None or seen.commit is not None else "no ref"
    if is_gone:
        return "retiring"
    if not is_asked:
        return "published"
    if seen is None:
        return "left over"
    if seen.commit is None:
        return "no ref"
    return "behind" if seen.is_behind else "current"


def on_mount(mount: str) -> Iterator[str]:
    """Yield the repositories that were ever published to the mount, by name. Raises OSError."""
    for owner in sorted(_directories(mount)):
        for name in sorted(_directories(f"{mount}/{owner}")):
            full_name = f"{owner}/{name}"
            if is_full_name(full_name) and os.path.lexists(RepositoryPaths.of(mount, full_name).targets):
                yield full_name


def _directories(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return [each.name for each in entries if each.is_dir(follow_symlinks=False) and not each.name.startswith(".")]


def sentence_of(error: Exception) -> str:
    """Say what a failure is, for an operator: its reason, and its message where it is ours."""
    failure = as_failure(error)
    return f"{failure.reason}: {failure}"
