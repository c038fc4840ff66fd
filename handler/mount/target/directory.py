"""A target's directory: what is published there, and its record. What both modes share."""

import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from handler.errors import LockLost, TargetOccupied
from handler.mount.fs.directories import make_directories, make_link, names_in, open_directory
from handler.mount.fs.files import open_regular, rename, unlink_if_there, write_all
from handler.mount.fs.lock import HeldLock
from handler.mount.target.layout import (
    COPY,
    CURRENT,
    GIT,
    RECORD,
    RELEASES,
    STAGING,
    TargetPaths,
    commit_of,
    is_filter_file,
    is_passing,
    is_release,
    is_staged,
    release_of,
)
from handler.mount.target.record import PublishedRecord, read_record

_MAX_SHOWN = 5
_TICK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Published:
    """What is published at a target: the commit that `current` leads to, the record of it, and the release's name.

    A working copy has no release.
    """

    commit: str | None
    record: PublishedRecord | None
    release: str | None = None

    @property
    def name(self) -> str | None:
        """The release's name; of a working copy the commit."""
        return self.release or self.commit

    @property
    def confirmed_commit(self) -> str | None:
        """The commit that the remote confirmed last: what readers have is what the rule publishes of it."""
        record = self.record
        is_of_this = record is not None and record.commit == self.commit
        return record.confirmed_commit or self.commit if record is not None and is_of_this else self.commit


@dataclass(frozen=True, kw_only=True)
class TargetDirectory(TargetPaths):
    """The directory of the target at `path`, relative to `mount`.

    Only the holder of the repository's lock may write. Raises OSError for what the mount answers.
    """

    mount: str
    path: str
    clock: Callable[[], float]
    lock: HeldLock | None = None
    """The lock of the run that writes here; None: nobody writes by this."""

    def held_by(self, lock: HeldLock) -> "TargetDirectory":
        """Return the directory for the holder of a lock that is stamped: with the mount's clock, and its fence."""
        return replace(self, clock=lock.now, lock=lock)

    def guarded_by(self, lock: HeldLock) -> "TargetDirectory":
        """Return the directory for the holder of a lock that is not stamped: with its fence, and this host's clock."""
        return replace(self, lock=lock)

    def check_lock(self) -> None:
        """Raise LockLost where the run that writes here does not hold the lock any more."""
        assert self.lock is not None, "only the lock's holder changes a target"
        self.lock.check()

    @classmethod
    def of(
        cls, mount: str, path: str, clock: Callable[[], float] = time.time, *, is_copy: bool = False
    ) -> "TargetDirectory":
        """Return the target's directory. `is_copy`: the target is a working copy."""
        return cls(root=f"{mount}/{path}", is_copy=is_copy, mount=mount, path=path, clock=clock)

    @classmethod
    def at(cls, mount: str, path: str, clock: Callable[[], float] = time.time) -> "TargetDirectory":
        """Return the directory of a target whose mode nobody names: what is on the mount tells it."""
        return cls.of(mount, path, clock, is_copy=os.path.lexists(f"{mount}/{path}/{COPY}"))

    def read_published(self) -> Published:
        """Read what is published. Raises TargetOccupied where `current` is not a link of ours.

        Of a working copy that is the remote's commit that it was brought to last; local commits may follow it.
        """
        if self.is_copy:
            record = self.read_record()
            return Published((record.commit or None) if record is not None else None, record)
        try:
            # Opened for reading, not only as a path: then an NFS client asks the server whether the directory changed.
            # What this host remembers of `current` may be a minute old. If another host published since, its release
            # would look retired here, and this run would recycle it under its readers.
            with open_directory(self.root) as descriptor:
                link = os.readlink(CURRENT, dir_fd=descriptor)
        except FileNotFoundError:
            return Published(None, None)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise TargetOccupied("what stands at the target's path was not made by git2efs") from None
            if self._leads_through_a_target(error):
                # Whether that one goes is decided when the commit of this one's ref is known.
                return Published(None, None)
            raise
        # Somebody else's link stays: its readers may rely on it, and `flip` would replace it without a word.
        release = release_of(link)
        if release is None:
            raise TargetOccupied("`current` is a link that git2efs did not make")
        return Published(commit_of(release), self.read_record(), release)

    def read_record(self) -> PublishedRecord | None:
        """Read the record alone: it may be there while nothing is published."""
        try:
            return read_record(self.record, now=self.clock())
        except OSError as error:
            if self._leads_through_a_target(error):
                return None
            raise

    def _leads_through_a_target(self, error: OSError) -> bool:
        """Whether the error is that the path leads through another target's `current` or `published.json`."""
        directory = os.path.dirname(self.root) if error.errno in (errno.ENOTDIR, errno.ELOOP) else ""
        while len(directory) > len(self.mount):
            if holds_target(directory):
                return True
            directory = os.path.dirname(directory)
        return False

    def reserve_record(self) -> str:
        """Make the empty file that becomes the record, and keep it open; return its path. Only the lock's holder may.

        Made before a look at the lock, it needs no other look after the flip: who takes the lock later removes it.
        """
        return stage(self, "record", self._keep_open)

    def _keep_open(self, path: str) -> None:
        assert self.lock is not None
        self.lock.kept[path] = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def write_record(self, record: PublishedRecord, reserved: str = "") -> None:
        """Replace `published.json`, by the file that `reserve_record` made, if it did. Raises LockLost."""
        # Written beside and renamed: a reader, or the next run after a kill, finds the old record or the new one.
        staged = reserved or self.reserve_record()
        assert self.lock is not None
        descriptor = self.lock.kept.pop(staged)
        try:
            write_all(descriptor, record.to_json())
        finally:
            os.close(descriptor)
        if not reserved:
            # As late as can be: the lock may have been lost since the run's last look.
            self.check_lock()
        try:
            rename(staged, self.record)
        except FileNotFoundError:
            # The next holder removes what a stopped run made ready, before it writes anything itself.
            raise LockLost("another run took the repository's lock before the record was written") from None

    def refuse_nested(self) -> None:
        """Raise TargetOccupied where another target is at the path of a new one, or on the way to it.

        The two would sweep each other's staging. The configuration is checked for what it can see of this. A deleted
        branch `x` whose tree is still there, and a new branch `x/staging`, are only seen here.
        """
        directory = self.root
        while len(directory) > len(self.mount):
            # A working copy and releases exclude each other at one path, too: neither knows what the other may remove.
            is_above = directory != self.root
            if has_releases(directory) and (is_above or self.is_copy):
                raise TargetOccupied("a target with releases is at the target's path, or on the way to it")
            if os.path.lexists(os.path.join(directory, GIT)) and (is_above or not self.is_copy):
                raise TargetOccupied("a git working copy is at the target's path, or on the way to it")
            directory = os.path.dirname(directory)

    def refuse_foreign(self) -> None:
        """Raise TargetOccupied where the directory of a target with releases holds what git2efs does not make there.

        A target of another repository below `releases` or `staging`, say: the two would be in each other's way.
        """
        places: tuple[tuple[str, Callable[[str], bool]], ...] = (
            (self.root, {CURRENT, RELEASES, STAGING, RECORD}.__contains__),
            (self.releases, lambda name: is_release(name) or is_filter_file(name)),
            (self.staging, is_staged),
        )
        for directory, is_ours in places:
            # An operator's file is refused too: nobody can tell later whether it was there for a reason.
            foreign = sorted(name for name in list_names(directory) if not is_ours(name))
            if foreign:
                shown = ", ".join(map(repr, foreign[:_MAX_SHOWN]))
                raise TargetOccupied(f"the target is new, and its directory holds what git2efs did not make: {shown}")


