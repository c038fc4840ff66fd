"""One release against its commit: compared without the lock, marked or mended under it."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import MirrorDamaged
from handler.model import NULL_OID, Counts, TreePlan
from handler.mount.fs.checkout import check_out
from handler.mount.fs.lock import HeldLock, locked
from handler.mount.git.mirror import Mirror
from handler.mount.git.objects import BLOB, TREE
from handler.mount.git.plan import plan_change
from handler.mount.git.store_pool import StorePool, discard_mirror
from handler.mount.releases.build import trash_name
from handler.mount.releases.prune import discard
from handler.mount.releases.repair import repair
from handler.mount.releases.seal import read_release, seal
from handler.mount.releases.verify import Drift, Part, compare, parts_of
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.layout import RepositoryPaths, journal_name, patch_name
from handler.settings import Settings

_MOST_PATHS = 20
_MOST_NOTES = 60


@dataclass(frozen=True, slots=True)
class RepositoryContext:
    """A repository's places, what it takes to work there, and until when."""

    paths: RepositoryPaths
    settings: Settings
    mirrors: StorePool
    clock: Callable[[], float]
    deadline: Deadline = NO_DEADLINE

    def check_deadline(self) -> None:
        """Raise OutOfTime when the time has come. Safe for threads."""
        self.deadline.check("the chores go on another time")

    @contextmanager
    def locked(self) -> Iterator[HeldLock]:
        """Hold the repository's lock, with a mark, so that warm processes look afresh. Raises LockTimeout, OSError."""
        with locked(self.paths.lock, self.deadline.bound(self.settings.lock_seconds)) as hold:
            hold.stamp_generation()
            yield hold

    @contextmanager
    def borrowed_mirror(self) -> Iterator[Mirror]:
        """Lend the mirror to the lock's holder. A damaged one is emptied, as reconciling does it; raises it too."""
        try:
            with self.mirrors.borrow(self.paths.mirror) as mirror:
                yield mirror
        except MirrorDamaged:
            discard_mirror(self.paths.mirror)
            raise


@dataclass(slots=True)
class AuditFindings:
    """What was found and done at one target. `is_mended` is about `current`, `is_any_set_aside` about the others."""

    counts: Counts = field(default_factory=Counts)
    notes: list[str] = field(default_factory=list)
    is_mended: bool = False
    is_any_set_aside: bool = False
    is_any_wrong: bool = False
    """Something was found that is not as its commit has it, and left so: nobody asked to mend it."""

    def note(self, phrases: Iterable[str]) -> None:
        """Note what the log should say, as far as there is room."""
        self.notes += islice(phrases, max(0, _MOST_NOTES - len(self.notes)))


