"""Random histories in a real repository, and what real git says of them."""

import os
import subprocess
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from hypothesis import strategies as st

from handler.mount.git.objects import Objects, hash_object
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.commit_graph import CommitGraph
from handler.mount.working_copy.rebase.replay import graph_of
from testing.repositories import GENESIS, git_environment, run_git

EXAMPLES = int(os.environ.get("GIT2EFS_TEST_EXAMPLES", "0"))
"""How many examples a property is tried with; 0: as few as a build has time for."""

_KINDS = {1: b"commit", 2: b"tree", 3: b"blob"}
_LINES = [b"line %d\n" % number for number in range(24)]
START: "Content" = {
    "a": ("100644", b"".join(_LINES)),
    "b": ("100644", b"".join(_LINES[:9])),
    "d/e": ("100644", b"one\n"),
}
"""What a root commit holds, before its edit."""

Content = dict[str, tuple[str, bytes]]
"""A tree by path: (mode, content)."""


def _insert(path: str, at: int, line: bytes) -> Callable[[Content], None]:
    def edit(content: Content) -> None:
        mode, text = content.get(path, ("100644", b""))
        lines = text.splitlines(keepends=True)
        lines.insert(min(at, len(lines)), line)
        content[path] = (mode, b"".join(lines))

    return edit


def _replace(path: str, at: int, line: bytes) -> Callable[[Content], None]:
    def edit(content: Content) -> None:
        mode, text = content.get(path, ("100644", b""))
        lines = text.splitlines(keepends=True)
        lines[at : at + 1] = [line]
        content[path] = (mode, b"".join(lines))

    return edit


def _put(path: str, mode: str, text: bytes) -> Callable[[Content], None]:
    def edit(content: Content) -> None:
        for other in [name for name in content if name.startswith(path + "/") or path.startswith(name + "/")]:
            del content[other]
        content[path] = (mode, text)

    return edit


def _mode(path: str, mode: str) -> Callable[[Content], None]:
    def edit(content: Content) -> None:
        if path in content:
            content[path] = (mode, content[path][1])

    return edit


EDITS: dict[str, Callable[[Content], None]] = {
    "nothing": lambda content: None,
    "a top": _insert("a", 0, b"new\n"),
    "a top, otherwise spaced": _insert("a", 0, b"  n e w\n"),
    "a middle": _replace("a", 12, b"middle\n"),
    "a end": _insert("a", 99, b"end\n"),
    "a repeats": _insert("a", 12, b"line 11\n"),
    "b top": _insert("b", 0, b"new\n"),
    "b middle": _replace("b", 4, b"middle\n"),
    "b gone": lambda content: content.pop("b", None) and None,
    "b runs": _mode("b", "100755"),
    "b runs not": _mode("b", "100644"),
    "e two": _insert("d/e", 9, b"two\n"),
    "d is a file": _put("d", "100644", b"file\n"),
    "d/e again": _put("d/e", "100644", b"one\n"),
    "link": _put("l", "120000", b"a"),
    "link elsewhere": _put("l", "120000", b"b"),
    "binary": _put("n", "100644", b"\0\1"),
    "binary, other": _put("n", "100644", b"\0\2"),
    "no end": _put("m", "100644", b"no line feed"),
    "end": _put("m", "100644", b"no line feed\n"),
    "module": _put("s", "160000", b"1" * 40),
    "module on": _put("s", "160000", b"2" * 40),
    "new": _put("x y", "100644", b"x\n"),
    "new, elsewhere": _put("xy", "100644", b"x\n"),
}
"""What a commit may do: few things, so that two often do the same."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One commit of a history to be made: parents are numbers of earlier ones, `late` shifts its time in seconds."""

    parents: tuple[int, ...]
    edits: tuple[str, ...]
    late: int = 0
    message: bytes = b"subject\n"


@st.composite
def plans(
    draw: st.DrawFn, most: int = 12, skew: bool = False, edits: Sequence[str] = tuple(EDITS), roots: bool = True
) -> list[Plan]:
    """Return a history of a few commits, the later mostly on the latest; merges have the first parent's tree."""
    made = [Plan((), ("nothing",))]
    lateness = st.sampled_from([0, 0, 0, -200, 200, -1000, 1000]) if skew else st.just(0)
    for number in range(1, draw(st.integers(2, most))):
        count = draw(st.sampled_from([1, 1, 1, 1, 2, 2, 3, 0] if roots else [1, 1, 1, 1, 2]))
        nearest = st.integers(max(0, number - 3), number - 1)
        parents = draw(st.lists(nearest, min_size=min(count, 1), max_size=min(count, number), unique=True))
        done = draw(st.lists(st.sampled_from(edits), min_size=0 if len(parents) > 1 else 1, max_size=2))
        made.append(Plan(tuple(parents), tuple(done), draw(lateness)))
    return made


