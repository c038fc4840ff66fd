"""What real `git pull --rebase` makes of a working copy, and what ours has to make of it then.

Ours differs from git on purpose in a few named classes; each is told by looking at what git does, never skipped:

DIRT_ELSEWHERE   git refuses to begin with anything uncommitted, ours only where the pull changes the same paths; what
                 ours has to come to is git's pull of the same copy without it, and the uncommitted on top
ALREADY          what is uncommitted is what the pull brings: git refuses, ours pulls; the index is then as it is after
                 a pull of the same copy without it
STEP_IN_THE_WAY  something untracked is in the way of a step of git's rebase, and not of its result
IGNORED          an ignored file is in the way: git overwrites it without a word, ours refuses
RENAME           git follows a rename; ours finds a conflict, as git does when it is told not to look for renames

And with `autostash`:

STAGED_TWICE     a file is staged as one thing and stands as another: git merges the latter and forgets the former, ours
                 keeps both in a stash
STASH_RENAME     git carries a change over to where its file was renamed; ours keeps it in a stash
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.working_copy.account import account_of
from tests.working_copy.building import Place, try_git
from tests.working_copy.model import (
    DIRECTORY,
    EXECUTABLE,
    FILE,
    GITLINK,
    LINK,
    DirtKind,
    History,
    collisions,
    hash_object,
)
from tests.working_copy.state import Commits, State, Tree, read_state, staged_in

DIRT_ELSEWHERE = "ours alone succeeds: uncommitted things, not in the way"
ALREADY = "ours alone succeeds: uncommitted, and what is pulled"
STEP_IN_THE_WAY = "ours alone succeeds: untracked, in the way of a step alone"
IGNORED = "git alone succeeds: ignored in the way"
RENAME = "git alone succeeds: a rename"

STAGED_TWICE = "ours alone keeps a stash: staged and changed again"
STASH_RENAME = "ours alone keeps a stash: a rename"

CONFLICT, LOCAL_CHANGES = "replay_conflict", "local_changes"
"""The reasons with which a pull may be refused."""


Blob = tuple[int, str]
"""A mode and an id."""
Differing = Mapping[bytes, tuple[Blob | None, Blob | None]]
"""What two trees have at the paths where they differ."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """How a pull ended: `reason` where it was refused, `detail` for a person."""

    ok: bool
    reason: str = ""
    detail: str = ""


Pull = Callable[[Place], Pulled]
"""Pulls the working copy of a place; what the oracle judges."""


class Verdict(StrEnum):
    """What git did."""

    PULLED = "pulled"
    CONFLICT = "conflict"
    IN_THE_WAY = "in the way"
    DIRTY = "dirty"
    """It did not begin."""


def git_pull(copy: Path, *options: str) -> Verdict:
    """Pull with real git; where it stopped half way, abort. Raises AssertionError for an end that no one knows."""
    done = try_git(copy, "pull", "--rebase", *options)
    if done.returncode == 0:
        return Verdict.PULLED
    said = done.stdout + done.stderr
    is_half_way = (copy / ".git/rebase-merge").exists()
    # Without a name in it, the rebase broke off before it began.
    if (copy / ".git/rebase-merge/head-name").exists():
        aborted = try_git(copy, "rebase", "--abort")
        assert aborted.returncode == 0, f"git rebase --abort: {aborted.stderr!r}, after {said!r}"
    if b"annot pull with rebase" in said:
        return Verdict.DIRTY
    if b"would be overwritten" in said or b"untracked files in" in said or b"would be removed" in said:
        return Verdict.IN_THE_WAY
    assert is_half_way, f"git pull --rebase: {said!r}"
    return Verdict.CONFLICT


@dataclass(frozen=True, slots=True)
class Expected:
    """What ours has to do: `reason` None is to succeed, and to come to what `copy` (git's) holds.

    `dirt` is on top of that, if it is not None: what the uncommitted changed on disk, None where it removed something.
    `in_the_way` are the uncommitted paths that a refusal should name. `how` is what the pull is, for the statistics.
    `records` are those of `git status` about what git knows, where they are neither what they were nor git's.
    `is_stashed`: what is in the way is kept as a stash. `already` are the paths at which the uncommitted is what is
    pulled: nothing is uncommitted there afterwards.
    """

    reason: str | None
    copy: Path
    how: str
    dirt: dict[bytes, tuple[int, bytes] | None] | None = None
    in_the_way: tuple[bytes, ...] = ()
    named: str = ""
    records: tuple[bytes, ...] | None = None
    is_stashed: bool = False
    already: frozenset[bytes] = frozenset()


def ask_git(history: History, before: State, clean: Tree, dirty_copy: Path, clean_copy: Path | None) -> Expected:
    """Let git pull; return what that means for ours.

    `before` is the copy as ours will find it, `clean` its files without what is uncommitted; the two copies are
    git's: one just like ours, and one without the uncommitted (None where there is nothing).
    """
    staged = staged_in(dirty_copy) if history.dirt else {}
    verdict = git_pull(dirty_copy)
    after = read_state(dirty_copy)
    if verdict is not Verdict.PULLED:
        # Git knows nothing of empty directories, and overwrites what is ignored on the way to a conflict too.
        spared = {path for dirt in history.dirt if dirt.kind is DirtKind.IGNORED for path in dirt.paths}
        lost = {path for path, (mode, _) in before.files.items() ^ after.files.items() if mode != DIRECTORY} - spared
        assert (lost, after.head) == (set(), before.head), f"git ({verdict}) itself lost {lost}:\n{account_of(history)}"
    assert (verdict is Verdict.DIRTY) == history.has_tracked_dirt, f"git says {verdict}:\n{account_of(history)}"
    copy = dirty_copy
    first = verdict
    if verdict is not Verdict.PULLED and clean_copy is not None:
        copy, verdict = clean_copy, git_pull(clean_copy)
        after = read_state(copy)
    if verdict is Verdict.CONFLICT:
        return Expected(CONFLICT, copy, "conflict")
    assert verdict is Verdict.PULLED, f"git says {verdict} with nothing in the way"
    differing = _differing(copy, before.head, after.head)
    already = _already(history, before, staged, differing)
    in_the_way = _in_the_way(history, {path: each for path, each in differing.items() if path not in already})
    how = _describe(before, after)
    if first is Verdict.PULLED:
        if not in_the_way:
            return Expected(None, copy, how, already=already)
        ignored = {path for dirt in history.dirt if dirt.kind is DirtKind.IGNORED for path in dirt.paths}
        # A .gitignore that is pulled may name it too, before a later step overwrites it.
        overwritten = [path for path in in_the_way if path not in ignored and not _is_ignored(copy, path)]
        assert not overwritten, f"git overwrote {overwritten}:\n{account_of(history)}"
        return Expected(LOCAL_CHANGES, copy, how, None, in_the_way, IGNORED, already=already)
    if in_the_way:
        return Expected(LOCAL_CHANGES, copy, how, None, in_the_way, already=already)
    changed = difference(clean, before.files)
    dirt = {path: entry for path, entry in changed.items() if not _is_emptied(path, already, after.files)}
    named = DIRT_ELSEWHERE if first is Verdict.DIRTY else STEP_IN_THE_WAY
    return Expected(None, copy, how, dirt, (), ALREADY if already else named, already=already)


def conflicts_without_renames(place: Place, copy: Path) -> bool:
    """Whether git, told not to look for renames, finds a conflict in the committed of a copy as well.

    `copy` is where the place's working copy may be copied to; what is uncommitted is thrown away there.
    """
    shutil.copytree(place.copy, copy, symlinks=True)
    for arguments in (("read-tree", "--reset", "-u", "HEAD"), ("clean", "-xfdq")):
        assert try_git(copy, *arguments).returncode == 0
    # The newer strategy of git 2.39 looks for renames whatever one says.
    return git_pull(copy, "--strategy=recursive", "--strategy-option=no-renames") is Verdict.CONFLICT


def _differing(copy: Path, old: str, new: str) -> Differing:
    """Return what differs between two commits."""
    with Commits(copy) as commits:
        trees = commits.tree(old), commits.tree(new)
    paths = trees[0].keys() | trees[1].keys()
    return {
        path: (trees[0].get(path), trees[1].get(path)) for path in paths if trees[0].get(path) != trees[1].get(path)
    }


def _already(history: History, before: State, staged: Mapping[bytes, Blob], differing: Differing) -> frozenset[bytes]:
    """Return the paths that are on disk as in the new commit, and in the index as in either."""
    found = set()
    for path, (old, new) in differing.items():
        stands = _stands_at(path, before, new, trusts_filemode=history.condition.trusts_filemode)
        is_changed = stands != old or staged.get(path) != old
        if is_changed and stands == new and staged.get(path) in (old, new):
            found.add(path)
    return frozenset(found)


def _stands_at(path: bytes, before: State, like: Blob | None, *, trusts_filemode: bool) -> Blob | None:
    """Return the mode and id of the file or link at a path, None where there is neither.

    Where the bits on disk say nothing, a file has the mode that `like` has.
    """
    mode, content = before.files.get(path, (DIRECTORY, b""))
    if mode == DIRECTORY:
        return None
    if mode != LINK:
        mode = EXECUTABLE if mode & 0o100 else FILE
        if not trusts_filemode and like is not None and like[0] in (FILE, EXECUTABLE):
            mode = like[0]
    return mode, hash_object("blob", content)


def _is_emptied(path: bytes, already: frozenset[bytes], files: Tree) -> bool:
    """Whether a directory was emptied by what the pull removes too, and goes with it: git knows no empty ones."""
    below = path + b"/"
    return any(each.startswith(below) for each in already) and not any(each.startswith(below) for each in files)


def _in_the_way(history: History, differing: Differing) -> tuple[bytes, ...]:
    """Return the uncommitted paths that are in the way of what differs between two commits."""
    # What is in a submodule's directory is its own.
    modules = {path for path, (old, new) in differing.items() if new is not None and new[0] == GITLINK and old is None}
    paths = [path for dirt in history.dirt if dirt.kind is not DirtKind.NOTHING for path in dirt.paths]
    inside = {path for path in paths for module in modules if path.startswith(module + b"/")}
    return tuple(collisions((path for path in paths if path not in inside), differing))


def _is_ignored(copy: Path, path: bytes) -> bool:
    return try_git(copy, "check-ignore", "--quiet", "--no-index", "--", os.fsdecode(path)).returncode == 0


def _describe(before: State, after: State) -> str:
    """Return what a pull was, by the log that git wrote."""
    if before.head == after.head:
        return "nothing to do"
    lines = after.logs["HEAD"][len(before.logs["HEAD"]) :]
    if len(lines) == 1 and lines[0].message.endswith(b"Fast-forward"):
        return "fast-forward"
    picked = sum(b"(pick)" in line.message for line in lines)
    return f"replay of {picked if picked < 3 else '3 or more'}"


def difference(old: Tree, new: Tree) -> dict[bytes, tuple[int, bytes] | None]:
    """Return what has to be laid over one tree to make it the other."""
    return {path: new.get(path) for path in old.keys() | new.keys() if old.get(path) != new.get(path)}


def overlaid(files: Tree, dirt: dict[bytes, tuple[int, bytes] | None]) -> Tree:
    """Return files with the uncommitted on top; a directory is listed only where nothing is in it, or in its place."""
    kept = {path: entry for path, entry in dirt.items() if entry is not None}
    kept |= {path: entry for path, entry in files.items() if path not in dirt or kept.get(path, ())[:1] == (DIRECTORY,)}
    occupied = Counter(path[:at] for path in kept for at in range(len(path)) if path[at : at + 1] == b"/")
    return {path: entry for path, entry in kept.items() if path not in occupied}
