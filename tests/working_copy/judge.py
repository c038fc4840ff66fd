"""Whether a pull came to what it has to, according to git."""

import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

from tests.working_copy.building import Place, try_git
from tests.working_copy.model import EXECUTABLE, FILE, LINK, hash_object
from tests.working_copy.state import (
    Before,
    Commits,
    LogLine,
    State,
    path_of,
    read_state,
    status,
    tracked,
    unsure,
    without_names,
)
from tests.working_copy.verdicts import Expected, Pulled, overlaid

_MAY_APPEAR = frozenset({"FETCH_HEAD", "ORIG_HEAD", "git2efs", "index", "logs", "shallow"})
STASH = "refs/stash"
_TRACKING = "refs/remotes/origin/main"


def problems_of(
    place: Place, before: Before, pulled: Pulled, expected: Expected, same: dict[str, str]
) -> Iterator[str]:
    """Yield everything that is not as it has to be, in words for a person.

    `same` is added to: the commits that ours made, and which of git's each of them is.
    """
    after = read_state(place.copy)
    checked = try_git(place.copy, "fsck", "--full", "--no-dangling", "--no-progress")
    if checked.returncode or checked.stderr:
        yield f"git fsck: {checked.stdout!r} {checked.stderr!r}"
    if after.locks:
        yield f"locks are left: {after.locks}"
    if new := {name for name in after.extra - before.state.extra - _MAY_APPEAR if not name.startswith("git2efs")}:
        yield f".git holds {sorted(new)}"
    if after.config != before.state.config:
        yield "the configuration changed"
    if expected.reason is None:
        if pulled.ok:
            yield from _differences(place, before, after, expected, same)
        else:
            yield f"refused ({pulled.reason}: {pulled.detail}), git does not"
    elif pulled.ok:
        yield f"succeeded, and has to refuse: {expected.reason} {expected.in_the_way}"
    else:
        if pulled.reason != expected.reason:
            yield f"refused for {pulled.reason}: {pulled.detail}; the reason is {expected.reason}"
    if not pulled.ok:
        yield from _changes(place.copy, before.state, before.records, after)


def _changes(copy: Path, before: State, status_before: list[bytes], after: State) -> Iterator[str]:
    """Yield what a pull that was refused changed all the same. What it fetched may stay."""
    yield from _different_files(before.files, after.files)
    for name in before.refs.keys() | after.refs.keys():
        if name not in (_TRACKING, "ORIG_HEAD") and before.refs.get(name) != after.refs.get(name):
            yield f"refused, and {name} is {after.refs.get(name)} instead of {before.refs.get(name)}"
    for name in ("HEAD", "refs/heads/main"):
        if before.logs[name] != after.logs[name]:
            yield f"refused, and the log of {name} is {after.logs[name]}"
    if before.index != after.index and status(copy) != status_before:
        yield "refused, and the index says something else"


def _differences(place: Place, before: Before, after: State, expected: Expected, same: dict[str, str]) -> Iterator[str]:
    """Yield where a pull that succeeded came to something else than git's."""
    wanted = read_state(expected.copy)
    yield from _different_files(overlaid(wanted.files, expected.dirt or {}), after.files)
    with Commits(place.copy) as ours, Commits(expected.copy) as theirs:
        yield from _different_commits(ours, theirs, after.head, wanted.head, same)
    yield from _different_refs(after.head != before.state.head, after, wanted, lambda commit: same.get(commit, commit))
    if after.shallow != wanted.shallow:
        yield f"history ends at {sorted(after.shallow)}, git's at {sorted(wanted.shallow)}"
    yield from _different_status(place.copy, before.records, expected)
    if (STASH in after.refs) != expected.is_stashed:
        yield "there is no stash" if expected.is_stashed else "there is a stash"
    elif expected.is_stashed:
        yield from _different_stash(place.copy, after.refs[STASH], before.state, expected)
    if stale := {path for path in unsure(place.copy) if not any(_below(path, other) for other in before.excused)}:
        yield f"the index does not know what is on disk at {sorted(stale)}"


