"""What a working copy holds, read without git and without the code under test: files, refs, logs, commits."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISLNK

from dulwich.repo import Repo

from tests.working_copy.building import try_git
from tests.working_copy.model import DIRECTORY, LINK

Tree = dict[bytes, tuple[int, bytes]]
"""Files on disk by path: (type and permission bits, content); an empty directory as (0o40000, nothing)."""

_LOGS = ("HEAD", "refs/heads/main", "refs/remotes/origin/main")
_LOG_LINE = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) [^\t]*(?:\t(.*))?", re.DOTALL)
"""Git writes no tab where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a ref's log, without who and when."""

    old: str
    new: str
    message: bytes


@dataclass(frozen=True, slots=True)
class State:
    """A working copy at one moment. `extra` are names directly in `.git`; `locks` every `*.lock` in it."""

    files: Tree
    refs: Mapping[str, str]
    logs: Mapping[str, tuple[LogLine, ...]]
    index: bytes
    config: bytes
    shallow: frozenset[str]
    extra: frozenset[str]
    locks: tuple[str, ...]

    @property
    def head(self) -> str:
        """The commit of the branch."""
        return self.refs["refs/heads/main"]


def read_files(directory: Path) -> Tree:
    """Return what is on disk, but for `.git` at the top."""
    tree: Tree = {}
    root = os.fsencode(directory)
    pending = [root]
    while pending:
        here = pending.pop()
        with os.scandir(here) as entries:
            found = [entry for entry in entries if not (here == root and entry.name == b".git")]
        if not found and here != root:
            tree[here[len(root) + 1 :]] = (DIRECTORY, b"")
        for entry in found:
            status = entry.stat(follow_symlinks=False)
            path = entry.path[len(root) + 1 :]
            if S_ISDIR(status.st_mode):
                pending.append(entry.path)
            elif S_ISLNK(status.st_mode):
                tree[path] = (LINK, os.readlink(entry.path))
            else:
                with open(entry.path, "rb") as file:
                    tree[path] = (status.st_mode, file.read())
    return tree


def read_state(copy: Path) -> State:
    """Return everything that a pull could touch."""
    at = copy / ".git"
    shallow = _content(at / "shallow").decode().split()
    locks = [os.path.relpath(os.path.join(here, name), at) for here, _, names in os.walk(at) for name in names]
    return State(
        read_files(copy),
        _refs(at),
        {name: tuple(_log(at / "logs" / name)) for name in _LOGS},
        _content(at / "index"),
        _content(at / "config"),
        frozenset(shallow),
        frozenset(os.listdir(at)),
        tuple(sorted(name for name in locks if name.endswith(".lock"))),
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _refs(at: Path) -> dict[str, str]:
    """Return every ref and the pseudo-refs that outlive a pull; a symbolic one as `ref: <name>`."""
    refs = {}
    for line in _content(at / "packed-refs").decode().splitlines():
        if line[:1] not in ("#", "^", ""):
            object_id, _, name = line.partition(" ")
            refs[name] = object_id
    for here, _, names in os.walk(at / "refs"):
        for name in names:
            path = Path(here, name)
            refs[path.relative_to(at).as_posix()] = path.read_text().strip()
    for name in ("HEAD", "ORIG_HEAD", "MERGE_HEAD", "REBASE_HEAD", "CHERRY_PICK_HEAD"):
        if content := _content(at / name).decode().strip():
            refs[name] = content
    return refs


def _log(path: Path) -> Iterator[LogLine]:
    for line in _content(path).split(b"\n")[:-1]:
        found = _LOG_LINE.fullmatch(line)
        assert found, f"{path} holds a line that git does not write: {line!r}"
        yield LogLine(found[1].decode(), found[2].decode(), found[3] or b"")


class Commits:
    """Reads the commits of a copy; a context manager."""

    def __init__(self, copy: Path) -> None:
        """Open the copy's objects."""
        self._repository = Repo(os.fspath(copy))
        self.shallow = set(_content(copy / ".git/shallow").decode().split())

    def __enter__(self) -> "Commits":
        return self

    def __exit__(self, *_: object) -> None:
        self._repository.close()

    def content(self, commit: str) -> bytes:
        """Return a commit object's content."""
        return self._repository.object_store[commit.encode()].as_raw_string()  # type: ignore[index]

    def parents(self, commit: str) -> list[str]:
        """Return a commit's parents, none where history is cut off."""
        head = self.content(commit).partition(b"\n\n")[0].split(b"\n")
        return [] if commit in self.shallow else [line[7:].decode() for line in head if line.startswith(b"parent ")]

    def tree(self, commit: str) -> dict[bytes, tuple[int, str]]:
        """Return a commit's tree by full path: (mode, id)."""
        found: dict[bytes, tuple[int, str]] = {}
        pending = [(b"", self.content(commit)[5:45])]
        while pending:
            prefix, tree = pending.pop()
            for entry in self._repository.object_store[tree].items():  # type: ignore[index,attr-defined]
                if entry.mode == DIRECTORY:
                    pending.append((prefix + entry.path + b"/", entry.sha))
                else:
                    found[prefix + entry.path] = (entry.mode, entry.sha.decode())
        return found


def without_names(content: bytes) -> bytes:
    """Return a commit's content but for its committer and its parents."""
    head, gap, message = content.partition(b"\n\n")
    lines = [line for line in head.split(b"\n") if not line.startswith((b"parent ", b"committer "))]
    return b"\n".join(lines) + gap + message


def status(copy: Path) -> list[bytes]:
    """Return the records of `git status`: what is staged and changed, untracked and ignored, file by file."""
    arguments = ("status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=all", "--ignored")
    done = try_git(copy, *arguments)
    assert done.returncode == 0, f"git status: {done.stderr!r}"
    return sorted(done.stdout.split(b"\0")[:-1])


def tracked(records: Iterable[bytes]) -> list[bytes]:
    """Return those records of a status that are about something in HEAD or in the index."""
    return [record for record in records if record[:1] not in b"?!"]


def staged_in(copy: Path) -> dict[bytes, tuple[int, str]]:
    """Return what git says is in the index: mode and id by path."""
    done = try_git(copy, "ls-files", "--stage", "-z")
    assert done.returncode == 0, f"git ls-files: {done.stderr!r}"
    found = {}
    for line in done.stdout.split(b"\0")[:-1]:
        entry, _, path = line.partition(b"\t")
        mode, object_id, _ = entry.split(b" ")
        found[path] = (int(mode, 8), object_id.decode())
    return found


def unsure(copy: Path) -> set[bytes]:
    """Return the paths whose index entry git does not take for what is on disk without reading the file."""
    done = try_git(copy, "diff-files", "--name-only", "-z")
    assert done.returncode == 0, f"git diff-files: {done.stderr!r}"
    return set(done.stdout.split(b"\0")[:-1])


@dataclass(frozen=True, slots=True)
class Before:
    """A copy as a pull finds it: its state, its files without what is uncommitted, the records of its `git status`.

    `excused` are paths whose index entries need not match what is on disk, then and afterwards.
    """

    state: State
    clean: Tree
    records: list[bytes]
    excused: frozenset[bytes]

    def records_about(self, paths: Collection[bytes], *, is_about: bool) -> list[bytes]:
        """Return the records about files that git knows, those at the paths or all others."""
        return [record for record in tracked(self.records) if (path_of(record) in paths) == is_about]


def path_of(record: bytes) -> bytes:
    """Return the path that a record of a status is about."""
    return record.split(b" ", 1 if record[:1] in b"?!" else 8)[-1].rstrip(b"/")
