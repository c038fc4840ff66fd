"""Compare a release with its commit's tree: what is missing, what is not as the commit has it, what does not belong.

Everything is looked at: names, kinds, modes, contents, links. Nobody has to hold the lock for it; what a change under
way makes look wrong is to be compared again under the lock.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from handler.model import FileWrite, LinkWrite, TreePlan
from handler.mount.fs.directories import DirectoryHandles
from handler.mount.fs.parallel import Item, Stage, Workers, batches, path_of

PART_ENTRIES = 5000
"""So much is compared, and mended, at a time: it bounds memory, and how long the lock is held for mending."""
MOST_EXTRA = 100_000
SILLY_SECONDS = 86_400
"""An NFS client keeps a removed file that is still open as `.nfs...`, and removes it with the last close. An older one
is its client's that died."""

_SILLY = re.compile(rb"\.nfs[0-9a-f]{8,}")
_READ_BYTES = 1024 * 1024
_PERMISSIONS = 0o755
"""What of a mode is compared: the owner's bits, and what all others need to read. The rest hangs on the umask."""
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not blocking: a pipe that took a file's place would be waited on for ever."""
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Drift:
    """How a directory differs from the tree; paths relative to its root, sorted. The root itself is b"".

    `changed` is there and is not what the tree has: another kind, mode, content or link target. Below a directory that
    is not there all is `missing`; of one that should not be there, `extra` is the directory alone. `is_cut` says that
    there is more that does not belong, which is to be looked for again.
    """

    missing: tuple[bytes, ...] = ()
    changed: tuple[bytes, ...] = ()
    extra: tuple[bytes, ...] = ()
    is_cut: bool = False

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.missing or self.changed or self.extra)

    def directories(self) -> set[bytes]:
        """Return the directories in which something differs, for a part that looks again."""
        paths = (*self.missing, *self.changed, *self.extra)
        # A changed directory is told by itself, a missing one by the one that it should be in.
        return {path.rpartition(b"/")[0] for path in paths} | set(self.changed)

    def shown(self, most: int = 20) -> Iterator[str]:
        """Yield a phrase a path, at most so many, and one for the rest."""
        kinds = (("missing", self.missing), ("changed", self.changed), ("extra", self.extra))
        paths = [f"{kind} {path[-200:]!r}" for kind, found in kinds for path in found[:most]]
        yield from paths[:most]
        rest = sum(len(found) for _, found in kinds) - len(paths[:most])
        if rest:
            yield f"and {rest} more"


@dataclass(frozen=True, slots=True)
class Part:
    """Some directories of a tree, and everything that is to lie in each: a directory's path, or a file or link."""

    directories: dict[bytes, Sequence[Item]]

    def only(self, paths: Collection[bytes]) -> "Part":
        """Return the part of these directories alone."""
        return Part({path: items for path, items in self.directories.items() if path in paths})

    def items(self) -> dict[bytes, Item]:
        """Return everything in it by its path."""
        return {path_of(item): item for items in self.directories.values() for item in items}


def parts_of(plan: TreePlan) -> list[Part]:
    """Cut the tree of a plan from nothing into parts: the same ones, in the same order, for the same tree."""
    directories: dict[bytes, list[Item]] = {path: [] for path in (b"", *plan.made_directories)}
    items: tuple[Item, ...] = (*plan.made_directories, *plan.files, *plan.links)
    for item in items:
        directories[path_of(item).rpartition(b"/")[0]].append(item)
    parts, size = [Part({})], 0
    for path, within in directories.items():
        if size and size + len(within) + 1 > PART_ENTRIES:
            parts.append(Part({}))
            size = 0
        parts[-1].directories[path] = within
        size += len(within) + 1
    return parts


def compare(
    root: str, part: Part, workers: Workers, *, now: float, pulse: Callable[[], object] = lambda: None
) -> Drift:
    """Compare a part of a tree with what lies below `root`.

    `now` is the mount's time. `pulse` is called all the while, by any thread; what it raises ends the comparison.
    Raises OSError; FileNotFoundError or NotADirectoryError where there is no directory `root`.
    """
    comparison = _Comparison(part, now, pulse)
    open_root = partial(DirectoryHandles, root)
    workers.run(open_root, [Stage(comparison.look, [batches(list(part.directories))])])
    workers.run(open_root, [Stage(comparison.read, [batches(list(comparison.present.values()))])])
    found = (comparison.missing, comparison.changed, comparison.extra)
    missing, changed, extra = (tuple(sorted(paths)) for paths in found)
    return Drift(missing, changed, extra, len(extra) >= MOST_EXTRA)


