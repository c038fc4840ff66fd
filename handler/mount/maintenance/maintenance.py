"""The daily chores of a repository: prune, sweep, compare releases with their commits, mend, keep the mirror in order.

What publishing leaves undone, because a push should not wait for it, or cannot see, because it never looks at trees.
Every chore may be broken off anywhere, by a kill too, and done again.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import MirrorDamaged, OutOfTime
from handler.exchange.publisher import MaintenanceResult
from handler.model import Outcome, OutcomeKind, Repository
from handler.mount.fs.errno_map import as_failure
from handler.mount.git.fsck import repair
from handler.mount.git.store_pool import StorePool
from handler.mount.maintenance.audit import AuditFindings, ReleaseAudit, RepositoryContext
from handler.mount.releases.inventory import list_releases
from handler.mount.releases.prune import discard, prune_at_rest
from handler.mount.target.directory import Published, TargetDirectory
from handler.mount.target.layout import RepositoryPaths
from handler.mount.target.registry import TargetRegistry
from handler.mount.working_copy.maintain import maintain_copy
from handler.outcome import outcome_of
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the chores stopped: a target's path, a release of it, and the number of the part to compare next."""

    path: str
    commit: str = ""
    part: int = 0

    def __str__(self) -> str:
        """Return it as `go_on_at`; no target's path has an empty part, so that the two slashes divide."""
        return f"{self.path}//{self.commit}//{self.part}"

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """Read what `str` made; whatever else it is only means to begin with the target, or with the first one."""
        path, _, rest = text.partition("//")
        commit, _, part = rest.partition("//")
        return cls(path, commit, int(part) if part.isdecimal() and len(part) < 9 else 0)


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Does the chores of repositories on one mount. Safe for threads."""

    settings: Settings
    mirrors: StorePool
    clock: Callable[[], float] = time.time

    def maintain(
        self, repository: Repository, *, deadline: Deadline = NO_DEADLINE, resume_at: str | None = None
    ) -> MaintenanceResult:
        """Do the chores of all targets that the repository was ever published to.

        Stops at `deadline`. The repository's lock is held for moments only, and for what is
        mended. Never raises an Exception: every failure is an outcome, and does not keep the other targets from theirs.

        Outcomes: `unchanged` with `verified`, or with `set_aside` where a kept release is not as its commit has it and
        will not be used again; `published` with `repaired` where `current` was not and is now; `failed`. After
        `mirror_damaged` the mirror is empty, or lacks what is published: to reconcile the target fetches it, and then
        the chores can be done.
        """
        paths = RepositoryPaths.of(self.settings.mount, repository.full_name)
        round_ = _RepositoryMaintenance(
            repository, RepositoryContext(paths, self.settings, self.mirrors, self.clock, deadline)
        )
        return round_.run(Cursor.read(resume_at) if resume_at else None)


@dataclass(slots=True)
class _RepositoryMaintenance:
    """The chores of one repository. `place` is where they are."""

    repository: Repository
    context: RepositoryContext
    cursor: Cursor | None = None

    def run(self, start: Cursor | None) -> MaintenanceResult:
        self.cursor = start
        outcomes: list[Outcome] = []
        try:
            # Looked at before the lock is taken, which would make a directory for what was never published.
            if not os.path.exists(self.context.paths.targets):
                return MaintenanceResult(())
            self.context.check_deadline()
            notes = self._mirror() if start is None or not start.path else ()
            targets = self._targets(start)
        except OutOfTime:
            return MaintenanceResult((), str(start or Cursor("")))
        except Exception as error:
            return MaintenanceResult((self._failed(None, error),))
        for path in targets:
            begin = start if start and start.path == path else Cursor(path)
            self.cursor = begin
            findings, outcome = AuditFindings(), None
            try:
                outcome = self._target(begin, findings)
            except OutOfTime:
                # What was mended is told now; the rest by the call that comes to its end.
                mended = self._done(path, None, findings)
                return MaintenanceResult((*outcomes, *([mended] if findings.is_mended else [])), str(self.cursor))
            except Exception as error:
                outcome = replace(self._failed(path, error), counts=findings.counts, notes=tuple(findings.notes))
            if outcome is not None:
                outcomes.append(replace(outcome, notes=(*notes, *outcome.notes)))
                notes = ()
        return MaintenanceResult(tuple(outcomes))

    @property
    def _list(self) -> TargetRegistry:
        return TargetRegistry.of(self.context.settings.mount, self.repository.full_name)

    def _targets(self, start: Cursor | None) -> list[str]:
        paths = self._list.target_paths()
        return paths[paths.index(start.path) :] if start and start.path in paths else paths

    def _mirror(self) -> tuple[str, ...]:
        """Consolidate and mend the mirror; one that cannot be is emptied, and the next push fetches afresh."""
        premises = self.context
        targets = self._list
        if not os.path.exists(premises.paths.mirror):
            return ()  # all its targets are working copies
        with premises.locked():
            try:
                with premises.borrowed_mirror() as mirror:
                    mirror.maintain(targets.release_commits, keeps_history=self.repository.depth == 0)
                    return repair(premises.paths.mirror, mirror, targets.release_commits())
            except MirrorDamaged as error:
                return (f"the mirror is emptied: {error}",)

    def _target(self, begin: Cursor, findings: AuditFindings) -> Outcome | None:
        """Do the chores of a target; None where it is not this repository's, or holds nothing."""
        premises, path = self.context, begin.path
        directory = TargetDirectory.at(premises.settings.mount, path, premises.clock)
        premises.check_deadline()
        with premises.locked():
            found = directory.read_published()
            if found.commit is None or found.record is None:
                return None
            if found.record.repository != self.repository.full_name:
                return None
            if directory.paths.is_copy:
                maintain_copy(directory.paths.directory)
                return None  # nothing is compared: people may change a working copy, and git tells them what they did
            standing, trash = prune_at_rest(
                directory.paths,
                list_releases(directory.paths),
                self.repository,
                current=found.commit,
                now=premises.clock(),
            )
        discard(directory.paths, trash, premises.check_deadline)
        retired = sorted((each for each in standing if each.commit != found.commit), key=lambda each: -each.retired_at)
        commits = [found.commit, *(each.commit for each in retired)]
        if begin.commit in commits:
            commits = commits[commits.index(begin.commit) :]
        for commit in commits:
            first = begin.part if commit == begin.commit else 0
            inspection = ReleaseAudit(premises, directory, commit, findings, first)
            try:
                inspection.run()
            finally:
                self.cursor = Cursor(path, commit, inspection.reached)
        return self._done(path, found, findings)

    def _done(self, path: str, found: Published | None, findings: AuditFindings) -> Outcome:
        kind, reason = OutcomeKind.UNCHANGED, "verified"
        if findings.is_any_set_aside:
            reason = "set_aside"
        if findings.is_mended:
            kind, reason = OutcomeKind.PUBLISHED, "repaired"
        about = Outcome(
            kind=kind,
            reason=reason,
            repository=self.repository.full_name,
            path=path,
            counts=findings.counts,
            notes=tuple(findings.notes),
        )
        if found is None or found.record is None:
            return about
        return replace(about, ref=found.record.ref, commit=found.commit, previous_commit=found.commit)

    def _failed(self, path: str | None, error: Exception) -> Outcome:
        return replace(outcome_of(as_failure(error)), repository=self.repository.full_name, path=path)
