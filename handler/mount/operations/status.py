"""The status of a repository's targets: what is published, beside what the remote's refs name."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from handler.config.names import is_full_name
from handler.deadline import Deadline
from handler.exchange.drift import TargetDrift
from handler.exchange.operations import ReleaseStatus, RepositoryStatus, TargetState, TargetStatus
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.usage import usage_of
from handler.mount.operations.targets import refuse_links
from handler.mount.releases.inventory import list_releases
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.layout import RepositoryPaths, TargetPaths
from handler.mount.target.record import PublishedRecord
from handler.mount.target.registry import TargetRegistry
from handler.outcome import summary_of
from handler.settings import Settings

_SAY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class StatusReader:
    """Reads the status of targets on one mount. Takes no lock, and changes nothing. Safe for threads."""

    settings: Settings
    clock: Callable[[], float]
    say: Callable[[str], None]
    """Hears how far a long count is."""

    def targets(self, repository: str, drift: Sequence[TargetDrift] | None) -> tuple[TargetStatus, ...]:
        """Return the status of each target that `drift` names, and of each that the repository's registry names.

        `drift` is what the remote just said; None where it was not asked, or did not answer. A target that cannot be
        read is `failed`, with the reason among its problems. Raises OSError for the registry.
        """
        by_path = {each.path: each for each in drift or ()}
        registry = TargetRegistry.of(self.settings.mount, repository)
        registered = registry.target_paths() if is_full_name(repository) else []
        statuses = []
        for path in dict.fromkeys((*by_path, *registered)):
            found = by_path.get(path)
            try:
                status = self._target(repository, path, found, is_asked=drift is not None)
            except Exception as error:
                problem = summary_of(as_failure(error))
                status = TargetStatus(path=path, state=TargetState.FAILED, problems=(problem,))
                if found is not None:
                    status = replace(status, ref=found.ref, tip=found.commit)
            statuses.append(status)
        return tuple(statuses)

    def _target(self, repository: str, path: str, drift: TargetDrift | None, *, is_asked: bool) -> TargetStatus:
        """Return the status of one target. Raises TargetOccupied, OSError, and TargetUnknown for a link."""
        directory = TargetDirectory.at(self.settings.mount, path, self.clock)
        if os.path.lexists(directory.root):
            refuse_links(self.settings.mount, path)
        published = directory.read_published()
        record = published.record if published.commit is not None else directory.read_record()
        if record is not None and record.repository not in ("", repository):
            return _others(path, record, drift)
        current = published.name
        releases = _releases(directory, current) if current is not None else ()
        status = TargetStatus(
            path=path,
            state=_state(published.commit, record, drift, is_asked=is_asked),
            ref=drift.ref if drift is not None else None,
            commit=published.commit,
            tip=drift.commit if drift is not None else None,
            releases=releases,
            problems=tuple(self._problems(directory, published.commit, record, releases)),
        )
        if record is None:
            return status
        problems = status.problems
        if status.state is TargetState.LEFT_OVER:
            problems += (f"no rule publishes {record.ref} here any more: its readers get no further pushes",)
        return replace(
            status,
            problems=problems,
            ref=status.ref or record.ref or None,
            since=record.published_at or None,
            previous_commit=record.previous_commit,
            confirmed_at=record.asked_at or None,
            held=record.held,
        )

    def _problems(
        self,
        paths: TargetPaths,
        commit: str | None,
        record: PublishedRecord | None,
        releases: Sequence[ReleaseStatus],
    ) -> list[str]:
        problems = [f"releases/{each.commit} was changed by somebody else" for each in releases if not each.is_intact]
        if commit is not None and not paths.is_copy and not any(each.is_current for each in releases):
            problems.append("`current` leads to nothing: its release is gone")
        if record is None:
            if commit is not None:
                problems.append("there is no record of what is published")
        elif not record.is_whole:
            problems.append("the record of what is published is damaged: the next run makes it anew")
        elif self.settings.event_bus and not record.announced:
            problems.append("the event bus did not take this release's event yet")
        return problems

    def count_disk(self, statuses: Sequence[RepositoryStatus], deadline: Deadline) -> tuple[RepositoryStatus, ...]:
        """Return the statuses with the usage of every mirror and release. Raises OutOfTime, OSError."""
        mount = self.settings.mount
        roots = [RepositoryPaths.of(mount, each.repository).mirror for each in statuses]
        roots += [
            TargetPaths(f"{mount}/{target.path}").release(release.commit)
            for each in statuses
            for target in each.targets
            for release in target.releases
        ]
        progress = _CountProgress(deadline, self.clock, self.say)
        usages = iter(usage_of(roots, workers=self.settings.checkout_workers, pulse=progress))
        mirrors = list(islice(usages, len(statuses)))
        counted = []
        for each, mirror in zip(statuses, mirrors, strict=True):
            targets = [
                replace(target, releases=tuple(replace(release, usage=next(usages)) for release in target.releases))
                for target in each.targets
            ]
            counted.append(replace(each, mirror=mirror, targets=tuple(targets)))
        return tuple(counted)


class _CountProgress:
    """Called with the number of files counted so far: ends the count at the deadline, and says how far it is."""

    def __init__(self, deadline: Deadline, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._deadline, self._clock, self._say = deadline, clock, say
        self._said_at = clock()

    def __call__(self, files: int) -> None:
        self._deadline.check("the disk was not counted to its end: ask with no_disk, or name a repository")
        if self._clock() - self._said_at >= _SAY_SECONDS:
            self._said_at = self._clock()
            self._say(f"counted {files} files")


def _others(path: str, record: PublishedRecord, drift: TargetDrift | None) -> TargetStatus:
    """Return the status of a target that is published from another repository, as its record says."""
    # Readers may have written the record: what can be no repository's name is not told on as one.
    others = record.repository if is_full_name(record.repository) else None
    return TargetStatus(
        path=path,
        state=TargetState.FAILED,
        ref=drift.ref if drift is not None else None,
        tip=drift.commit if drift is not None else None,
        problems=(f"target_unknown: {path} is published from {others or 'something else'}",),
        published_from=others,
    )


def _releases(paths: TargetPaths, current: str) -> tuple[ReleaseStatus, ...]:
    """Return the releases, the current one first, then those that were retired last."""
    found = sorted(list_releases(paths).releases, key=lambda each: (each.commit != current, -each.retired_at))
    return tuple(
        ReleaseStatus(
            commit=each.commit,
            is_current=each.commit == current,
            is_intact=each.is_intact,
            retired_at=None if each.commit == current else each.retired_at,
        )
        for each in found
    )


def _state(
    commit: str | None, record: PublishedRecord | None, drift: TargetDrift | None, *, is_asked: bool
) -> TargetState:
    """Return the state of a target; `is_asked` says that the remote answered. No drift then: no rule publishes it."""
    if record is not None and record.held is not None:
        return TargetState.HELD
    if commit is None:
        return TargetState.UNPUBLISHED if drift is None or drift.commit is not None else TargetState.NO_REF
    if record is not None and record.gone_since is not None:
        return TargetState.RETIRING
    if not is_asked:
        return TargetState.PUBLISHED
    if drift is None:
        return TargetState.LEFT_OVER
    if drift.commit is None:
        return TargetState.NO_REF
    return TargetState.BEHIND if drift.is_behind else TargetState.CURRENT
