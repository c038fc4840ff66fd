"""The trees of commits as filters leave them."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from handler.config.fields import FieldReader, checked, flag, texts
from handler.config.names import ancestors_of, subdirectory_problem
from handler.config.patterns import MAX_PATTERNS, exclude_problem
from handler.errors import SubdirectoryMissing, TreeUnsafe
from handler.model import TreeFilter
from handler.mount.git.diff import walk_changes
from handler.mount.git.objects import BLOB, TREE, Objects
from handler.mount.git.plan import stays_inside
from handler.mount.git.tree import (
    DIRECTORY,
    LINK,
    MAX_ENTRIES,
    SUBMODULE,
    Entries,
    TreeEntry,
    parse_entries,
    quote,
    serialize_entries,
)

if TYPE_CHECKING:
    from dulwich.ignore import Pattern

MATCHING_SECONDS = 60.0
"""So long the patterns of one filter may be matched in one run. Half a million files take some seconds."""


def read_filter(value: object) -> TreeFilter:
    """Return the filter that `TreeFilter.to_plain` made an object of. Raises ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    problems: list[str] = []
    reader = FieldReader(value, problems)
    reader.refuse_unknown({"subdirectory", "exclude", "skips_links"})
    found = TreeFilter(
        subdirectory=reader.read("subdirectory", checked(subdirectory_problem), None),
        exclude=reader.read("exclude", texts(MAX_PATTERNS), ()),
        skips_links=reader.read("skips_links", flag, False),
    )
    if problems or any(map(exclude_problem, found.exclude)):
        raise ValueError("is no filter")
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    """A tree of git's at a path (with a final slash; the root is empty) of what a filter leaves."""

    tree: bytes
    prefix: bytes
    filter: TreeFilter

    @property
    def id(self) -> bytes:
        """An id that no other part has, nor a tree of git's."""
        # The path is in it: what a filter leaves of a tree may differ from place to place.
        about = b"filtered %b\0%b\0%b" % (self.tree, _filter_text(self.filter), self.prefix)
        return hashlib.sha1(about, usedforsecurity=False).hexdigest().encode()


