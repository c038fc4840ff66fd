"""Compare one release with its commit, without the lock; mark or repair it under the lock."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from handler.errors import MirrorDamaged, SubdirectoryMissing, TreeUnsafe
from handler.model import NULL_OID, WHOLE_TREE, Counts
from handler.mount.fs.checkout import ByteBudget, check_out
from handler.mount.fs.directories import make_directories, make_directory
from handler.mount.fs.lock import HeldLock
from handler.mount.fs.parallel import SEQUENTIAL, Workers
from handler.mount.fs.plan import TreePlan
from handler.mount.git.mirror import Mirror
from handler.mount.git.objects import BLOB
from handler.mount.maintenance.context import RepositoryContext
from handler.mount.releases.filters import read_filters
from handler.mount.releases.inventory import (
    Inventory,
    at_work,
    free_trees,
    read_release,
    seal,
    take_over,
)
from handler.mount.releases.prune import discard
from handler.mount.releases.repair import repair
from handler.mount.releases.verify import Drift, Part, compare, parts_of, plan_release
from handler.mount.target.directory import TargetDirectory, give_name, list_names, take_away
from handler.mount.target.layout import commit_of, journal_name, trash_name, work_name
from handler.mount.target.record import PublishedRecord

_MAX_PATHS = 20
_MAX_NOTES = 60


@dataclass(slots=True, kw_only=True)
class AuditFindings:
    """What the audits of one target found and did.

    `is_repaired` is about the current release, `is_any_set_aside` about the retired ones. `is_any_wrong` says that a
    release differs from its commit and was left so, because the caller asked for no repair.
    """

    counts: Counts = field(default_factory=Counts)
    notes: list[str] = field(default_factory=list)
    is_repaired: bool = False
    is_any_set_aside: bool = False
    is_any_wrong: bool = False

    def note(self, phrases: Iterable[str]) -> None:
        """Add phrases for the log, up to a bound."""
        self.notes += islice(phrases, max(0, _MAX_NOTES - len(self.notes)))


@dataclass(slots=True, kw_only=True)
class ReleaseAudit:
    """Audits one release, by its name (`commit`). `reached` is the number of the part to compare next.

    Reading a whole tree takes minutes, and no push should wait for it: the audit holds the lock only to plan, and to
    compare again what looked wrong. A push may have recycled the release in between.
    """

    context: RepositoryContext
    directory: TargetDirectory
    commit: str
    findings: AuditFindings
    reached: int = 0
    is_repairing: bool = True
    """Whether to repair, or set aside, what differs; else it is noted alone."""
    _workers: Workers = SEQUENTIAL
    _inode: int = 0
    _sealed_ns: int = 0
    """The release's mtime when this audit last read or set it: if it differs, somebody changed the release since."""

    def run(self) -> None:
        """Compare the release from part `reached` on; repair it, set it aside or note what differs.

        Raises OutOfTime, MirrorDamaged, LockTimeout, MountFull and OSError. The caller may run it again from `reached`.
        """
        is_whole = self.reached == 0
        plan = self._begin()
        if plan is None:
            return
        parts = parts_of(plan)
        while self.reached < len(parts):
            self.context.check_deadline()
            if not self._audit_part(parts[self.reached]):
                return
        if is_whole and self.is_repairing:
            self._seal()

    @property
    def _path(self) -> str:
        return self.directory.release(self.commit)

    @property
    def _is_current(self) -> bool:
        return self.directory.read_published().release == self.commit

    def _begin(self) -> TreePlan | None:
        """Return the commit's tree as a plan from nothing; None where there is nothing to compare."""
        with self.context.locked() as lock:
            self.directory = self.directory.held_by(lock)
            self._workers = Workers(self.context.settings.checkout_workers, is_slow=lock.is_slow)
            published = self.directory.read_published()
            if self._is_others(published.record):
                return None
            is_current = published.release == self.commit
            with self.context.borrowed_mirror(lock) as mirror:
                if commit_of(self.commit) in mirror:
                    plan = self._plan(mirror, published.record)
                    if plan is None:
                        return None
                    if is_current and not self._is_directory():
                        if not self.is_repairing:
                            self._note_wrong(["it is gone"])
                            return None
                        self._restore(plan, mirror, lock)
                    return plan if self._remember() else None
        # The mirror was fetched afresh since this release. What it holds is sound, and other targets need it.
        if is_current:
            raise MirrorDamaged(f"{commit_of(self.commit)} is published, and the mirror does not have it")
        self.findings.note([f"releases/{self.commit} cannot be compared: the mirror does not have it any more"])
        return None

    def _plan(self, mirror: Mirror, record: PublishedRecord | None) -> TreePlan | None:
        """Return the release's tree as a plan from nothing; None where nothing tells what of its commit it is."""
        filters = read_filters(self.directory, record.filter if record is not None else WHOLE_TREE)
        try:
            return plan_release(mirror, Inventory((), (), filters), self.commit)
        except (SubdirectoryMissing, TreeUnsafe) as error:
            self.findings.note([f"releases/{self.commit} cannot be compared: {error}"])
            return None

    def _is_others(self, record: PublishedRecord | None) -> bool:
        # An operator may have let another repository take the target over since: then its lock guards it, not ours.
        return record is not None and record.repository != self.context.name

    def _is_directory(self) -> bool:
        try:
            return stat.S_ISDIR(os.lstat(self._path).st_mode)
        except FileNotFoundError:
            return False

    def _remember(self) -> bool:
        """Remember the release's inode and mtime; return whether it is there."""
        try:
            about = os.lstat(self._path)
        except FileNotFoundError:
            return False
        self._inode, self._sealed_ns = about.st_ino, about.st_mtime_ns
        return True

    def _is_still_there(self) -> bool:
        # By its inode: pushes may have recycled the release, and written another one of the same commit since.
        try:
            return os.lstat(self._path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def _compare(self, part: Part) -> Drift:
        return compare(
            self._path,
            part,
            self._workers,
            now=self.directory.clock(),
            check=self.context.check_deadline,
        )

    def _audit_part(self, part: Part) -> bool:
        """Compare a part, and repair it or mark the release; return whether to go on."""
        try:
            drift = self._compare(part)
        except OSError:
            # The tree was read without the lock: a push that recycled it explains any error.
            if self._is_still_there():
                raise
            return False
        trash: tuple[str, ...] = ()
        if drift:
            with self.context.locked() as lock:
                self.directory = self.directory.held_by(lock)
                if not self._is_still_there() or self._is_others(self.directory.read_record()):
                    return False
                # Compare again under the lock: the first comparison may have seen a push at work.
                suspected = part.only(drift.directories())
                drift = self._compare(suspected)
                if drift and not self.is_repairing:
                    self._note_wrong(drift.shown(_MAX_PATHS))
                elif drift and not self._is_current:
                    self._set_aside(drift)
                    return False
                elif drift:
                    trash = self._repair(suspected, drift, lock)
        discard(self.directory, trash, self.context.check_deadline)
        # A comparison lists a bounded number of paths that do not belong. Where it was cut, compare the part once more.
        self.reached += 0 if drift.is_cut and self.is_repairing else 1
        return True

    def _note_wrong(self, phrases: Iterable[str]) -> None:
        self.findings.is_any_wrong = True
        self.findings.note([f"releases/{self.commit} is not as the commit has it:", *phrases])

    def _set_aside(self, drift: Drift) -> None:
        """Mark a retired release, so that no run recycles it or flips to it; pruning removes it after its grace.

        It is not repaired: only readers that should be gone soon still use it, and for them it must not change.
        """
        self._break_seal()
        self.findings.is_any_set_aside = True
        self.findings.note([f"releases/{self.commit} was changed by somebody else, and is not used again:"])
        self.findings.note(drift.shown(_MAX_PATHS))

    def _repair(self, part: Part, drift: Drift, lock: HeldLock) -> tuple[str, ...]:
        """Repair what readers read; return the names in staging of what did not belong."""
        # First: killed from here on, the release is half repaired, and no run may recycle it.
        self._break_seal()
        paths = self.directory
        with self.context.borrowed_mirror(lock) as mirror:
            done = repair(
                paths,
                self.commit,
                (part, drift),
                budget=ByteBudget(partial(mirror.read, kind=BLOB)),
                workers=self._workers,
                check=partial(self._check, lock),
            )
        # Again: the repair changed the root's mtime, and `_seal` takes any mtime but the remembered one for a change
        # that somebody else made.
        self._break_seal()
        counts = self.findings.counts
        self.findings.counts = Counts(
            counts.files_written + done.counts.files_written,
            counts.files_removed + done.counts.files_removed,
            counts.bytes_written + done.counts.bytes_written,
        )
        if not self.findings.is_repaired:
            self.findings.note([f"releases/{self.commit}, which is published, was changed by somebody else; mended:"])
        self.findings.is_repaired = True
        self.findings.note(drift.shown(_MAX_PATHS))
        return done.trash

    def _check(self, lock: HeldLock) -> None:
        """Raise OutOfTime at the deadline, and LockLost where a pause cost the lock. Safe for threads."""
        lock.check_after_pause()
        self.context.check_deadline()

    def _restore(self, plan: TreePlan, mirror: Mirror, lock: HeldLock) -> None:
        """Write the current release anew, where `current` leads to nothing. Raises LockLost."""
        paths, step = self.directory, (NULL_OID, self.commit)
        name = work_name(*step, lock.new_token())
        for directory in (paths.releases, paths.staging):
            make_directories(directory)
        if found := free_trees(paths, list_names(paths.staging)).get(step):
            take_over(paths, found, name)
        else:
            make_directory(paths.staged(name), 0o755)
        # In staging, and renamed when it is complete: `current` names the release, so readers see it at once.
        with at_work(paths, name, step):
            written = check_out(
                paths.staged(name),
                plan,
                self._workers,
                read_blob=partial(mirror.read, kind=BLOB),
                journal=paths.staged(journal_name(name)),
                progress=lambda done, total: self._check(lock),
            )
        seal(paths.staged(name), paths.clock())
        if os.path.lexists(self._path):
            take_away(paths, self._path, trash_name())
        give_name(paths, paths.staged(name), self._path)
        self.findings.counts = written
        self.findings.is_repaired = True
        self.findings.note([f"releases/{self.commit}, which is published, was gone, and is written anew"])

    def _break_seal(self) -> None:
        seal(self._path, os.lstat(self._path).st_mtime, is_intact=False)
        self._remember()

    def _seal(self) -> None:
        """Seal a release that equals its commit, unless somebody changed it meanwhile."""
        if read_release(self._path, self.commit, is_sure=False).is_intact:
            return
        with self.context.locked() as lock:
            # The comparison held no lock. Any other mtime than the one it began with, or its repair set, is a change.
            is_same = self._is_still_there() and os.lstat(self._path).st_mtime_ns == self._sealed_ns
            if is_same and not self._is_others(self.directory.read_record()):
                lock.check()
                seal(self._path, self._sealed_ns / 1e9)