def list_names(path: str) -> list[str]:
    """Return the names in a directory; none where there is no directory. Raises OSError."""
    try:
        return names_in(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return []


def has_releases(directory: str) -> bool:
    """Whether a target with releases is at a directory: its `current` is a link of ours. Raises OSError."""
    # By what it is, and not by its name: a branch or a repository may be called `current`.
    try:
        return release_of(os.readlink(os.path.join(directory, CURRENT))) is not None
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            raise
        return False


def holds_target(directory: str) -> bool:
    """Whether a target is at a directory, or what is left of one: link, record or copy of ours. Raises OSError."""
    for name, is_kind in ((RECORD, stat.S_ISREG), (COPY, stat.S_ISDIR)):
        with suppress(FileNotFoundError, NotADirectoryError):
            if is_kind(os.lstat(os.path.join(directory, name)).st_mode):
                return True
    return has_releases(directory)


def let_clock_tick(since: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    """Wait until a file that is written now gets a later mtime than one that was written at the time `since`."""
    # A file system takes its times from a clock that ticks up to 100 times a second.
    left = since + _TICK_SECONDS - clock()
    if left > 0:
        sleep(min(left, _TICK_SECONDS))


def stage(paths: TargetPaths, kind: str, make: Callable[[str], None]) -> str:
    """Make something small in staging under a name of its own; returns its path."""
    # A new name each time: a fixed one, left by a killed run, would wedge every later run.
    path = paths.staged(f"{kind}-{secrets.token_hex(8)}")
    try:
        make(path)
    except FileNotFoundError:  # somebody removed staging; git2efs never does
        make_directories(paths.staging)
        make(path)
    return path


def revoke(directory: TargetDirectory, staged: Iterable[str], published: str | None) -> None:
    """Remove the links and records that another run made ready, so that it cannot flip, or record, when it wakes.

    Every holder that changes what readers have, or the record, calls it first. `staged` is what lies in staging, listed
    after the lock's stamp. Raises LockLost where that run flipped until then: `published` is what readers had, by name.
    """
    ready = [name for name in staged if is_passing(name) and name.startswith(("link-", "record-"))]
    for name in ready:
        # Where others put a directory under such a name, nothing can be renamed over `current` from there.
        with suppress(IsADirectoryError):
            unlink_if_there(directory.staged(name))
    if ready and directory.read_published().name != published:
        raise LockLost("a run that had lost the lock flipped while this one began")


def give_name(directory: TargetDirectory, staged: str, path: str) -> None:
    """Rename what is complete in staging to `path`, where others find it. Raises LockLost."""
    directory.check_lock()
    rename(staged, path)


def take_away(directory: TargetDirectory, path: str, name: str) -> None:
    """Rename what stands at `path` to `name` in staging; put it back, and raise LockLost, where the lock was lost."""
    # Read after the rename: between a reading and the rename another run may flip to what stands there.
    rename(path, directory.staged(name))
    try:
        directory.check_lock()
    except LockLost:
        with suppress(OSError):
            _put_back(directory.staged(name), path)
        raise


def _put_back(staged: str, path: str) -> None:
    if os.path.islink(staged):
        # A rename would replace the link that another run made meanwhile. A directory replaces no full one.
        make_link(os.readlink(staged), path)
        os.unlink(staged)
    else:
        rename(staged, path)
