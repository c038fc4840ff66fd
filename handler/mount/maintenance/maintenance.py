"""The daily maintenance of a repository: prune, sweep, audit its releases, repair them, and keep the mirror in order.

It does what publishing leaves undone because no push should wait for it, and what publishing cannot see because it
never reads whole trees. Killed anywhere, it may be done again.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import MirrorDamaged, OutOfTime
from handler.exchange.publisher import MaintenanceResult
from handler.model import Outcome, OutcomeKind, Repository
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.parallel import Workers
from handler.mount.git.fsck import repair
from handler.mount.git.incoming import sweep
from handler.mount.git.mirror import StorePool
from handler.mount.maintenance.audit import AuditFindings, ReleaseAudit
from handler.mount.maintenance.context import RepositoryContext
from handler.mount.releases.inventory import list_releases
from handler.mount.releases.prune import discard, prune_at_rest
from handler.mount.releases.times import renew
from handler.mount.target.directory import Published, TargetDirectory
from handler.outcome import outcome_of
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where maintenance stopped: a target's path, a release of it, and the number of the part to compare next."""

    path: str
    commit: str = ""
    part: int = 0

    def __str__(self) -> str:
        """Return it as `resume_at`."""
        # No part of a target's path is empty, so two slashes cannot stand in one.
        return f"{self.path}//{self.commit}//{self.part}"

    @classmethod
    def read(cls, text: str) -> "Cursor":
        """Read what `str` made. Anything else means to start with the target that it begins with, or the first one."""
        path, _, rest = text.partition("//")
        commit, _, part = rest.partition("//")
        return cls(path, commit, int(part) if part.isdecimal() and len(part) < 9 else 0)


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Maintains repositories on one mount. Safe for threads."""

    settings: Settings
    mirrors: StorePool
    clock: Callable[[], float] = time.time

    def maintain(
        self, repository: Repository, *, deadline: Deadline = NO_DEADLINE, resume_at: str | None = None
    ) -> MaintenanceResult:
        """Maintain all targets that the repository was ever published to, until `deadline`.

        Raises no Exception: a failure is an outcome, and the other targets are maintained all the same. Holds the
        repository's lock for moments, and during repairs.

        Outcomes: `unchanged` with `verified`, or with `set_aside` where a retired release differs from its commit and
        will not be used again; `published` with `repaired` where `current` differed and was repaired; `failed`. After
        `mirror_damaged` the mirror is empty, or lacks what is published: reconcile the target, which fetches it, and
        maintain again.
        """
        context = RepositoryContext(
            name=repository.full_name,
            settings=self.settings,
            mirrors=self.mirrors,
            clock=self.clock,
            deadline=deadline,
        )
        return _RepositoryMaintenance(repository, context).run(Cursor.read(resume_at) if resume_at else None)


@dataclass(slots=True)
class _RepositoryMaintenance:
    """The maintenance of one repository. `cursor` is where it is."""

    repository: Repository
    context: RepositoryContext
    cursor: Cursor | None = None

    def run(self, start: Cursor | None) -> MaintenanceResult:
        self.cursor = start
        outcomes: list[Outcome] = []
        try:
            # Before the lock: taking it would make a directory for a repository that was never published.
            if not os.path.exists(self.context.paths.targets):
                return MaintenanceResult(())
            self.context.check_deadline()
            # Here too: a repository may never see another large pack.
            sweep(self.context.paths.incoming, self.context.clock)
            notes = self._maintain_mirror() if start is None or not start.path else ()
            targets = self._targets_from(start)
        except OutOfTime:
            return MaintenanceResult((), str(start or Cursor("")))
        except Exception as error:
            return MaintenanceResult((self._failed(None, error),))
        for path in targets:
            self.cursor = begin = start if start and start.path == path else Cursor(path)
            findings, outcome = AuditFindings(), None
            try:
                outcome = self._maintain_target(begin, findings)
            except OutOfTime:
                # What was repaired is an outcome now; the rest is one of the call that finishes the target.
                repaired = [self._done(path, None, findings)] if findings.is_repaired else []
                return MaintenanceResult((*outcomes, *repaired), str(self.cursor))
            except Exception as error:
                outcome = replace(self._failed(path, error), counts=findings.counts, notes=tuple(findings.notes))
            if outcome is not None:
                outcomes.append(replace(outcome, notes=(*notes, *outcome.notes)))
                notes = ()
        return MaintenanceResult(tuple(outcomes))

    def _targets_from(self, start: Cursor | None) -> list[str]:
        paths = self.context.registry.target_paths()
        return paths[paths.index(start.path) :] if start and start.path in paths else paths

    def _maintain_mirror(self) -> tuple[str, ...]:
        """Repack the mirror and repair it, and return notes. Empty one beyond repair: the next push fetches it."""
        context, registry = self.context, self.context.registry
        if not os.path.exists(context.paths.mirror):
            return ()  # all its targets are working copies
        with context.locked() as lock:
            try:
                with context.borrowed_mirror(lock) as mirror:
                    mirror.maintain(registry.release_commits, keeps_history=self.repository.depth == 0)
                    return repair(mirror, registry.release_commits())
            except MirrorDamaged as error:
                return (f"the mirror is emptied: {error}",)

    def _maintain_target(self, begin: Cursor, findings: AuditFindings) -> Outcome | None:
        """Maintain a target; return None where it is another repository's, a working copy, or holds nothing."""
        context, directory = self.context, self.context.directory(begin.path)
        context.check_deadline()
        with context.locked() as lock:
            directory = directory.held_by(lock)
            published = directory.read_published()
            if published.commit is None or published.record is None:
                return None
            current = published.release or ""
            if published.record.repository != self.repository.full_name:
                return None
            if directory.is_copy:
                # Imported when it is used: who keeps no working copy does not pay for merging and rebasing.
                from handler.mount.working_copy.maintain import maintain_copy

                maintain_copy(directory.root)
                # Its owner may change it, so there is nothing to audit; git itself says what was changed.
                return None
            workers = Workers(context.settings.checkout_workers, is_slow=lock.is_slow)
            inventory = list_releases(directory)
            releases, trash = prune_at_rest(
                directory,
                inventory,
                self.repository,
                current=current,
                renew=partial(
                    renew, inventory=inventory, borrow=partial(context.borrowed_mirror, lock), workers=workers
                ),
            )
        # Without the lock: removing whole trees takes minutes, and nobody uses a name of the trash again.
        discard(directory, trash, context.check_deadline)
        retired = sorted((each for each in releases if each.commit != current), key=lambda each: -each.retired_at)
        self._audit(directory, [current, *(each.commit for each in retired)], begin, findings)
        return self._done(begin.path, published, findings)

    def _audit(self, directory: TargetDirectory, commits: list[str], begin: Cursor, findings: AuditFindings) -> None:
        """Audit the releases from `begin` on, and keep the cursor where the audit is."""
        if begin.commit in commits:
            commits = commits[commits.index(begin.commit) :]
        for commit in commits:
            audit = ReleaseAudit(
                context=self.context,
                directory=directory,
                commit=commit,
                findings=findings,
                reached=begin.part if commit == begin.commit else 0,
            )
            try:
                audit.run()
            finally:
                self.cursor = Cursor(begin.path, commit, audit.reached)

    def _done(self, path: str, published: Published | None, findings: AuditFindings) -> Outcome:
        kind, reason = OutcomeKind.UNCHANGED, "verified"
        if findings.is_any_set_aside:
            reason = "set_aside"
        if findings.is_repaired:
            kind, reason = OutcomeKind.PUBLISHED, "repaired"
        outcome = Outcome(
            kind=kind,
            reason=reason,
            repository=self.repository.full_name,
            path=path,
            counts=findings.counts,
            notes=tuple(findings.notes),
        )
        if published is None or published.record is None:
            return outcome
        return replace(outcome, ref=published.record.ref, commit=published.commit, previous_commit=published.commit)

    def _failed(self, path: str | None, error: Exception) -> Outcome:
        return replace(outcome_of(as_failure(error)), repository=self.repository.full_name, path=path)
