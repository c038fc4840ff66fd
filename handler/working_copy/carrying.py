"""Carry a pull out on disk: files, index, refs, in this order; and what a killed run left of it, to its end or back.

The objects are complete and the journal is written before this begins. Every step may be done again.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from handler.beside import IN_TURN, Beside
from handler.efs.flow import Flow
from handler.efs.worktree import ALONE, Crew, Phase, Worktree
from handler.git.index_entry import Entry, Stat
from handler.git.modes import EXECUTABLE, LINK, SUBMODULE, Leaf
from handler.git.objects import BLOB, Objects
from handler.git.ref_logs import LogEntry
from handler.git.refs import RefChange, Refs
from handler.git.scratch import Scratch
from handler.working_copy.changes import Change, Changes
from handler.working_copy.journal import Journal
from handler.working_copy.places import CopyPaths


@dataclass(frozen=True, slots=True)
class Done:
    """What was written and taken away; files are regular files and links."""

    files_written: int = 0
    files_removed: int = 0
    bytes_written: int = 0


def apply(
    worktree: Worktree,
    changes: Changes,
    objects: Objects,
    pulse: Callable[[], None] = lambda: None,
    crew: Crew = ALONE,
    *,
    leaves_blocked: bool = False,
) -> tuple[dict[bytes, Entry | None], Done]:
    """Bring the files from `before` to `after`; returns what the index is to have for each path. Raises OSError.

    What is new or changed comes first, what goes comes last, so that whoever reads meanwhile misses nothing; only what
    stands where a directory has to be, or in one that has to be a file, must go before. `pulse()` is called now and
    then; what it raises ends it. With `leaves_blocked` a file is left out where somebody has put one in the place of a
    directory, or the other way round.
    """
    blocked = (NotADirectoryError, IsADirectoryError) if leaves_blocked else ()
    flow = Flow(partial(objects.read, kind=BLOB))
    by_path = {change.path: change for change in changes.changes}
    entries: dict[bytes, Entry | None] = {}
    written: dict[bytes, int] = {}
    removed: set[bytes] = set()

    def remove(own: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            pulse()
            if _remove(own, by_path[path]):
                removed.add(path)

    def put(own: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            pulse()
            with suppress(*blocked):
                entries[path] = _put(own, by_path[path], flow, written)

    def make_directories(own: Worktree, paths: Sequence[bytes]) -> None:
        for path in paths:
            with suppress(*blocked):
                _make_directory(own, path)

    blocking = _blocking(changes)
    gone = [change.path for change in changes.changes if change.after is None]
    phases: list[Phase] = [
        (remove, [[path for path in gone if path in blocking]]),
        (_remove_directories, _by_depth([each for each in changes.gone if each in blocking])[::-1]),
        (make_directories, _by_depth(changes.made)),
        (put, [[change.path for change in changes.changes if change.after is not None]]),
        (remove, [[path for path in gone if path not in blocking]]),
        (_remove_directories, _by_depth([each for each in changes.gone if each not in blocking])[::-1]),
    ]
    worktree.carry_out(phases, crew, is_writing=True, share=flow.share)
    # What was carried over may stand where the index has something else, or nothing.
    entries |= {path: index_entry(change.entry, None) for path, change in by_path.items() if path not in entries}
    return entries, Done(len(written), len(removed), sum(written.values()))


def _by_depth(directories: Iterable[bytes]) -> list[list[bytes]]:
    """Part directories by their depth, parents first."""
    depths: defaultdict[int, list[bytes]] = defaultdict(list)
    for directory in directories:
        depths[directory.count(b"/")].append(directory)
    return [depths[depth] for depth in sorted(depths)]


def _remove_directories(worktree: Worktree, directories: Sequence[bytes]) -> None:
    for directory in directories:
        worktree.remove_directory(directory)


def _blocking(changes: Changes) -> Collection[bytes]:
    """Return the files that stand where directories will, and files and directories below what will be a file."""
    written = {change.path for change in changes.changes if change.after is not None}
    blocking = set()
    made = set(changes.made)
    for path in (*(change.path for change in changes.changes if change.after is None), *changes.gone):
        if path in made or path in written or any(above in written for above in _above(path)):
            blocking.add(path)
    return blocking


def _above(path: bytes) -> Iterator[bytes]:
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _make_directory(worktree: Worktree, directory: bytes) -> None:
    try:
        worktree.make_directory(directory)
    except FileNotFoundError:
        # Somebody removed one above it, with files that the pull does not touch.
        for above in _above(directory):
            worktree.make_directory(above)
        worktree.make_directory(directory)


def _put(worktree: Worktree, change: Change, flow: Flow, written: dict[bytes, int]) -> Entry | None:
    """Put what is to stand at a path; note in `written` how many bytes. Returns what the index is to have."""
    if change.after is None or change.after == change.before:
        return index_entry(change.entry, None)  # an uncommitted change that stays as it is
    mode, blob = change.after
    if mode == SUBMODULE:
        if change.before is not None:
            worktree.remove(change.path)  # a file; a directory stays
        _make_directory(worktree, change.path)
        return index_entry(change.entry, None)
    if change.before is not None and change.before[0] == SUBMODULE:
        worktree.remove_directory(change.path)
    with flow.content(blob) as content:
        try:
            status = _write(worktree, change.path, mode, content)
        except FileNotFoundError:
            # Somebody removed the directory, with files that the pull does not touch.
            for above in _above(change.path):
                worktree.make_directory(above)
            status = _write(worktree, change.path, mode, content)
        except IsADirectoryError:
            # One without a file in it, or it would have been in the way.
            worktree.remove_hollow(change.path)
            status = _write(worktree, change.path, mode, content)
        written[change.path] = len(content)
    return index_entry(change.entry, status if change.entry == change.after else None)


def _write(worktree: Worktree, path: bytes, mode: int, content: bytes) -> os.stat_result:
    if mode == LINK:
        return worktree.put_link(path, content)
    return worktree.put_file(path, content, is_executable=mode == EXECUTABLE)


def _remove(worktree: Worktree, change: Change) -> bool:
    """Take away what stands at a path; returns whether that was a file or link."""
    if change.before is None:
        return False
    if change.before[0] == SUBMODULE:
        worktree.remove_directory(change.path)  # where somebody has something in it, it stays
        return False
    worktree.remove(change.path)
    return True


def index_entry(leaf: Leaf | None, status: os.stat_result | None) -> Entry | None:
    """Return the index's entry. Without a status git reads the file before it believes that it is unchanged."""
    if leaf is None:
        return None
    return Entry(*leaf, Stat.of(status) if status is not None else Stat())