class Graph:
    """A bare or plain repository at `path` whose commits are looked at from both sides; `ids` in order of making."""

    def __init__(self, path: Path) -> None:
        """Make the empty repository, `path/.git`."""
        path.mkdir()
        self.path = path
        self.git("init", "--quiet", "--template=", "--initial-branch=main", ".")
        self.ids: list[bytes] = []
        self.objects = GitObjects(path)

    def __enter__(self) -> "Graph":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End git's process."""
        self.objects.close()

    def git(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> bytes:
        """Run git in the repository; return its standard output. Raises RuntimeError."""
        return run_git(*arguments, directory=self.path, stdin=stdin, check=check)

    def make(self, history: Sequence[Plan]) -> "Graph":
        """Make the commits of a plan."""
        stream = b"".join(_stream(history))
        ids = self.git("fast-import", "--quiet", "--force", "--date-format=raw-permissive", stdin=stream).split()
        self.ids = ids
        return self

    def ask(self, *arguments: str | bytes) -> list[bytes]:
        """Return the lines that git prints, none where it fails."""
        words = [word.decode() if isinstance(word, bytes) else word for word in arguments]
        return self.git(*words, check=False).split(b"\n")[:-1]

    def says(self, *arguments: str | bytes) -> bool:
        """Whether git ends with 0."""
        words = [word.decode() if isinstance(word, bytes) else word for word in arguments]
        command = ["git", *words]
        return subprocess.run(command, cwd=self.path, env=git_environment(), check=False).returncode == 0

    def overlay(self) -> MemoryOverlay:
        """Return an overlay over the repository's objects."""
        return MemoryOverlay(self.objects)

    def history(self, shallow: Iterable[bytes] = ()) -> CommitGraph:
        """Return the history as the product reads it."""
        return graph_of(self.overlay(), frozenset(shallow))

    def put(self, kind: int, content: bytes) -> bytes:
        """Write an object of any content, unchecked; return its id."""
        object_id = hash_object(kind, content)
        place = self.path / ".git/objects" / object_id[:2].decode() / object_id[2:].decode()
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(zlib.compress(b"%b %d\0%b" % (_KINDS[kind], len(content), content)))
        return object_id

    def log(self, ref: str, values: Sequence[bytes]) -> None:
        """Make a ref whose log has these values in turn."""
        for place, content in (
            (self.path / ".git" / ref, values[-1] + b"\n"),
            (self.path / ".git/logs" / ref, b"".join(_log(values))),
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


@dataclass
class GitObjects(Objects):
    """The objects of any repository, as `git cat-file` gives them; counts what is read."""

    path: Path
    reads: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start git when it is needed."""
        super().__init__()
        self._process: subprocess.Popen[bytes] | None = None

    def read_raw(self, object_id: bytes, /) -> tuple[int, bytes]:
        """Return type and content; raises KeyError where there is none."""
        if self._process is None:
            self._process = subprocess.Popen(
                ["git", "cat-file", "--batch"],
                cwd=self.path,
                env=git_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self._process.stdin and self._process.stdout
        self.reads.append(object_id)
        self._process.stdin.write(object_id + b"\n")
        self._process.stdin.flush()
        about = self._process.stdout.readline().split()
        if about[1] == b"missing":
            raise KeyError(object_id)
        content = self._process.stdout.read(int(about[2]) + 1)[:-1]
        return next(kind for kind, name in _KINDS.items() if name == about[1]), content

    def close(self) -> None:
        """End git."""
        if self._process is not None:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()


def _log(values: Sequence[bytes]) -> Iterable[bytes]:
    old = b"0" * 40
    for new in values:
        yield b"%b %b A <a@x> %d +0000\tupdate\n" % (old, new, GENESIS)
        old = new


def _stream(history: Sequence[Plan]) -> Iterable[bytes]:
    contents: list[Content] = []
    for number, plan in enumerate(history):
        content = dict(contents[plan.parents[0]] if plan.parents else START)
        for name in plan.edits:
            EDITS[name](content)
        contents.append(content)
        yield b"reset refs/made/%d\n\ncommit refs/made/%d\nmark :%d\n" % (number, number, number + 1)
        when = GENESIS + 60 * number
        yield b"author Ada <ada@example.com> %d +0130\n" % when
        yield b"committer Bob <bob@example.com> %d +0000\n" % (when + plan.late)
        yield b"data %d\n%b\n" % (len(plan.message), plan.message)
        for at, parent in enumerate(plan.parents):
            yield b"%b :%d\n" % (b"merge" if at else b"from", parent + 1)
        yield b"deleteall\n"
        for path, (mode, text) in content.items():
            if mode == "160000":
                yield f'M 160000 {text.decode()} "{path}"\n'.encode()
            else:
                yield f'M {mode} inline "{path}"\ndata {len(text)}\n'.encode() + text + b"\n"
        yield b"\nget-mark :%d\n" % (number + 1)
