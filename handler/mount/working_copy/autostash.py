"""Uncommitted changes that are in a pull's way, carried over to what is pulled; or kept as a stash where they clash.

Git's own autostash takes all uncommitted changes off and puts them on again. Here only those in the way are touched:
for the rest of the copy nothing would change by it, and to find them all the whole tree would have to be looked at.
"""

import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from handler.errors import MirrorDamaged
from handler.mount.git.modes import EXECUTABLE, FILE, LINK, Leaf
from handler.mount.git.objects import BLOB, COMMIT
from handler.mount.working_copy.gitdir.locks import drop_leftover
from handler.mount.working_copy.gitdir.ref_logs import NULL_OID, LogEntry
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.journal import PullJournal
from handler.mount.working_copy.local_changes import IndexComparison, LocalChange, Obstruction, PathChange
from handler.mount.working_copy.merge.contents import merge_contents
from handler.mount.working_copy.merge.tree_draft import tree_with
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.commits import parse_commit

STASH = "refs/stash"


@dataclass(frozen=True, slots=True)
class AutostashResult:
    """The uncommitted changes by path; `stash` is the commit that holds them where they do not fit (None: they do)."""

    kept: dict[bytes, LocalChange]
    stash: bytes | None = None


def can_reapply(in_the_way: Sequence[Obstruction], glance: IndexComparison) -> bool:
    """Whether all that is in the way is of files that git knows, and none is a directory now. Raises OSError."""
    for found in in_the_way:
        if not found.is_tracked or glance.worktree.look(found.path).is_directory:
            return False
        entry = glance.entries.get(found.path)
        if entry is not None and (entry.is_intended or entry.is_skipped):
            return False
    return True


def reapply(
    objects: MemoryOverlay,
    glance: IndexComparison,
    in_the_way: Sequence[Obstruction],
    head: str,
    branch: str,
    committer: bytes,
    at: int,
) -> AutostashResult:
    """Merge each uncommitted change into what is pulled. Raises MirrorDamaged, TreeUnsafe, OSError.

    All of them are put into objects first, so that whatever happens then, each is somewhere.
    """
    kept: dict[bytes, LocalChange] = {}
    clash = False
    for change in {found.path: found.change for found in in_the_way}.values():
        stands, staged = _what_stands(objects, glance, change), _staged(glance, change)
        merged = _merged(objects, change, stands)
        clash = clash or merged is _CLASH or staged not in (change.before, stands)
        kept[change.path] = (stands, None if isinstance(merged, _Clash) else merged, staged)
    if not clash:
        return AutostashResult(kept)
    after = {found.path: found.change.after for found in in_the_way}
    stash = _stash(objects, kept, head, branch, committer, at)
    return AutostashResult({path: (stands, after[path], staged) for path, (stands, _, staged) in kept.items()}, stash)


def last_if_same(objects: MemoryOverlay, refs: Refs, stash: bytes) -> bytes:
    """Return the last stash where it holds what `stash` does: a run left it that failed, and was undone.

    Else a mount that keeps failing would be given one more at each try. Raises CopyUnusable, OSError.
    """
    if logged := refs.log(STASH):  # the log, as the ref may be what failed
        last = logged[-1].new
        with suppress(MirrorDamaged, KeyError):  # somebody's, and broken: that is not for us to say
            if _held(objects, last) == _held(objects, stash):
                return last
    return stash


def _held(objects: MemoryOverlay, stash: bytes) -> tuple[bytes, ...]:
    """Return the trees of a stash, and the commit that it stands upon."""
    commit = parse_commit(objects.read(stash, COMMIT))
    staged = (parse_commit(objects.read(each, COMMIT)).tree for each in commit.parents[1:])
    return commit.tree, *commit.parents[:1], *staged


def keep_stash(refs: Refs, journal: PullJournal) -> None:
    """Put the stash, if there is one, where `git stash` finds it. Raises CopyBusy, CopyUnusable, OSError.

    Before any file changes: from here on the uncommitted changes are safe where a person looks for them.
    """
    if journal.stash is None:
        return
    drop_leftover(refs.lock_path(STASH))
    stash, logged, before = journal.stash.encode(), refs.log(STASH), refs.read(STASH)
    short = journal.branch.removeprefix("refs/heads/")
    line = LogEntry(before or NULL_OID, stash, f"On {short}: autostash".encode("utf-8", "surrogateescape"))
    if stash not in (each.new for each in logged):
        refs.append_log(STASH, [line], journal.committer.encode("utf-8", "surrogateescape"), journal.at)
    elif logged[-1].new != stash:
        return  # killed after this, and somebody has stashed something upon it since
    if before != stash:
        refs.write(STASH, stash)


class _Clash:
    """What two changes of one file make that do not fit."""


_CLASH = _Clash()


def _what_stands(objects: MemoryOverlay, glance: IndexComparison, change: PathChange) -> Leaf | None:
    seen = glance.worktree.look(change.path)
    if seen.status is None or not (stat.S_ISREG(seen.status.st_mode) or seen.is_link):
        return None
    blob = objects.add(BLOB, glance.worktree.content(change.path, seen))
    if seen.is_link:
        return LINK, blob
    if not glance.trusts_filemode and change.before is not None:
        return change.before[0], blob
    return EXECUTABLE if seen.is_executable else FILE, blob


def _staged(glance: IndexComparison, change: PathChange) -> Leaf | None:
    entry = glance.entries.get(change.path)
    return None if entry is None else (entry.mode, entry.id)


def _merged(objects: MemoryOverlay, change: PathChange, stands: Leaf | None) -> Leaf | _Clash | None:
    before, after = change.before, change.after
    if stands in (before, after):
        return after
    if before is None or after is None or stands is None or LINK in (before[0], after[0], stands[0]):
        return _CLASH
    if not {before[0], after[0], stands[0]} <= {FILE, EXECUTABLE}:
        return _CLASH
    mode = after[0] if stands[0] == before[0] else stands[0]
    if before[1] == after[1]:
        return mode, stands[1]
    base, ours, theirs = (objects.read(leaf[1], BLOB) for leaf in (before, after, stands))
    content = merge_contents(base, ours, theirs)
    return _CLASH if content is None else (mode, objects.add(BLOB, content))


def _stash(
    objects: MemoryOverlay, kept: dict[bytes, LocalChange], head: str, branch: str, committer: bytes, at: int
) -> bytes:
    """Make the two commits that a stash is: what stands, upon what was staged, upon the head."""
    tree = objects.tree_of(head)
    short = branch.removeprefix("refs/heads/").encode("utf-8", "surrogateescape")
    signature = b"%s %d +0000" % (committer, at)

    def commit(leaves: dict[bytes, Leaf | None], parents: Sequence[bytes], message: bytes) -> bytes:
        lines = [b"tree " + tree_with(objects, tree, leaves), *(b"parent " + each for each in parents)]
        lines += [b"author " + signature, b"committer " + signature, b"", message]
        return objects.add(COMMIT, b"\n".join(lines))

    staged = commit({path: each[2] for path, each in kept.items()}, [head.encode()], b"index on %s\n" % short)
    return commit(
        {path: each[0] for path, each in kept.items()}, [head.encode(), staged], b"On %s: autostash\n" % short
    )


def notes_on_stash(kept: Mapping[bytes, LocalChange], stash: bytes | None) -> tuple[str, ...]:
    """Say what became of the uncommitted changes."""
    if stash is not None:
        return (f"uncommitted changes did not fit, and are kept as the stash {stash.decode()}",)
    return (f"{len(kept)} files with uncommitted changes were carried over",) if kept else ()