def _below(path: bytes, other: bytes) -> bool:
    return path == other or path.startswith(other + b"/")


def _different_files(wanted: dict[bytes, tuple[int, bytes]], found: dict[bytes, tuple[int, bytes]]) -> Iterator[str]:
    for path in sorted(wanted.keys() | found.keys()):
        if wanted.get(path) != found.get(path):
            yield f"{path!r} is {_shown(found.get(path))} instead of {_shown(wanted.get(path))}"


def _shown(entry: tuple[int, bytes] | None) -> str:
    return "not there" if entry is None else f"{entry[0]:o} {entry[1]!r}"


def _different_commits(ours: Commits, theirs: Commits, one: str, other: str, same: dict[str, str]) -> Iterator[str]:
    """Walk both histories side by side; note in `same` which commit of ours is which of git's."""
    pending = [(one, other)]
    while pending:
        one, other = pending.pop()
        if one == other or one in same:
            continue
        same[one] = other
        found, wanted = without_names(ours.content(one)), without_names(theirs.content(other))
        if found != wanted:
            yield f"commit {one} is {found!r} instead of {wanted!r} (git's {other})"
        parents = ours.parents(one), theirs.parents(other)
        if len(parents[0]) != len(parents[1]):
            yield f"commit {one} has the parents {parents[0]}, git's {other} has {parents[1]}"
        pending += zip(*parents, strict=False)


def _different_refs(is_moved: bool, after: State, wanted: State, named: Callable[[str], str]) -> Iterator[str]:
    for name in sorted((wanted.refs.keys() | after.refs.keys()) - {STASH}):
        if name == "ORIG_HEAD" and not is_moved:
            continue
        if named(after.refs.get(name, "")) != wanted.refs.get(name, ""):
            yield f"{name} is {after.refs.get(name)} instead of {wanted.refs.get(name)}"
    for name, lines in wanted.logs.items():
        found = [LogLine(named(line.old), named(line.new), line.message) for line in after.logs[name]]
        for one, other in zip_longest(found, lines):
            if one != other:
                yield f"the log of {name} says {one} instead of {other}"


def _different_stash(copy: Path, stash: str, before: State, expected: Expected) -> Iterator[str]:
    """Yield what was in the way and is not in the stash as it stood."""
    with Commits(copy) as commits:
        tree = commits.tree(stash)
    for path in expected.in_the_way:
        stood = before.files.get(path)
        mode = None if stood is None else EXECUTABLE if stood[0] & 0o100 else FILE
        wanted = stood and (LINK if stood[0] == LINK else mode, hash_object("blob", stood[1]))
        if tree.get(path) != wanted:
            yield f"the stash holds {tree.get(path)} at {path!r} instead of {wanted}"
    if (listed := try_git(copy, "stash", "list").stdout.count(b"\n")) != 1:
        yield f"git lists {listed} stashes"


def _different_status(copy: Path, before: list[bytes], expected: Expected) -> Iterator[str]:
    """Compare what git says of both copies; with dirt on top, what it said of it before the pull."""
    found = status(copy)
    if expected.records is not None:
        wanted, found = sorted(expected.records), tracked(found)
    elif expected.dirt is None:
        wanted = status(expected.copy)
    else:
        # Whether something is untracked or ignored may have changed with a .gitignore: the files were compared.
        wanted, found = tracked(before), tracked(found)
    wanted = [record for record in wanted if path_of(record) not in expected.already]
    if found != wanted:
        yield f"git status says {found} instead of {wanted}"


def is_named(detail: str, paths: tuple[bytes, ...]) -> bool:
    """Whether a refusal names one of the paths; what is not ASCII may be written in any way."""
    return any(all(part.decode() in detail for part in re.findall(rb"[ -~]+", path)) for path in paths)
