"""The difference between two trees, as a plan that a directory can follow. Pure: trees are read through arguments.

A plan needs nothing from the disk: the two commits' trees say everything. It checks every path before the first write.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dulwich.index import validate_path_element_hfs, validate_path_element_ntfs

from handler.config.names import ancestors_of
from handler.errors import MirrorDamaged, ObjectTooLarge, SubdirectoryMissing, TreeTooLarge, TreeUnsafe
from handler.mount.fs.plan import FileWrite, LinkWrite, TreePlan
from handler.mount.git.diff import walk_changes
from handler.mount.git.tree import (
    DIRECTORY,
    EXECUTABLE,
    LINK,
    MAX_NAME_BYTES,
    SUBMODULE,
    TreeEntry,
    parse_entries,
    quote,
)

NOT_PLANNED = (MirrorDamaged, ObjectTooLarge, SubdirectoryMissing, TreeTooLarge, TreeUnsafe)
"""What a release cannot be planned for: its objects, its directory, or the file that says what it is, is gone, say."""
MAX_PATH_BYTES = 3000
"""A path must fit Linux's 4,096 bytes with the mount and the release before it."""
MAX_LINK_BYTES = 4080
"""EFS's own limit for a link."""
_MOST_SHOWN = 20
"""Paths in a message, of those with the same problem."""
_LONG_NAME = f"names of more than {MAX_NAME_BYTES} bytes, which no file system takes"
_UNCOUNTED_SHARE = 1000
"""A push that writes less than this part of what a tree may have is not counted together with the rest of the tree."""


def plan_change(
    read: Callable[[bytes], bytes],
    read_link: Callable[[bytes], bytes],
    old: bytes | None,
    new: bytes,
    *,
    allow_external_links: bool = False,
) -> TreePlan:
    """Return the plan that turns the tree `old` (hex id, None for an empty directory) into `new`.

    `read(tree id)` returns a tree's raw content, `read_link(blob id)` a link's target. What both trees share is
    neither read nor planned. Raises TreeUnsafe, naming all paths that are refused; and what the two readers raise.
    """
    draft = _PlanDraft(read_link=read_link, allow_external_links=allow_external_links)
    for path, was, will in walk_changes(lambda tree, prefix: parse_entries(read(tree), prefix), old, new):
        draft.add(path, was, will)
    draft.check()
    return draft.plan()


def plan_touches(read: Callable[[bytes], bytes], shown: Iterable[bytes | None], new: bytes) -> TreePlan:
    """Return the plan that touches everything in the tree `new` in which one of the trees `shown` differs from it.

    They are hex ids; None has nothing. A directory differs where its entries do. What all share is neither read nor
    planned. Raises TreeUnsafe, and what `read(tree id)` raises.
    """
    files: dict[bytes, None] = {}
    directories: dict[bytes, None] = {}
    for old in shown:
        for path, was, will in walk_changes(lambda tree, prefix: parse_entries(read(tree), prefix), old, new):
            if was is not None and will is not None and _is_directory(was) and _is_directory(will):
                continue  # what differs below it says so, and nothing does where both are submodules
            directories |= dict.fromkeys(ancestors_of(path))
            if will is not None:
                (directories if _is_directory(will) else files)[path] = None
    return TreePlan(touched_files=tuple(files), touched_directories=tuple(directories))


def check_tree_bytes(
    plan: TreePlan,
    size_of: Callable[[bytes], int],
    max_bytes: int,
    plan_whole: Callable[[], TreePlan] | None = None,
) -> None:
    """Raise TreeTooLarge if the tree has more than `max_bytes`, before anything of it is written.

    `size_of(blob id)` returns an object's size; what it raises is raised. `plan_whole` plans the same tree from
    nothing; None where `plan` is from nothing itself.
    """
    written = _bytes_of(plan, size_of, max_bytes)
    # Not at every push: to count what a push leaves alone takes half a second for 50,000 files.
    if plan_whole is not None and written > max_bytes // _UNCOUNTED_SHARE:
        _bytes_of(plan_whole(), size_of, max_bytes)


def _bytes_of(plan: TreePlan, size_of: Callable[[bytes], int], max_bytes: int) -> int:
    total = sum(len(link.target) for link in plan.links)
    for write in plan.files:
        total += size_of(write.blob)
        if total > max_bytes:
            raise TreeTooLarge(
                f"the tree's files have more than {max_bytes} bytes: the repository's max_tree_bytes allows more"
            )
    return total