@dataclass(slots=True)
class FilteredTrees:
    """Trees as filters leave them, each by an id (40 hex digits) that `read` knows. Not safe for threads.

    A filter that leaves things out makes trees that git does not have. They are made when they are read, so that two
    commits are compared in the time of what differs. Whatever both share has one id, and is not read.
    """

    objects: Objects
    _parts: dict[bytes, _Part] = field(default_factory=dict)
    _empty: dict[_Part, bool] = field(default_factory=dict)
    _room: int = MAX_ENTRIES
    _matching_seconds: float = 0.0

    def root(self, commit: str, tree_filter: TreeFilter) -> bytes:
        """Return the id of what a filter leaves of a commit's tree.

        Raises SubdirectoryMissing where there is no such directory; MirrorDamaged, ObjectTooLarge, TreeUnsafe.
        """
        tree = _subtree(self.objects, commit, tree_filter.subdirectory)
        leaves_all = not tree_filter.skips_links and not tree_filter.exclude
        return tree if leaves_all else self._keep(_Part(tree, b"", tree_filter))

    def read(self, tree: bytes) -> bytes:
        """Return a tree's content. Raises MirrorDamaged, ObjectTooLarge, TreeUnsafe."""
        part = self._parts.get(tree)
        if part is None:
            return self.objects.read(tree, TREE)
        return serialize_entries({name: self._entry(part, name, each) for name, each in self._left(part).items()})

    def links_left_out(self, old: bytes | None, new: bytes) -> Iterator[bytes]:
        """Yield the paths of the links that `new` is without, and that are not the same in `old`."""
        part, was = self._parts.get(new), self._parts.get(old or b"")
        if part is None or not part.filter.skips_links:
            return
        changes = walk_changes(
            lambda tree, prefix: parse_entries(self.objects.read(tree, TREE), prefix),
            was.tree if was is not None else None,
            part.tree,
        )
        for path, _, entry in changes:
            if entry is not None and self._leads_out(entry, path):
                above = any(self._is_excluded(part.filter, each, is_directory=True) for each in ancestors_of(path))
                if not above and not self._is_excluded(part.filter, path, is_directory=False):
                    yield path

    def _keep(self, part: _Part) -> bytes:
        part_id = part.id
        self._parts[part_id] = part
        return part_id

    def _entry(self, part: _Part, name: bytes, entry: TreeEntry) -> TreeEntry:
        return TreeEntry(DIRECTORY, self._keep(_below(part, name, entry))) if entry.mode == DIRECTORY else entry

    def _left(self, part: _Part) -> Entries:
        """Return what the filter leaves of a tree's own entries."""
        entries = parse_entries(self.objects.read(part.tree, TREE), part.prefix)
        return {name: entry for name, entry in entries.items() if self._is_left(part, name, entry)}

    def _is_left(self, part: _Part, name: bytes, entry: TreeEntry) -> bool:
        if self._is_excluded(part.filter, part.prefix + name, is_directory=entry.mode in (DIRECTORY, SUBMODULE)):
            return False
        if part.filter.skips_links and self._leads_out(entry, part.prefix + name):
            return False
        # Git has no empty directories, and neither has what is left of its trees.
        return entry.mode != DIRECTORY or not self._is_empty(_below(part, name, entry))

    def _is_empty(self, part: _Part) -> bool:
        # Remembered: of two commits, most directories are asked about twice.
        if part not in self._empty:
            self._empty[part] = self._has_nothing(part)
        return self._empty[part]

    def _has_nothing(self, part: _Part) -> bool:
        entries = parse_entries(self.objects.read(part.tree, TREE), part.prefix)
        # Counted at each visit: a tree of a few objects can name itself into billions of paths, all of them empty.
        self._room -= len(entries) + 1
        if self._room < 0:
            raise TreeUnsafe(f"the tree has more than {MAX_ENTRIES} entries that a filter leaves out")
        # Files first: nearly always the first one tells.
        for name, entry in sorted(entries.items(), key=lambda item: item[1].mode == DIRECTORY):
            if self._is_left(part, name, entry):
                return False
        return True

    def _is_excluded(self, tree_filter: TreeFilter, path: bytes, *, is_directory: bool) -> bool:
        """Whether a pattern leaves the path out, in a directory that none does. The last one that matches decides."""
        if not tree_filter.exclude:
            return False
        began = time.perf_counter()
        patterns = _patterns(tree_filter.exclude)
        is_excluded = next((each.is_exclude for each in patterns if each.matches(path, is_directory)), False)
        self._matching_seconds += time.perf_counter() - began
        if self._matching_seconds > MATCHING_SECONDS:
            raise TreeUnsafe(f"the rule's patterns in exclude take more than {MATCHING_SECONDS:.0f} s with this tree")
        return is_excluded

    def _leads_out(self, entry: TreeEntry, path: bytes) -> bool:
        return entry.mode == LINK and not stays_inside(self.objects.read(entry.id, BLOB), path.count(b"/"))


@lru_cache(maxsize=100)
def _filter_text(tree_filter: TreeFilter) -> bytes:
    return json.dumps(tree_filter.to_plain(), sort_keys=True).encode()


@lru_cache(maxsize=100)
def _patterns(exclude: tuple[str, ...]) -> "tuple[Pattern, ...]":
    """Return the patterns, the last one first."""
    # Imported when it is used: most rules exclude nothing.
    from dulwich.ignore import Pattern

    return tuple(Pattern(each.encode()) for each in reversed(exclude))


def _below(part: _Part, name: bytes, entry: TreeEntry) -> _Part:
    return _Part(entry.id, part.prefix + name + b"/", part.filter)


def _subtree(objects: Objects, commit: str, subdirectory: str | None) -> bytes:
    tree = objects.tree_of(commit)
    for name in subdirectory.encode().split(b"/") if subdirectory is not None else ():
        entry = parse_entries(objects.read(tree, TREE)).get(name)
        # No link is followed: where it leads to may lie outside of the tree.
        if entry is None or entry.mode != DIRECTORY:
            problem = "is not there" if entry is None else "is no directory"
            shown = quote((subdirectory or "").encode())
            raise SubdirectoryMissing(f"the rule's subdirectory {shown} {problem}: add it, or change the rule")
        tree = entry.id
    return tree
