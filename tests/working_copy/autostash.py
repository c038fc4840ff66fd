"""What `git pull --rebase --autostash` makes of uncommitted changes, and what ours has to make of them then.

Git takes all of them off and puts them on again. Ours touches those alone that are in the way; where one of them does
not fit, it keeps those in a stash, and git all.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from tests.working_copy.account import account_of
from tests.working_copy.building import make_dirt
from tests.working_copy.model import DirtKind, History
from tests.working_copy.state import Before, path_of, read_state, status, tracked
from tests.working_copy.verdicts import (
    LOCAL_CHANGES,
    STAGED_TWICE,
    STASH_RENAME,
    Expected,
    Verdict,
    difference,
    git_pull,
)

_CARRIED = frozenset(
    {
        "tracked file edited",
        "mode changed",
        "tracked file deleted",
        "change staged",
        "deletion staged",
        "link changed",
    }
)
"""Changes of a file that HEAD has, by another file or none: those that ours carries over."""
STASH = "refs/stash"
CARRIED_OVER = "carried over"


def with_autostash(history: History, before: Before, copy: Path, expected: Expected) -> Expected:
    """Return what is expected with autostash; `copy` is git's, with nothing uncommitted and not pulled yet.

    Git gets there what is in the way, and nothing else: the rest ours does not touch.
    """
    blocking = set(expected.in_the_way)
    dirt = [dirt for dirt in history.dirt if blocking & set(dirt.paths)]
    if expected.reason != LOCAL_CHANGES or not all(dirt.label in _CARRIED for dirt in dirt):
        return expected
    pulled = read_state(expected.copy)
    # What both took away is no change any more. Git may find that upstream moved it, and call that a conflict.
    gone = blocking - before.state.files.keys() - pulled.files.keys()
    make_dirt([one for one in dirt if not gone & set(one.paths)], copy, *DirtKind)
    verdict = git_pull(copy, "--autostash")
    after = read_state(copy)
    if verdict is not Verdict.PULLED or STASH in after.refs:
        is_twice = _is_twice(before, blocking)
        assert verdict is Verdict.PULLED or is_twice, f"git says {verdict} with autostash:\n{account_of(history)}"
        return _stashed(before, expected)
    made = [record for record in tracked(status(copy)) if path_of(record) in blocking]
    records = (*before.records_about(blocking, is_about=False), *made)
    return replace(
        expected,
        reason=None,
        dirt=_elsewhere(before, blocking) | difference(pulled.files, after.files),
        records=records,
        named=CARRIED_OVER,
    )


def with_stash_excused(copy: Path, before: Before, expected: Expected) -> Expected:
    """Return what is expected of one that kept a stash where git carried over, where that is on purpose."""
    if expected.named != CARRIED_OVER or STASH not in read_state(copy).refs:
        return expected
    if _is_twice(before, expected.in_the_way):
        return replace(_stashed(before, expected), named=STAGED_TWICE)
    moved = (expected.dirt or {}).keys() - difference(before.clean, before.state.files).keys()
    if moved:
        return replace(_stashed(before, expected), named=STASH_RENAME)
    return expected


def _stashed(before: Before, expected: Expected) -> Expected:
    """What is in the way is as upstream has it, and in a stash; all else that is uncommitted is as it was."""
    blocking = expected.in_the_way
    return replace(
        expected,
        reason=None,
        dirt=_elsewhere(before, blocking),
        records=tuple(before.records_about(blocking, is_about=False)),
        is_stashed=True,
        named="kept in a stash",
    )


def _elsewhere(before: Before, blocking: Collection[bytes]) -> dict[bytes, tuple[int, bytes] | None]:
    """Return what is uncommitted on disk and not in the way; a directory that was emptied goes with its file."""
    changed = difference(before.clean, before.state.files)
    return {path: entry for path, entry in changed.items() if not any(_holds(path, other) for other in blocking)}


def _holds(path: bytes, other: bytes) -> bool:
    return path == other or other.startswith(path + b"/")


def _is_twice(before: Before, blocking: Collection[bytes]) -> bool:
    """Whether something is staged, and something else stands there."""
    # Of a record's letters the first tells of the index, the second of the file.
    return any(
        b"." not in record[2:4] or (record[2:4] == b"D." and path_of(record) in before.state.files)
        for record in before.records_about(blocking, is_about=True)
    )
