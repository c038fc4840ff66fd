"""Compare commits by patch id, as `git patch-id` does: a local commit that upstream has already is not replayed. Pure.

Two commits have the same patch if they change the same paths, and the removed, added and context lines are equal but
for white space. Line numbers do not count. Modes count only for new and deleted files.
"""

from collections.abc import Collection, Iterator, Sequence
from difflib import SequenceMatcher

from handler.errors import TreeUnsafe
from handler.mount.git.diff import walk_changes
from handler.mount.git.objects import BLOB, TREE
from handler.mount.git.tree import MAX_ENTRIES, SUBMODULE, Entries, TreeEntry, canonical, file_of, read_records
from handler.mount.working_copy.gitdir.ref_logs import NULL_OID
from handler.mount.working_copy.merge.contents import is_binary
from handler.mount.working_copy.merge.hunk import Hunk
from handler.mount.working_copy.rebase.commit_graph import CommitGraph
from handler.mount.working_copy.rebase.commits import Reader

EMPTY_TREE = b"4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The tree without entries, which every repository knows without storing it."""

_MAX_VISITS = 4
"""Local commits may have trees that no plan would accept, so more entries may be visited."""
_CONTEXT_LINES = 3
_MAX_COMPARED = 4_000_000
"""The most lines of one side times lines of the other. Beyond it a change counts as one block, from its first line to
its last: the diff may take that many steps, and whoever wrote the files may want it to take more."""
_SPACE = b" \t\n\r"


_Change = tuple[TreeEntry | None, TreeEntry | None]
_Changes = dict[bytes, _Change]
_Header = tuple[tuple[bytes, bytes], ...]


def is_empty(graph: CommitGraph, commit: bytes) -> bool:
    """Whether a commit has its first parent's tree, or, without parents, the empty tree."""
    parents = graph.parents(commit)
    tree = graph.commit(commit).tree
    return tree == (graph.commit(parents[0]).tree if parents else EMPTY_TREE)


def already_upstream(
    objects: Reader, graph: CommitGraph, theirs: Collection[bytes], ours: Sequence[bytes]
) -> frozenset[bytes]:
    """Return the commits of `ours` whose patch one of `theirs` has too.

    Merges have no patch. Contents are read only if the paths agree, and trees of `theirs` only below the names that
    some commit of `ours` changes. Raises TreeUnsafe for a malformed tree, and what `objects` raises.
    """
    wanted = [_Patch(objects, graph, commit) for commit in ours if len(graph.parents(commit)) < 2]
    wanted_names = {patch.root_names() for patch in wanted}
    by_header: dict[_Header, list[_Patch]] = {}
    if wanted:
        others = (_Patch(objects, graph, commit) for commit in theirs if len(graph.parents(commit)) < 2)
        for patch in others:
            if patch.root_names() in wanted_names:
                by_header.setdefault(patch.header(), []).append(patch)
    return frozenset(
        patch.commit for patch in wanted if any(patch.is_same_as(other) for other in by_header.get(patch.header(), ()))
    )


class _Patch:
    """What a commit changes from its first parent, computed as far as it is needed."""

    def __init__(self, objects: Reader, graph: CommitGraph, commit: bytes) -> None:
        parents = graph.parents(commit)
        self.commit = commit
        self._read = objects.read
        self._old = graph.commit(parents[0]).tree if parents else None
        self._new = graph.commit(commit).tree
        self._changes: _Changes | None = None
        self._text: list[tuple[bytes, ...]] | None = None

    def root_names(self) -> frozenset[bytes]:
        """Return the names in the root that differ, in the form of `header`'s paths."""
        old, new = (self._listing(tree) if tree else {} for tree in (self._old, self._new))
        return frozenset(_remove_space(name) for name in old.keys() | new.keys() if old.get(name) != new.get(name))

    def header(self) -> _Header:
        """Return the paths that differ, and which of them are new or deleted."""
        return tuple(sorted((_remove_space(path), _file_header(*change)) for path, change in self.changes().items()))

    def changes(self) -> _Changes:
        """Return what differs, by path, in all directories."""
        if self._changes is None:
            self._changes = {}
            for path, *entries in walk_changes(self._listing, self._old, self._new, visits=_MAX_VISITS):
                old, new = (file_of(entry) for entry in entries)
                if old or new:
                    self._changes[path] = old, new
                if len(self._changes) > MAX_ENTRIES:
                    raise TreeUnsafe(f"a commit changes more than {MAX_ENTRIES} paths")
        return self._changes

    def is_same_as(self, other: "_Patch") -> bool:
        """Whether another patch with the same header changes the same lines."""
        return self.changes() == other.changes() or self.text() == other.text()

    def text(self) -> list[tuple[bytes, ...]]:
        """Return the changed lines of every path."""
        if self._text is None:
            self._text = sorted(
                (_remove_space(path), _file_header(*change), *self._body(*change))
                for path, change in self.changes().items()
            )
        return self._text

    def _body(self, old: TreeEntry | None, new: TreeEntry | None) -> tuple[bytes, ...]:
        before, after = self._content(old), self._content(new)
        if is_binary(before, after):
            return (old.id if old else NULL_OID), (new.id if new else NULL_OID)
        return (changed_text(before, after),)

    def _content(self, entry: TreeEntry | None) -> bytes:
        if entry is None:
            return b""
        if entry.mode == SUBMODULE:
            return b"Subproject commit %b\n" % entry.id
        return self._read(entry.id, BLOB)

    def _listing(self, tree: bytes, prefix: bytes = b"") -> Entries:
        """Return a tree's entries as git reads them, also those that would not be published."""
        if tree == EMPTY_TREE:
            return {}
        records = read_records(self._read(tree, TREE), prefix)
        return {name: TreeEntry(_mode(mode), object_id) for name, mode, object_id in records}


def changed_text(old: bytes, new: bytes) -> bytes:
    """Return the lines that differ between two texts, with three lines of context, all without white space.

    Removed lines begin with `-`, added ones with `+`.
    """
    before, after = _lines(old), _lines(new)
    return _remove_space(b"".join(_diff_lines(before, after, changed_ranges(before, after))))


def _lines(text: bytes) -> list[bytes]:
    """Split at line feeds only: `splitlines` knows more line ends than a diff does."""
    lines = text.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def changed_ranges(before: Sequence[bytes], after: Sequence[bytes]) -> list[Hunk]:
    """Return the ranges of lines that differ, in order."""
    start = 0
    end = min(len(before), len(after))
    while start < end and before[start] == after[start]:
        start += 1
    tail = 0
    while tail < end - start and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    old, new = before[start : len(before) - tail], after[start : len(after) - tail]
    if not old and not new:
        return []
    if not old or not new or len(old) * len(new) > _MAX_COMPARED:
        return [Hunk(start, len(before) - tail, start, len(after) - tail)]
    codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [Hunk(start + i, start + j, start + k, start + m) for tag, i, j, k, m in codes if tag != "equal"]


def _diff_lines(before: Sequence[bytes], after: Sequence[bytes], hunks: Sequence[Hunk]) -> Iterator[bytes]:
    done = 0
    for number, hunk in enumerate(hunks):
        yield from before[max(done, hunk.old_start - _CONTEXT_LINES) : hunk.old_start]
        yield from (b"-" + line for line in before[hunk.old_start : hunk.old_end])
        yield from (b"+" + line for line in after[hunk.new_start : hunk.new_end])
        following = hunks[number + 1].old_start if number + 1 < len(hunks) else len(before)
        done = min(hunk.old_end + _CONTEXT_LINES, following)
        yield from before[hunk.old_end : done]


def _remove_space(text: bytes) -> bytes:
    return text.translate(None, _SPACE)


def _file_header(old: TreeEntry | None, new: TreeEntry | None) -> bytes:
    if old is None:
        return b"new %o" % (new.mode if new else 0)
    return b"gone %o" % old.mode if new is None else b""


def _mode(mode: int) -> int:
    """Return a mode as git reads it; one that git does not know is a submodule's."""
    return canonical(mode) or SUBMODULE