@dataclass(slots=True, kw_only=True)
class _PlanDraft:
    read_link: Callable[[bytes], bytes]
    allow_external_links: bool
    removed_files: list[bytes] = field(default_factory=list)
    removed_directories: list[bytes] = field(default_factory=list)
    made_directories: list[bytes] = field(default_factory=list)
    files: list[FileWrite] = field(default_factory=list)
    links: list[LinkWrite] = field(default_factory=list)
    submodules: list[bytes] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    refused_count: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raise TreeUnsafe where a path was refused: with all of them, so that one push can mend all."""
        if self.refused:
            raise TreeUnsafe("; ".join(f"{problem}: {self._shown(problem)}" for problem in self.refused))

    def _shown(self, problem: str) -> str:
        paths, count = self.refused[problem], self.refused_count[problem]
        rest = [f"and {count - len(paths)} more"] if count > len(paths) else []
        return ", ".join([*paths, *rest])

    def refuse(self, problem: str, path: bytes) -> None:
        """Note a path that must not be written. Of a hostile tree's many, only the first few take memory."""
        shown = self.refused.setdefault(problem, [])
        self.refused_count[problem] = self.refused_count.get(problem, 0) + 1
        if len(shown) < _MOST_SHOWN:
            size = len(path.rpartition(b"/")[2])
            shown.append(f"{quote(path)} ({size} bytes)" if problem == _LONG_NAME else quote(path))

    def plan(self) -> TreePlan:
        return TreePlan(
            removed_files=tuple(self.removed_files),
            # The walk finds parents first; a directory can go only when all below it is gone.
            removed_directories=tuple(reversed(self.removed_directories)),
            made_directories=tuple(self.made_directories),
            files=tuple(self.files),
            links=tuple(self.links),
            submodules=tuple(self.submodules),
        )

    def add(self, path: bytes, old: TreeEntry | None, new: TreeEntry | None) -> None:
        """Plan one path. A submodule is published as a directory without entries, whatever commit it names."""
        was_directory, will_be_directory = _is_directory(old), _is_directory(new)
        if old is not None and new is not None and old.mode == new.mode == SUBMODULE:
            return
        # What is the same in both trees was checked when it was first written.
        if new is not None and (problem := _problem_of_name(path)):
            self.refuse(problem, path)
        was_file = old is not None and not was_directory
        if was_directory and not will_be_directory:
            self.removed_directories.append(path)
        elif was_file and (new is None or will_be_directory):
            self.removed_files.append(path)
        if new is not None and will_be_directory:
            self._make_directory(path, new, is_there=was_directory)
        elif new is not None:
            self._write(path, new, is_replacing=was_file)

    def _make_directory(self, path: bytes, new: TreeEntry, *, is_there: bool) -> None:
        if not is_there:
            self.made_directories.append(path)
        if new.mode == SUBMODULE:
            self.submodules.append(path)

    def _write(self, path: bytes, new: TreeEntry, *, is_replacing: bool) -> None:
        if new.mode == LINK:
            target = self.read_link(new.id)
            if problem := self._problem_of_target(target, path):
                self.refuse(problem, path)
            else:
                self.links.append(LinkWrite(path, target, is_replacing))
        else:
            self.files.append(FileWrite(path, new.id, new.mode == EXECUTABLE, is_replacing))

    def _problem_of_target(self, target: bytes, path: bytes) -> str | None:
        if not 0 < len(target) <= MAX_LINK_BYTES or b"\0" in target:
            return "links with a target that no file system takes"
        if not self.allow_external_links and not stays_inside(target, path.count(b"/")):
            return "links that may lead out of the tree (the repository's external_links keeps or skips them)"
        return None


def _is_directory(entry: TreeEntry | None) -> bool:
    return entry is not None and entry.mode in (DIRECTORY, SUBMODULE)


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


def _problem_of_name(path: bytes) -> str | None:
    name = path.rpartition(b"/")[2]
    if len(name) > MAX_NAME_BYTES:
        return _LONG_NAME
    if not _is_writable(name):
        return "names that may not be written"
    return f"paths of more than {MAX_PATH_BYTES} bytes" if len(path) > MAX_PATH_BYTES else None


def _is_writable(name: bytes) -> bool:
    """Whether a tree's entry may bear this name: any bytes that Linux takes, but no spelling of `.git`.

    The two validators know the spellings that NTFS and HFS+ take for `.git`. They refuse a little more, which is
    asked around: names of dots and spaces alone, and bytes that are no UTF-8 (HFS+ has no such names).
    """
    if b"/" in name or b"\0" in name or name in (b"", b".", b".."):
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
