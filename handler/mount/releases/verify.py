"""Compare a release with its commit's tree: what is missing, what is not as the commit has it, what does not belong.

It compares everything: names, kinds, modes, contents, links. It needs no lock; what a push under way makes look wrong,
the caller compares again under the lock.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from handler.mount.fs.directories import DirectoryHandles, open_directory
from handler.mount.fs.files import open_to_read
from handler.mount.fs.parallel import Item, Stage, Workers, batches, path_of
from handler.mount.fs.plan import FileWrite, LinkWrite, TreePlan
from handler.mount.git.objects import BLOB, Objects
from handler.mount.git.plan import plan_change
from handler.mount.releases.inventory import Inventory

PART_ENTRIES = 5000
"""The size of a part. It bounds memory, and how long a repair holds the lock."""
MOST_EXTRA = 100_000
SILLY_SECONDS = 86_400
"""An NFS client keeps a removed file that is still open as `.nfs...`, and removes it with the last close. One that is
older than this belongs to a client that died."""

_SILLY = re.compile(rb"\.nfs[0-9a-f]{8,}")
_READ_BYTES = 1024 * 1024
_PERMISSIONS = 0o755
"""The bits of a mode that are compared: the owner's, and what all others need to read. The umask decides the rest."""
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_NOT_READABLE = (*_NOT_THERE, errno.EACCES, errno.EPERM, errno.ENXIO, errno.EISDIR)


@dataclass(frozen=True, slots=True)
class Drift:
    """How a directory differs from the tree; paths relative to its root, sorted. The root itself is b"".

    `changed` is there, but with another kind, mode, content or link target than the tree has. Of a directory that is
    missing, everything below is `missing` too; of one that does not belong, `extra` has the directory alone. `is_cut`:
    more does not belong than `extra` has; compare again after the repair.
    """

    missing: tuple[bytes, ...] = ()
    changed: tuple[bytes, ...] = ()
    extra: tuple[bytes, ...] = ()
    is_cut: bool = False

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.missing or self.changed or self.extra)

    def directories(self) -> set[bytes]:
        """Return the directories in which something differs, to compare them again."""
        paths = (*self.missing, *self.changed, *self.extra)
        # A changed directory stands for itself, a missing one for the directory that it should be in.
        return {path.rpartition(b"/")[0] for path in paths} | set(self.changed)

    def shown(self, most: int = 20) -> Iterator[str]:
        """Yield a phrase for each path, at most `most`, and one for the rest."""
        kinds = (("missing", self.missing), ("changed", self.changed), ("extra", self.extra))
        paths = [f"{kind} {path[-200:]!r}" for kind, found in kinds for path in found[:most]]
        yield from paths[:most]
        rest = sum(len(found) for _, found in kinds) - len(paths[:most])
        if rest:
            yield f"and {rest} more"


@dataclass(frozen=True, slots=True)
class Part:
    """Some directories of a tree, and what each has to contain: the paths of directories, files, links."""

    directories: dict[bytes, Sequence[Item]]

    def only(self, paths: Collection[bytes]) -> "Part":
        """Return the part of these directories alone."""
        return Part({path: items for path, items in self.directories.items() if path in paths})

    def items(self) -> dict[bytes, Item]:
        """Return everything in it by its path."""
        return {path_of(item): item for items in self.directories.values() for item in items}


def plan_release(objects: Objects, inventory: Inventory, release: str) -> TreePlan:
    """Return a release's tree as a plan from nothing.

    Raises TreeUnsafe where nothing tells what of its commit it is, SubdirectoryMissing, MirrorDamaged.
    """
    root_of, read = inventory.trees(objects, inventory.filtered(objects))
    read_link = partial(objects.read, kind=BLOB)
    # Whether external links may be published was decided when the release was.
    return plan_change(read, read_link, None, root_of(release), allow_external_links=True)


def parts_of(plan: TreePlan) -> list[Part]:
    """Divide the tree of a plan from nothing into parts. The same tree has the same parts, in the same order."""
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
    root: str, part: Part, workers: Workers, *, now: float, check: Callable[[], object] = lambda: None
) -> Drift:
    """Compare a part of a tree with what lies below `root`.

    `now` is the mount's time. `check` is called all the while, in any thread; what it raises ends the comparison.
    Raises OSError; FileNotFoundError or NotADirectoryError where there is no directory `root`.
    """
    comparison = _Comparison(part, now, check)
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
    check: Callable[[], object]
    missing: set[bytes] = field(default_factory=set)
    changed: set[bytes] = field(default_factory=set)
    extra: set[bytes] = field(default_factory=set)
    present: dict[bytes, FileWrite] = field(default_factory=dict)
    """Regular files where the tree has them, to be read."""

    def look(self, directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
        """List directories, and compare names, kinds and links."""
        # One listing tells the kinds, so that a file costs no call here. Contents come later, in batches of their own:
        # one directory may hold most of the files.
        for path in paths:
            self.check()
            wanted = {path_of(item).rpartition(b"/")[2]: item for item in self.part.directories[path]}
            with ExitStack() as stack:
                try:
                    opened = open_directory(b".", directory=directories.descriptor(path))
                    descriptor = stack.enter_context(opened)
                except OSError as error:
                    if error.errno not in _NOT_THERE:
                        raise
                    self.missing.update(map(path_of, wanted.values()))
                    continue
                if os.fstat(descriptor).st_mode & _PERMISSIONS != _PERMISSIONS:
                    self.changed.add(path)
                self._look(path, wanted, descriptor)
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
        """Read files, and compare modes and contents. A file that is not large costs an open, a read and a close."""
        for item in items:
            self.check()
            with ExitStack() as stack:
                try:
                    directory, name = directories.parent(item.path)
                    descriptor = stack.enter_context(open_to_read(name, directory=directory))
                except OSError as error:
                    if error.errno == errno.ENOENT:
                        self.missing.add(item.path)
                    elif error.errno in _NOT_READABLE:
                        # Something took its place since the directory was listed; or its owner may not read it.
                        self.changed.add(item.path)
                    else:
                        raise
                    continue
                if not self._is_right(item, descriptor):
                    self.changed.add(item.path)
        return 0

    def _is_right(self, item: FileWrite, descriptor: int) -> bool:
        about = os.fstat(descriptor)  # costs no round trip: the open told it
        wanted = 0o755 if item.is_executable else 0o644
        if about.st_mode & _PERMISSIONS != wanted:
            return False
        digest = hashlib.sha1(b"blob %d\0" % about.st_size, usedforsecurity=False)
        left = about.st_size
        while left > 0:
            # Ask for one byte more than is left: a shorter answer is the end, and saves the read that would find it.
            content = os.read(descriptor, min(left + 1, _READ_BYTES))
            if not content:
                return False
            digest.update(content)
            left -= len(content)
            self.check()
        return left == 0 and digest.hexdigest().encode() == item.blob
