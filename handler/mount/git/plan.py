"""The difference between two trees, as a plan that a directory can follow. Pure: trees are read through arguments.

Nothing on disk is looked at: the two commits' trees say everything. Every path that the plan will write is checked
here, before the first write.
"""

import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from dulwich.errors import ObjectFormatException
from dulwich.index import validate_path_element_hfs, validate_path_element_ntfs
from dulwich.objects import parse_tree

from handler.errors import TreeUnsafe
from handler.model import FileWrite, LinkWrite, TreePlan

MAX_ENTRIES = 500_000
"""A tree of a few objects can name itself into billions of paths; this is where the plan stops believing it."""
MAX_DEPTH = 200
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 3000
MAX_LINK_BYTES = 4080
"""EFS's own limits for a name and a link; a path must fit Linux's 4,096 with the mount and the release before it."""

_FILE, _LINK, _DIRECTORY = "file", "link", "directory"


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: str
    id: bytes | None
    is_executable: bool = False


Entries = dict[bytes, _Entry]


def plan_change(
    read: Callable[[bytes], bytes],
    read_link: Callable[[bytes], bytes],
    old: bytes | None,
    new: bytes,
    *,
    allow_external_links: bool = False,
) -> TreePlan:
    """Return the plan that turns the tree `old` (hex id, None for an empty directory) into `new`.

    `read(tree id)` gives a tree's raw content, `read_link(blob id)` a link's target. What both trees share is
    neither read nor planned. Raises TreeUnsafe, naming the path; and what the two readers raise.
    """
    difference = _Difference(read, read_link, allow_external_links)
    difference.compare(b"", old, new, 0)
    return difference.plan()


@dataclass(slots=True)
class _Difference:
    read: Callable[[bytes], bytes]
    read_link: Callable[[bytes], bytes]
    allow_external_links: bool
    removed_files: list[bytes] = field(default_factory=list)
    removed_directories: list[bytes] = field(default_factory=list)
    made_directories: list[bytes] = field(default_factory=list)
    files: list[FileWrite] = field(default_factory=list)
    links: list[LinkWrite] = field(default_factory=list)
    submodules: list[bytes] = field(default_factory=list)
    entries_seen: int = 0

    def plan(self) -> TreePlan:
        return TreePlan(
            removed_files=tuple(self.removed_files),
            removed_directories=tuple(self.removed_directories),
            made_directories=tuple(self.made_directories),
            files=tuple(self.files),
            links=tuple(self.links),
            submodules=tuple(self.submodules),
        )

    def compare(self, prefix: bytes, old: bytes | None, new: bytes | None, depth: int) -> None:
        """Plan one directory; None is a directory without entries (an absent tree, or a submodule)."""
        if depth > MAX_DEPTH:
            raise TreeUnsafe(f"{_show(prefix)} lies more than {MAX_DEPTH} directories deep")
        before = self._entries(prefix, old)
        after = self._entries(prefix, new)
        for name, entry in before.items():
            if name not in after:
                self._remove(prefix + name, entry, depth)
        for name, entry in after.items():
            previous = before.get(name)
            if previous != entry:
                # What is the same in both was checked when it was first written.
                _check_name(prefix, name)
                self._change(prefix + name, previous, entry, depth)

    def _change(self, path: bytes, old: _Entry | None, new: _Entry, depth: int) -> None:
        is_directory_already = old is not None and old.kind == _DIRECTORY
        if new.kind == _DIRECTORY:
            if old is not None and not is_directory_already:
                self.removed_files.append(path)
            if not is_directory_already:
                self.made_directories.append(path)
            if new.id is None:
                self.submodules.append(path)
            self.compare(path + b"/", old.id if old is not None and is_directory_already else None, new.id, depth + 1)
            return
        if old is not None and is_directory_already:
            self._remove(path, old, depth)
        is_replacing = old is not None and not is_directory_already
        if new.kind == _LINK:
            self.links.append(LinkWrite(path, self._link_target(path, new, depth), is_replacing))
        else:
            assert new.id is not None
            self.files.append(FileWrite(path, new.id, new.is_executable, is_replacing))

    def _remove(self, path: bytes, entry: _Entry, depth: int) -> None:
        if entry.kind != _DIRECTORY:
            self.removed_files.append(path)
            return
        self.compare(path + b"/", entry.id, None, depth + 1)
        self.removed_directories.append(path)

    def _entries(self, prefix: bytes, tree: bytes | None) -> Entries:
        if tree is None:
            return {}
        entries: Entries = {}
        try:
            for name, mode, object_id in parse_tree(self.read(tree), 20):
                if name in entries:
                    raise TreeUnsafe(f"{_show(prefix + name)} stands twice in its tree")
                entries[name] = _entry(prefix + name, mode, object_id)
        except (ValueError, OverflowError, AssertionError, ObjectFormatException) as error:
            raise TreeUnsafe(f"the tree of {_show(prefix)} is malformed ({type(error).__name__})") from None
        self.entries_seen += len(entries)
        if self.entries_seen > MAX_ENTRIES:
            raise TreeUnsafe(f"the tree has more than {MAX_ENTRIES} entries")
        return entries

    def _link_target(self, path: bytes, entry: _Entry, depth: int) -> bytes:
        assert entry.id is not None
        target = self.read_link(entry.id)
        if not 0 < len(target) <= MAX_LINK_BYTES or b"\0" in target:
            raise TreeUnsafe(f"the link {_show(path)} has a target that no file system takes")
        if not self.allow_external_links and not stays_inside(target, depth):
            raise TreeUnsafe(f"the link {_show(path)} may lead out of the tree")
        return target


