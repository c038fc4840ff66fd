"""A target's directory: what is published there, what lies beside it, and the one step that readers see.

The order is staging, rename, flip, record, prune. Killed anywhere, `current` leads to the complete old tree or to the
complete new one, and the next run goes on from what it finds.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from handler.errors import TargetOccupied
from handler.mount.fs.files import write_whole
from handler.mount.releases.seal import read_release
from handler.mount.releases.strategy import Release
from handler.mount.target.layout import COPY, CURRENT, GIT, TargetPaths, is_commit, release_of
from handler.mount.target.record import PublishedRecord, read_record


@dataclass(frozen=True, slots=True)
class Published:
    """What stands at a target: the commit that `current` leads to, and the record of it."""

    commit: str | None
    record: PublishedRecord | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What lies beside `current`: the names in staging, and the releases."""

    staged: tuple[str, ...]
    releases: tuple[Release, ...]

    def has(self, commit: str) -> bool:
        """Whether the commit's release is there: `current` may lead nowhere after somebody removed it."""
        return any(each.commit == commit for each in self.releases)


class TargetDirectory:
    """The target's directory. Only the holder of the repository's lock may call more than `find`."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time, *, is_copy: bool = False) -> None:
        """Nothing is read or made yet. `is_copy`: a working copy is kept there."""
        self.paths = TargetPaths(path, is_copy)
        self.clock = clock

    @classmethod
    def at(cls, path: str, clock: Callable[[], float] = time.time) -> "TargetDirectory":
        """Return the directory of a target of which nobody says how it is kept: what stands there does."""
        return cls(path, clock, is_copy=os.path.lexists(os.path.join(path, COPY)))

    def read_published(self) -> Published:
        """Read what is published. Raises TargetOccupied where `current` is not a link of ours, and OSError.

        Of a working copy that is the commit of the remote that it was brought to last; local commits may be upon it.
        """
        if self.paths.is_copy:
            record = self.read_record()
            return Published(record.commit if record is not None else None, record)
        try:
            # Opened for reading and not just as a path: that makes an NFS client ask the server whether the directory
            # changed. What this host remembers of `current` may be a minute old, and another host have published since;
            # its release would look retired here, and be recycled under its readers.
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.paths.directory, flags)
        except FileNotFoundError:
            return Published(None, None)
        try:
            link = os.readlink(CURRENT, dir_fd=descriptor)
        except FileNotFoundError:
            return Published(None, None)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise TargetOccupied("what stands at the target's path was not made by git2efs") from None
            raise
        finally:
            os.close(descriptor)
        commit = release_of(link)
        if commit is None:
            raise TargetOccupied("`current` is a link that git2efs did not make")
        return Published(commit, read_record(self.paths.record))

    def read_record(self) -> PublishedRecord | None:
        """Read the record alone: it may be there without anything published. Raises OSError."""
        return read_record(self.paths.record)

    def list_releases(self, known: Collection[str] | None) -> Inventory:
        """See what lies beside `current`. Raises OSError.

        `known` names the releases where this process is sure of them, and that staging is empty: then no directory is
        listed. Their clocks are read all the same, as they tell whether somebody else changed them.
        """
        names = _list(self.paths.releases) if known is None else known
        releases = []
        for name in names:
            if is_commit(name):
                with suppress(FileNotFoundError):
                    releases.append(read_release(self.paths.release(name), name, is_sure=known is not None))
        return Inventory(tuple(_list(self.paths.staging)) if known is None else (), tuple(releases))

    def refuse_nested(self, mount: str) -> None:
        """Raise TargetOccupied where a directory on the way to a new target is a target itself.

        The two would sweep each other's staging. Configuration refuses what it can see of this; a deleted branch `x`
        whose tree is still there, and a new branch `x/staging`, are only seen here.
        """
        directory = self.paths.directory
        while len(directory) > len(mount):
            is_above = directory != self.paths.directory
            if os.path.lexists(os.path.join(directory, CURRENT)) and (is_above or self.paths.is_copy):
                raise TargetOccupied("a target with releases is at the target's path, or on the way to it")
            if os.path.lexists(os.path.join(directory, GIT)) and (is_above or not self.paths.is_copy):
                raise TargetOccupied("a git working copy is at the target's path, or on the way to it")
            directory = os.path.dirname(directory)

    def flip(self, link: str) -> float:
        """Put the temporary link in the place of `current`; returns when. The one step that readers see."""
        os.rename(link, self.paths.current)
        return self.clock()

    def write_record(self, record: PublishedRecord) -> None:
        """Replace `published.json`."""
        staged = stage(self.paths, "record", lambda path: write_whole(path, record.to_json()))
        os.rename(staged, self.paths.record)


def stage(paths: TargetPaths, kind: str, make: Callable[[str], None]) -> str:
    """Make something small in staging under a name of its own; returns its path. Raises OSError."""
    path = paths.staged(f"{kind}-{secrets.token_hex(8)}")
    try:
        make(path)
    except FileNotFoundError:  # somebody removed the directory; nothing of ours does
        os.makedirs(paths.staging, exist_ok=True)
        make(path)
    return path


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []
