"""Autostash: reapply the uncommitted changes that obstruct a pull, or keep them as a stash if they conflict.

Git's autostash stashes all uncommitted changes and applies them again. Here only those that obstruct the pull are
stashed. The others need not move, and to find them all would mean to scan the whole worktree.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from handler.config.names import branch_of
from handler.errors import LocalChanges, MirrorDamaged
from handler.mount.git.commit import Commit, serialize_commit
from handler.mount.git.objects import BLOB, COMMIT
from handler.mount.git.tree import EXECUTABLE, FILE, LINK, TreeEntry
from handler.mount.working_copy.gitdir.locks import release_stale_lock
from handler.mount.working_copy.gitdir.names import encode_name
from handler.mount.working_copy.gitdir.ref_logs import NULL_OID, LogEntry
from handler.mount.working_copy.gitdir.refs import STASH, Refs
from handler.mount.working_copy.index.entry import tree_entry
from handler.mount.working_copy.journal import PullJournal
from handler.mount.working_copy.local_changes import (
    IndexComparison,
    LocalChange,
    Obstruction,
    PathChange,
    describe_obstructions,
)
from handler.mount.working_copy.merge.contents import merge_contents
from handler.mount.working_copy.merge.tree_draft import tree_with
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.commits import ident_line, read_commit


@dataclass(frozen=True, slots=True)
class AutostashResult:
    """The uncommitted changes by path. `stash` is the commit that holds them if they conflict, else None."""

    local_changes: Mapping[bytes, LocalChange] = field(default_factory=dict)
    stash: bytes | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """The outcome's notes on the uncommitted changes."""
        if self.stash is not None:
            return (f"uncommitted changes did not fit, and are kept as the stash {self.stash.decode()}",)
        count = len(self.local_changes)
        return (f"{count} files with uncommitted changes were carried over",) if count else ()


@dataclass(frozen=True, slots=True)
class StashBase:
    """What a stash is made upon: the commit `head` of `branch` (a full name), and who makes it when.

    `committer` is `Name <mail>`, `timestamp` in seconds since the epoch.
    """

    head: str
    branch: str
    committer: bytes
    timestamp: int

    @property
    def short_branch(self) -> bytes:
        """The branch's name as `git stash` writes it."""
        return _short_name(self.branch)


def _can_reapply(obstructions: Sequence[Obstruction], comparison: IndexComparison) -> bool:
    """Whether each obstruction is a tracked file, and none is a directory now."""
    for found in obstructions:
        if not found.is_tracked or comparison.worktree.lstat(found.path).is_directory:
            return False
        entry = comparison.entries.get(found.path)
        if entry is not None and (entry.is_intent_to_add or entry.is_skip_worktree):
            return False
    return True


def reapply(
    objects: MemoryOverlay,
    comparison: IndexComparison,
    obstructions: Sequence[Obstruction],
    base: StashBase,
    refs: Refs,
) -> AutostashResult:
    """Merge each uncommitted change into the file that is pulled.

    All of them become objects first, so that each is stored, whatever happens then. Raises LocalChanges if one is not
    a tracked file; MirrorDamaged, TreeUnsafe, CopyUnusable.
    """
    if not _can_reapply(obstructions, comparison):
        raise LocalChanges(describe_obstructions(obstructions))
    local_changes: dict[bytes, LocalChange] = {}
    has_conflict = False
    changes = {found.path: found.change for found in obstructions}
    for path, change in changes.items():
        worktree, index = _add_worktree_file(objects, comparison, change), tree_entry(comparison.entries.get(path))
        merged = _merge(objects, change, worktree)
        has_conflict = has_conflict or isinstance(merged, _Conflict) or index not in (change.before, worktree)
        local_changes[path] = LocalChange(worktree, None if isinstance(merged, _Conflict) else merged, index)
    if not has_conflict:
        return AutostashResult(local_changes)
    stash = _reused(objects, refs, _create_stash(objects, local_changes, base))
    return AutostashResult(
        {path: each._replace(result=changes[path].after) for path, each in local_changes.items()}, stash
    )