@dataclass(slots=True)
class ReleaseAudit:
    """Inspects one release. `reached` is the number of the part that is to be compared next.

    The lock is not held while the tree is read, which takes minutes that no push should wait for: only the plan is made
    under it, and what looks wrong is looked at again under it, since a push may just have recycled the release.
    """

    context: RepositoryContext
    directory: TargetDirectory
    commit: str
    findings: AuditFindings
    reached: int = 0
    is_mending: bool = True
    """Whether to mend and mark what is found; else it is noted alone."""
    _is_slow: bool = False
    _inode: int = 0
    _sealed_ns: int = 0
    """The release's mtime as it was last seen, or set: another one says that somebody was there."""

    def run(self) -> None:
        """Compare the release, from part `reached` on, and do what is to be done.

        Raises OutOfTime, MirrorDamaged, LockTimeout, MountFull and OSError; then it may be run again from `reached`.
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
        if is_whole and self.is_mending:
            self._seal()

    @property
    def _path(self) -> str:
        return self.directory.paths.release(self.commit)

    def _begin(self) -> TreePlan | None:
        """Return the commit's tree, None where there is nothing to be compared."""
        with self.context.locked() as hold:
            self._is_slow = hold.is_slow
            is_current = self.directory.read_published().commit == self.commit
            with self.context.borrowed_mirror() as mirror:
                if self.commit in mirror:
                    plan = _plan(mirror, self.commit)
                    if is_current and not self._is_directory():
                        if not self.is_mending:
                            self._note_wrong(["it is gone"])
                            return None
                        self._restore(plan, mirror)
                    return plan if self._look() else None
        # The mirror was fetched afresh since. What it holds is sound, and other targets need it.
        if is_current:
            raise MirrorDamaged(f"{self.commit} is published, and the mirror does not have it")
        self.findings.note([f"releases/{self.commit} cannot be compared: the mirror does not have it any more"])
        return None

    def _is_directory(self) -> bool:
        try:
            return stat.S_ISDIR(os.lstat(self._path).st_mode)
        except FileNotFoundError:
            return False

    def _look(self) -> bool:
        """Remember the release as it is now; returns whether it is there."""
        try:
            about = os.lstat(self._path)
        except FileNotFoundError:
            return False
        self._inode, self._sealed_ns = about.st_ino, about.st_mtime_ns
        return True

    def _is_still_there(self) -> bool:
        try:
            return os.lstat(self._path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def _compare(self, part: Part) -> Drift:
        return compare(
            self._path,
            part,
            workers=self.context.settings.checkout_workers,
            is_slow=self._is_slow,
            now=self.context.clock(),
            pulse=self.context.check_deadline,
        )

    def _audit_part(self, part: Part) -> bool:
        """Compare a part, and mend it or mark the release; returns whether to go on."""
        try:
            drift = self._compare(part)
        except OSError:
            if self._is_still_there():
                raise
            return False
        trash: tuple[str, ...] = ()
        if drift:
            with self.context.locked():
                if not self._is_still_there():
                    return False
                suspected = part.only(drift.directories())
                drift = self._compare(suspected)
                if drift and not self.is_mending:
                    self._note_wrong(drift.shown(_MOST_PATHS))
                elif drift and self.directory.read_published().commit != self.commit:
                    self._set_aside(drift)
                    return False
                elif drift:
                    trash = self._mend(suspected, drift)
        discard(self.directory.paths, trash, self.context.check_deadline)
        # Of very much that does not belong there only so much is told, and removed, at a time.
        self.reached += 0 if drift.is_cut and self.is_mending else 1
        return True

    def _note_wrong(self, phrases: Iterable[str]) -> None:
        self.findings.is_any_wrong = True
        self.findings.note([f"releases/{self.commit} is not as the commit has it:", *phrases])

    def _set_aside(self, drift: Drift) -> None:
        """See to it that a kept release is never recycled nor flipped to, and is pruned after its grace.

        It is not mended: nobody needs it but readers who should be gone soon, and to them it should stay as it is.
        """
        self._break_seal()
        self.findings.is_any_set_aside = True
        self.findings.note([f"releases/{self.commit} was changed by somebody else, and is not used again:"])
        self.findings.note(drift.shown(_MOST_PATHS))

    def _mend(self, part: Part, drift: Drift) -> tuple[str, ...]:
        """Mend what readers read; returns the names in staging of what did not belong."""
        self._break_seal()  # first: killed from here on, a half-mended tree is nobody's base
        settings, paths = self.context.settings, self.directory.paths
        with self.context.borrowed_mirror() as mirror:
            done = repair(
                paths,
                self.commit,
                part,
                drift,
                read_blob=partial(mirror.read, kind=BLOB),
                workers=settings.checkout_workers,
                is_slow=self._is_slow,
                pulse=self.context.check_deadline,
            )
        self._break_seal()
        counts = self.findings.counts
        self.findings.counts = Counts(
            counts.files_written + done.written.files,
            counts.files_removed + done.removed,
            counts.bytes_written + done.written.bytes,
        )
        if not self.findings.is_mended:
            self.findings.note([f"releases/{self.commit}, which is published, was changed by somebody else; mended:"])
        self.findings.is_mended = True
        self.findings.note(drift.shown(_MOST_PATHS))
        return done.trash

    def _restore(self, plan: TreePlan, mirror: Mirror) -> None:
        """Make a release that is gone, while `current` leads to nothing: beside, so that it is never half there."""
        paths, step = self.directory.paths, (NULL_OID, self.commit)
        staged = paths.staged(patch_name(*step))
        os.makedirs(paths.releases, exist_ok=True)
        os.makedirs(staged, exist_ok=True)
        written = check_out(
            staged,
            plan,
            read_blob=partial(mirror.read, kind=BLOB),
            workers=self.context.settings.checkout_workers,
            is_slow=self._is_slow,
            journal=paths.staged(journal_name(*step)),
            progress=lambda done, total: self.context.check_deadline(),
        )
        seal(staged, self.context.clock())
        if os.path.lexists(self._path):
            os.rename(self._path, paths.staged(trash_name()))
        os.rename(staged, self._path)
        self.findings.counts = Counts(written.files, 0, written.bytes)
        self.findings.is_mended = True
        self.findings.note([f"releases/{self.commit}, which is published, was gone, and is written anew"])

    def _break_seal(self) -> None:
        seal(self._path, os.lstat(self._path).st_mtime, is_intact=False)
        self._look()

    def _seal(self) -> None:
        """Seal a release that was found, or made, equal to its commit; unless somebody was there meanwhile."""
        if read_release(self._path, self.commit, is_sure=False).is_intact:
            return
        with self.context.locked():
            if self._is_still_there() and os.lstat(self._path).st_mtime_ns == self._sealed_ns:
                seal(self._path, self._sealed_ns / 1e9)


def _plan(mirror: Mirror, commit: str) -> TreePlan:
    """Return the commit's tree as a plan from nothing.

    External links are let pass: whether they may be published was asked when they were.
    """
    return plan_change(
        partial(mirror.read, kind=TREE),
        partial(mirror.read, kind=BLOB),
        None,
        mirror.tree_of(commit),
        allow_external_links=True,
    )