# -- index and refs --------------------------------------------------------------------------------------------------


def write_index(paths: CopyPaths, scratch: Scratch, content: bytes) -> None:
    """Put a new index in the place of the old one. Raises OSError."""
    scratch.replace(paths.index, content, "index")


@contextmanager
def branch_begun(refs: Refs, journal: Journal, beside: Beside = IN_TURN) -> Iterator[Callable[[], RefChange]]:
    """Do what can be done for the refs already, beside what the block does; it waits for that with what it gets.

    The branch is locked, and nobody moved it; ORIG_HEAD says where it was. At the block's end the branch is let go of.
    Raises CopyBusy, CopyUnusable, OSError.
    """
    beginning = beside.start(partial(_begin, refs, journal))
    try:
        yield beginning
    finally:
        begun = None
        with suppress(Exception):  # raised already, if the block came to wait for it
            begun = beginning()
        if begun is not None:
            begun.end()


def _begin(refs: Refs, journal: Journal) -> RefChange:
    before, after = None if journal.old is None else journal.old.encode(), journal.new.encode()
    begun = refs.begin(journal.branch, after, {before, after})
    if before is not None:
        try:
            refs.write_loose("ORIG_HEAD", before + b"\n")
        except BaseException:
            begun.end()
            raise
    return begun


def write_refs(
    refs: Refs, journal: Journal, branch: RefChange, beside: Beside = IN_TURN, *, is_first: bool = False
) -> None:
    """Say where the branch is now, and in the logs how it came there. Raises CopyUnusable, OSError.

    The logs first, as git does it, under the branch's lock: of a killed run they may say more than is so, and the next
    one sees that it is written. The branch last: from then on all is done. `is_first`: none was killed here.
    """
    by_log: dict[str, list[LogEntry]] = {}
    for log, old, new, message in journal.lines:
        entry = LogEntry(old.encode(), new.encode(), message.encode("utf-8", "surrogateescape"))
        by_log.setdefault(log, []).append(entry)
    committer = journal.committer.encode("utf-8", "surrogateescape")
    beside.start_all(
        partial(refs.append_log, log, lines, committer, journal.at, is_again=not is_first)
        for log, lines in by_log.items()
    )()
    branch.finish()