def stays_inside(target: bytes, depth: int) -> bool:
    """Whether a link `depth` directories below the tree's root cannot lead out of it, whatever else is in the tree.

    Only `..` at the start are allowed, and no more than there are directories above the link: these are real
    directories, so they count exactly. The names after them go down, through other links perhaps, of which each was
    held to the same rule. A `..` after a name could follow a link first and climb from there: `up/../x` with
    `up -> ..`; and whether it does may change with a push that does not touch this link, so it is refused.
    """
    if target.startswith(b"/"):
        return False
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == b"..":
        climbs += 1
    return climbs <= depth and b".." not in parts[climbs:]


def _entry(path: bytes, mode: int, object_id: bytes) -> _Entry:
    """Read a mode as git does: any file with the owner's execute bit is 100755, any other 100644."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG:
        return _Entry(_FILE, object_id, bool(mode & 0o100))
    if kind == stat.S_IFLNK:
        return _Entry(_LINK, object_id)
    if kind == stat.S_IFDIR:
        return _Entry(_DIRECTORY, object_id)
    if kind == 0o160000:
        return _Entry(_DIRECTORY, None)
    raise TreeUnsafe(f"{_show(path)} has the mode {mode:o}, which git does not know")


def _check_name(prefix: bytes, name: bytes) -> None:
    if not _is_writable(name):
        raise TreeUnsafe(f"{_show(prefix + name)} is not a name that may be written")
    if len(prefix) + len(name) > MAX_PATH_BYTES:
        raise TreeUnsafe(f"{_show(prefix + name)} is longer than {MAX_PATH_BYTES} bytes")


def _is_writable(name: bytes) -> bool:
    """Whether a tree's entry may bear this name: any bytes that Linux takes, but no spelling of `.git`.

    The two validators know the spellings that NTFS and HFS+ take for `.git`. They refuse a little more, which is
    asked around: names of dots and spaces alone, and bytes that are no UTF-8 (HFS+ has no such names).
    """
    if b"/" in name or b"\0" in name or name in (b"", b".", b"..") or len(name) > MAX_NAME_BYTES:
        return False
    if name.isascii() and b"git" not in name.lower():
        return True  # nearly every name: in ASCII each of the spellings has these letters
    if name.strip(b". ") and not validate_path_element_ntfs(name):
        return False
    try:
        name.decode()
    except UnicodeDecodeError:
        return True
    return validate_path_element_hfs(name)


def _show(path: bytes) -> str:
    """Quote a path for a message, bounded: it comes from a repository and may hold anything."""
    text = repr(path[:200])[1:]
    return text if len(path) <= 200 else text + "..."