@dataclass(slots=True)
class _Comparison:
    """What a comparison has found so far. Several threads add to it; each may add the same again."""

    part: Part
    now: float
    pulse: Callable[[], object]
    missing: set[bytes] = field(default_factory=set)
    changed: set[bytes] = field(default_factory=set)
    extra: set[bytes] = field(default_factory=set)
    present: dict[bytes, FileWrite] = field(default_factory=dict)
    """Regular files where the tree has them, to be read."""

    def look(self, directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
        """See what lies in directories: kinds, links, names; contents come later, as there are many in one directory.

        One listing tells the kinds, so that a file costs no call here.
        """
        for path in paths:
            self.pulse()
            wanted = {path_of(item).rpartition(b"/")[2]: item for item in self.part.directories[path]}
            try:
                descriptor = os.open(b".", _DIRECTORY_FLAGS, dir_fd=directories.descriptor(path))
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                self.missing.update(map(path_of, wanted.values()))
                continue
            try:
                if os.fstat(descriptor).st_mode & _PERMISSIONS != _PERMISSIONS:
                    self.changed.add(path)
                self._look(path, wanted, descriptor)
            finally:
                os.close(descriptor)
        return 0

    def _look(self, path: bytes, wanted: dict[bytes, Item], descriptor: int) -> None:
        prefix = path + b"/" if path else b""
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                item = wanted.pop(name, None)
                if item is None:
                    if len(self.extra) < MOST_EXTRA and not self._is_held_open(name, descriptor):
                        self.extra.add(prefix + name)
                elif isinstance(item, FileWrite):
                    if entry.is_file(follow_symlinks=False):
                        self.present[item.path] = item
                    else:
                        self.changed.add(item.path)
                elif isinstance(item, LinkWrite):
                    if not entry.is_symlink() or os.fsencode(os.readlink(name, dir_fd=descriptor)) != item.target:
                        self.changed.add(item.path)
                elif not entry.is_dir(follow_symlinks=False):
                    self.changed.add(item)
        self.missing.update(map(path_of, wanted.values()))

    def _is_held_open(self, name: bytes, descriptor: int) -> bool:
        if not _SILLY.fullmatch(name):
            return False
        try:
            about = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return True
        return stat.S_ISREG(about.st_mode) and self.now - about.st_ctime < SILLY_SECONDS

    def read(self, directories: DirectoryHandles, items: Sequence[FileWrite]) -> int:
        """Read files, and compare modes and contents; an open, a read and a close each, unless they are large."""
        for item in items:
            self.pulse()
            try:
                directory, name = directories.parent(item.path)
                descriptor = os.open(name, _FILE_FLAGS, dir_fd=directory)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    self.missing.add(item.path)
                elif error.errno in (*_NOT_THERE, errno.EACCES, errno.EPERM, errno.ENXIO):
                    # Something took its place since the directory was listed; or its owner may not read it.
                    self.changed.add(item.path)
                else:
                    raise
                continue
            try:
                if not self._is_right(item, descriptor):
                    self.changed.add(item.path)
            finally:
                os.close(descriptor)
        return 0

    def _is_right(self, item: FileWrite, descriptor: int) -> bool:
        about = os.fstat(descriptor)  # told by the open, so no round trip
        wanted = 0o755 if item.is_executable else 0o644
        if not stat.S_ISREG(about.st_mode) or about.st_mode & _PERMISSIONS != wanted:
            return False
        digest = hashlib.sha1(b"blob %d\0" % about.st_size, usedforsecurity=False)
        left = about.st_size
        while left > 0:
            # One more than is there: what comes short of it is the end, and no second read has to find that.
            content = os.read(descriptor, min(left + 1, _READ_BYTES))
            if not content:
                return False
            digest.update(content)
            left -= len(content)
            self.pulse()
        return left == 0 and digest.hexdigest().encode() == item.blob
