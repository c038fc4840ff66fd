"""A consumer on another host: reads a target through the second mount, by listing and by name; keeps things open."""

import errno
import os
from collections import deque
from pathlib import Path

from testing.repositories import Tree, snapshot

_LINK, _DIRECTORY = 0o120000, 0o40000
_HELD = 24


class Reader:
    """Reads the target at `target`. What it remembers of it (its NFS client's caches) is what the tests are about."""

    def __init__(self, target: Path) -> None:
        """Nothing is read yet."""
        self.target = target
        self._known: set[bytes] = set()
        self._files: deque[tuple[int, bytes]] = deque()
        self._directories: deque[int] = deque()

    def look(self) -> str:
        """Return the commit that `current` names, as the server has it now.

        Opening a directory is what makes an NFS client ask whether it changed; without it the old link would be seen
        for up to a minute. Everything below the link stays as the client remembers it.
        """
        os.close(os.open(self.target, os.O_RDONLY | os.O_DIRECTORY))
        return self.remembered()

    def remembered(self) -> str:
        """Return the commit that `current` names, as this host's client believes."""
        return os.path.basename(os.readlink(self.target / "current"))

    def differences(self, tree: Tree, *, by_name_first: bool = True) -> list[str]:
        """Return where the whole tree that is read through `current` is not `tree`, a line each."""
        ways = [self._by_name, self._by_listing]
        found = [line for way in (ways if by_name_first else ways[::-1]) for line in way(tree)]
        self._known |= {path[:at] for path in tree for at in range(len(path) + 1) if path[at : at + 1] in (b"/", b"")}
        return found

    def hold(self, tree: Tree) -> None:
        """Keep the deepest files of the tree open, and the directories that they are in."""
        root = os.fsencode((self.target / "current").resolve())
        deepest = sorted((path for path, about in tree.items() if about[0] not in (_LINK, _DIRECTORY)), key=_depth)
        for path in deepest[-3:] + deepest[:1]:
            self._files.append((os.open(root + b"/" + path, os.O_RDONLY), tree[path][1]))
            self._directories.append(os.open(os.path.dirname(root + b"/" + path), os.O_RDONLY | os.O_DIRECTORY))
        while len(self._files) > _HELD:
            os.close(self._files.popleft()[0])
            os.close(self._directories.popleft())

    def broken_promises(self) -> int:
        """Return how many of the files that are held open do not hold any more what they held when they were opened.

        The pages that the client remembers are dropped first, so that it has to ask. Where the server has forgotten a
        removed file, ESTALE is the honest answer.
        """
        return sum(not _still_holds(file, content) for file, content in self._files)

    def close(self) -> None:
        """Close what is held."""
        while self._files:
            os.close(self._files.popleft()[0])
            os.close(self._directories.popleft())

    def _by_listing(self, tree: Tree) -> list[str]:
        try:
            found = snapshot(self.target / "current")
        except OSError as error:
            return [f"listing: {error}"]
        return [f"listed: {path!r}" for path in sorted(tree.keys() | found.keys()) if tree.get(path) != found.get(path)]

    def _by_name(self, tree: Tree) -> list[str]:
        """Open what must be there without listing a directory, and look for what must not be there any more."""
        root = os.fsencode(self.target / "current") + b"/"
        lines = []
        for path, about in tree.items():
            try:
                found = _entry(root + path)
            except OSError as error:
                lines.append(f"opened: {path!r}: {error.strerror}")
                continue
            if found != about:
                lines.append(f"opened: {path!r} is of another commit")
        parents = {path[:at] for path in tree for at in range(len(path)) if path[at : at + 1] == b"/"}
        gone = self._known - tree.keys() - parents - {b""}
        return lines + [f"still there: {path!r}" for path in sorted(gone) if os.path.lexists(root + path)]


def _entry(path: bytes) -> tuple[int, bytes]:
    """Return what stands at a path in the shape of a Tree's values."""
    if os.path.islink(path):
        return _LINK, os.readlink(path)
    if os.path.isdir(path):
        return _DIRECTORY, b"/".join(os.listdir(path))
    with open(path, "rb") as file:
        is_executable = os.fstat(file.fileno()).st_mode & 0o100
        return (0o100755 if is_executable else 0o100644), file.read()


def _still_holds(file: int, content: bytes) -> bool:
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        return os.pread(file, len(content) + 1, 0) == content
    except OSError as error:
        return error.errno == errno.ESTALE


def _depth(path: bytes) -> int:
    return path.count(b"/")