def _reused(objects: MemoryOverlay, refs: Refs, stash: bytes) -> bytes:
    """Return the last stash if it has the contents of `stash`, else `stash`."""
    # A run that failed and was undone left the last one. A mount that keeps failing would get another stash at each
    # try.
    if logged := refs.log(STASH):  # the reflog, as the ref may be what could not be written
        last = logged[-1].new
        with suppress(MirrorDamaged, KeyError):  # a broken stash is somebody else's: not for a pull to report
            if _stash_contents(objects, last) == _stash_contents(objects, stash):
                return last
    return stash


def _stash_contents(objects: MemoryOverlay, stash: bytes) -> tuple[bytes, ...]:
    """Return the trees of a stash, and its first parent."""
    commit = read_commit(objects, stash)
    index_trees = (read_commit(objects, each).tree for each in commit.parents[1:])
    return commit.tree, *commit.parents[:1], *index_trees


def store_stash(refs: Refs, journal: PullJournal) -> None:
    """Store the journal's stash, if it has one, as `git stash store` does. Raises CopyBusy, CopyUnusable."""
    # Before any file changes: from here on the uncommitted changes are where a person looks for them.
    if journal.stash is None:
        return
    release_stale_lock(refs.lock_path(STASH))
    stash, logged, before = journal.stash, refs.log(STASH), refs.read(STASH)
    entry = LogEntry(before or NULL_OID, stash, b"On %s: autostash" % _short_name(journal.branch))
    if stash not in (each.new for each in logged):
        refs.append_log(STASH, [entry], journal.committer, journal.timestamp)
    elif logged[-1].new != stash:
        return  # a killed run stored it, and somebody has stashed something on top since
    if before != stash:
        refs.write(STASH, stash)


class _Conflict:
    """Two changes of one file that do not merge."""


_CONFLICT = _Conflict()


def _add_worktree_file(objects: MemoryOverlay, comparison: IndexComparison, change: PathChange) -> TreeEntry | None:
    """Add the worktree's file or link to the objects; None if there is neither."""
    status = comparison.worktree.lstat(change.path)
    if not (status.is_file or status.is_link):
        return None
    blob = objects.add(BLOB, comparison.worktree.read(change.path, status))
    if status.is_link:
        return TreeEntry(LINK, blob)
    if not comparison.trusts_filemode and change.before is not None:
        return TreeEntry(change.before.mode, blob)
    return TreeEntry(EXECUTABLE if status.is_executable else FILE, blob)


def _merge(objects: MemoryOverlay, change: PathChange, worktree: TreeEntry | None) -> TreeEntry | _Conflict | None:
    before, after = change.before, change.after
    if worktree in (before, after):
        return after
    if before is None or after is None or worktree is None:
        return _CONFLICT
    if not {before.mode, after.mode, worktree.mode} <= {FILE, EXECUTABLE}:
        return _CONFLICT
    mode = after.mode if worktree.mode == before.mode else worktree.mode
    if before.id == after.id:
        return TreeEntry(mode, worktree.id)
    base, ours, theirs = (objects.read(entry.id, BLOB) for entry in (before, after, worktree))
    content = merge_contents(base, ours, theirs)
    return _CONFLICT if content is None else TreeEntry(mode, objects.add(BLOB, content))


def _create_stash(objects: MemoryOverlay, local_changes: Mapping[bytes, LocalChange], base: StashBase) -> bytes:
    """Create the two commits of a stash: the worktree's tree, upon the index's, upon the head."""
    tree, head = objects.tree_of(base.head), base.head.encode()
    ident = ident_line(base.committer, base.timestamp)

    def commit(entries: dict[bytes, TreeEntry | None], parents: Sequence[bytes], message: bytes) -> bytes:
        made = Commit(
            tree=tree_with(objects, tree, entries),
            parents=tuple(parents),
            author=ident,
            committer=ident,
            committed_at=base.timestamp,
            encoding=None,
            message=message,
        )
        return objects.add(COMMIT, serialize_commit(made))

    index = commit(
        {path: each.staged for path, each in local_changes.items()}, [head], b"index on %s\n" % base.short_branch
    )
    worktree = {path: each.worktree for path, each in local_changes.items()}
    return commit(worktree, [head, index], b"On %s: autostash\n" % base.short_branch)


def _short_name(branch: str) -> bytes:
    return encode_name(branch_of(branch))
