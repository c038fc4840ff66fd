"""What real git makes of merges: `git merge-tree`, without a working copy, and many merges at few processes."""

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from handler.mount.git.objects import BLOB, TREE, Objects, hash_object
from testing.repositories import GENESIS, Executable, Link, Submodule, git_environment, run_git

Entry = bytes | Executable | Link | Submodule
Files = Mapping[bytes, Entry]
"""A whole tree by path."""
Three = tuple[Files, Files, Files]
"""Base, ours, theirs."""


class Memory(Objects):
    """Objects that were never in a pack."""

    def __init__(self) -> None:
        """None yet."""
        super().__init__()
        self.contents: dict[bytes, tuple[int, bytes]] = {}
        self.reads: list[bytes] = []

    def put(self, kind: int, content: bytes) -> bytes:
        """Add an object; returns its id in hex."""
        object_id = hash_object(kind, content)
        self.contents[object_id] = kind, content
        return object_id

    def read_raw(self, object_id: bytes, /) -> tuple[int, bytes]:
        """Return an object as the packs would, and note that it was asked for."""
        self.reads.append(object_id)
        return self.contents[object_id]

    def tree(self, files: Files) -> bytes:
        """Add the tree of these files; returns its id in hex."""
        below: dict[bytes, dict[bytes, Entry]] = {}
        lines: list[tuple[bytes, bytes]] = []
        for path, entry in files.items():
            name, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(name, {})[rest] = entry
            else:
                lines.append((name, self._line(name, entry)))
        for name, inner in below.items():
            lines.append((name + b"/", b"40000 %b\0%b" % (name, bytes.fromhex(self.tree(inner).decode()))))
        return self.put(TREE, b"".join(line for _, line in sorted(lines)))

    def _line(self, name: bytes, entry: Entry) -> bytes:
        if isinstance(entry, Submodule):
            return b"160000 %b\0%b" % (name, bytes.fromhex(entry.commit))
        mode, content = _mode_and_content(entry)
        return b"%b %b\0%b" % (mode, name, bytes.fromhex(self.put(BLOB, content).decode()))


class Oracle:
    """A repository in which git merges."""

    def __init__(self, directory: Path) -> None:
        """Make it."""
        self.path = directory
        directory.mkdir()
        run_git("init", "--quiet", "--bare", "--template=", directory=directory)

    def merges(self, cases: Sequence[Three]) -> Iterator[bytes | None]:
        """Yield the id of each merged tree, None for a conflict. Raises RuntimeError where git itself fails."""
        numbers = b"".join(b"get-mark :%d\n" % (mark + 1) for mark in range(3 * len(cases)))
        stream = b"".join(_commits(cases)) + numbers
        commits = run_git("fast-import", "--quiet", "--force", directory=self.path, stdin=stream).decode().split()
        for ours, theirs in zip(commits[1::3], commits[2::3], strict=True):
            yield self._merge(ours, theirs)

    def contents(self, cases: Sequence[tuple[bytes, bytes, bytes]]) -> list[bytes | None]:
        """Return the merged content of each (base, ours, theirs), None for a conflict: all files of one merge."""
        trees = [{b"%d" % number: case[side] for number, case in enumerate(cases)} for side in range(3)]
        stream = b"".join(_commits([(trees[0], trees[1], trees[2])])) + b"get-mark :2\nget-mark :3\n"
        commits = run_git("fast-import", "--quiet", "--force", directory=self.path, stdin=stream).decode().split()
        said = run_git(
            "merge-tree", "--write-tree", "--name-only", "--no-messages", *commits, directory=self.path, check=False
        )
        tree, *conflicts = said.split(b"\n")
        wanted = b"".join(b"%b:%d\n" % (tree, number) for number in range(len(cases)))
        found = run_git("cat-file", "--batch", "--buffer", directory=self.path, stdin=wanted)
        merged: list[bytes | None] = []
        at = 0
        for number in range(len(cases)):
            start = found.index(b"\n", at) + 1
            at = start + int(found[at:start].split()[2]) + 1
            merged.append(None if b"%d" % number in conflicts else found[start : at - 1])
        return merged

    def merge_ids(self, base: bytes, ours: bytes, theirs: bytes, objects: Memory) -> bytes | None:
        """Return the merged tree of three trees as they are, with modes that fast-import would not write."""
        for kind, content in objects.contents.values():
            name = {BLOB: "blob", TREE: "tree"}[kind]
            run_git("hash-object", "-t", name, "-w", "--literally", "--stdin", directory=self.path, stdin=content)
        first = run_git("commit-tree", "-m", "base", base.decode(), directory=self.path).decode().strip()
        sides = [
            run_git("commit-tree", "-m", "side", "-p", first, tree.decode(), directory=self.path).decode().strip()
            for tree in (ours, theirs)
        ]
        return self._merge(*sides)

    def _merge(self, ours: str, theirs: str) -> bytes | None:
        command = ["git", "merge-tree", "--write-tree", ours, theirs]
        done = subprocess.run(command, cwd=self.path, env=git_environment(), capture_output=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"git merge-tree ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout[:40] if done.returncode == 0 else None


def _commits(cases: Iterable[Three]) -> Iterator[bytes]:
    """Yield the fast-import stream of three commits a case: the base, and two on top of it."""
    mark = 0
    for case in cases:
        for side, files in enumerate(case):
            mark += 1
            yield b"reset refs/heads/one\n\ncommit refs/heads/one\nmark :%d\n" % mark
            yield b"committer A <a@example.com> %d +0000\ndata 0\n" % (GENESIS + mark)
            yield b"from :%d\n" % (mark - side) if side else b""
            yield b"deleteall\n"
            for path, entry in files.items():
                yield _change(path, entry)
            yield b"\n"


def _change(path: bytes, entry: Entry) -> bytes:
    if isinstance(entry, Submodule):
        return b"M 160000 %b %b\n" % (entry.commit.encode(), path)
    mode, content = _mode_and_content(entry)
    return b"M %b inline %b\ndata %d\n%b\n" % (mode, path, len(content), content)


def _mode_and_content(entry: Link | Executable | bytes) -> tuple[bytes, bytes]:
    """Return a blob's mode in a tree, in octal, and what it holds."""
    match entry:
        case Link(target):
            return b"120000", target
        case Executable(content):
            return b"100755", content
        case bytes(content):
            return b"100644", content
