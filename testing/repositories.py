"""Real repositories, made by the real git binary and isolated from whoever runs the tests.

A commit is one `git fast-import`: it takes names of any bytes, every mode, links and submodule entries, and needs no
working copy. A small one upon a commit that was made here is written without a process, as the same objects; so are a
ref and a raw object. A test of this module holds both ways to the same ids, and git to accept what is written.
"""

import hashlib
import itertools
import os
import random
import re
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

GENESIS = 1_750_000_000
"""When the first commit of every upstream is made, in seconds since the epoch; each next a minute later."""

COMMIT_INTERVAL_SECONDS = 60

NEEDS_GIT = "needs git with its http-backend (Debian and macOS: part of git; Alpine: git-daemon)"

MAX_LOOSE_CHANGES = 50
"""A commit of more changes is git's to make: it writes a pack."""

_OBJECT_ID = re.compile(r"[0-9a-f]{40}")

_IDENTITY = "Ada Pusher <ada@example.com>"


@dataclass(frozen=True, slots=True)
class Executable:
    """A regular file of mode 100755."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: bytes


@dataclass(frozen=True, slots=True)
class Submodule:
    """A gitlink: an entry of mode 160000 that names a commit of another repository."""

    commit: str


Entry = bytes | Executable | Link | Submodule
"""What a path of a commit can hold."""

Files = Mapping[str | bytes, Entry | None] | Mapping[str, Entry | None] | Mapping[bytes, Entry | None]
"""Changes of a commit, by path; None removes the file or the whole directory."""

Tree = dict[bytes, tuple[int, bytes]]
"""A tree by full path: (mode, content), mode one of 0o100644, 0o100755, 0o120000 and 0o40000.

A link's content is its target. 0o40000, with no content, is an *empty* directory: a submodule's place in a
commit's tree; on disk any directory without entries.
"""


def git_environment(when: int = GENESIS) -> dict[str, str]:
    """Return the whole environment for git: nobody's configuration, one identity, `when` as both dates."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ada Pusher",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada Pusher",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
        "GIT_AUTHOR_DATE": f"{when} +0000",
        "GIT_COMMITTER_DATE": f"{when} +0000",
    }


def run_git(
    *arguments: str | Path, directory: Path, stdin: bytes = b"", when: int = GENESIS, check: bool = True
) -> bytes:
    """Run git in `directory`; return its standard output. Raises RuntimeError with its standard error."""
    require_git()
    command = ["git", "-c", "init.defaultBranch=main", "-c", "gc.auto=0", *map(str, arguments)]
    result = subprocess.run(
        command, cwd=directory, input=stdin, env=git_environment(when), capture_output=True, check=False
    )
    if check and result.returncode:
        raise RuntimeError(f"git {arguments[0]} ended with {result.returncode}: {result.stderr.decode()}")
    return result.stdout


class Upstream:
    """The bare repository `<root>/<owner>/<name>.git` that plays GitHub's side of a push."""

    def __init__(self, root: Path, full_name: str = "octo/site", default_branch: str = "main") -> None:
        """Make the empty repository."""
        self.full_name = full_name
        self.path = root / f"{full_name}.git"
        self.default_branch = default_branch
        self._clock = itertools.count(GENESIS, COMMIT_INTERVAL_SECONDS)
        self._objects = LooseObjects(self.path / "objects")
        _init(self.path, default_branch)

    def git(self, *arguments: str | Path, stdin: bytes = b"", check: bool = True) -> bytes:
        """Run git in the repository; return its standard output. Raises RuntimeError."""
        return run_git(*arguments, directory=self.path, stdin=stdin, when=next(self._clock), check=check)

    # -- refs --------------------------------------------------------------------------------------------

    def tip(self, ref: str | None = None) -> str | None:
        """Return the object id that a ref (full name, or a branch) names, None where there is none."""
        name = self.ref_name(ref)
        # A process less for nearly every commit: git keeps a ref in a file of its own until somebody packs them.
        with suppress(OSError):
            found = (self.path / name).read_text().strip()
            if _OBJECT_ID.fullmatch(found):
                return found
        if not (self.path / name).exists() and not (self.path / "packed-refs").exists():
            return None
        return self.git("rev-parse", "--verify", "--quiet", name, check=False).decode().strip() or None

    def peel(self, object_id: str) -> str | None:
        """Return the commit that an object is, or that a tag leads to; None where there is none."""
        if object_id in self._objects.commits:
            return object_id
        found = self.git("rev-parse", "--verify", "--quiet", f"{object_id}^{{commit}}", check=False)
        return found.decode().strip() or None

    def ref_name(self, ref: str | None) -> str:
        """Return the full name of `ref`: a branch's short name is completed, None is the default branch."""
        ref = ref or self.default_branch
        return ref if ref.startswith("refs/") else f"refs/heads/{ref}"

    def refs(self) -> dict[str, str]:
        """Return every ref with the object id it names."""
        lines = self.git("for-each-ref", "--format=%(objectname) %(refname)").decode().splitlines()
        return {name: object_id for object_id, name in (line.split(" ", 1) for line in lines)}

    def point(self, ref: str, commit: str) -> None:
        """Make or move a ref: a new branch, a force-push back."""
        name = self.ref_name(ref)
        if not (commit in self._objects.commits and _write_ref(self.path, name, commit)):
            self.git("update-ref", name, commit)

    def delete(self, ref: str) -> None:
        """Delete a ref."""
        self.git("update-ref", "-d", self.ref_name(ref))

    def set_default_branch(self, branch: str) -> None:
        """Make HEAD name another branch, as a person does in the repository's settings."""
        self.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        self.default_branch = branch

    def tag(self, name: str, target: str, *, annotated: bool = True) -> str:
        """Tag an object (a tag too); return the id that `refs/tags/<name>` then names."""
        if annotated:
            self.git("tag", "--annotate", "--force", "--message", f"Tag {name}", name, target)
        else:
            self.git("tag", "--force", name, target)
        tagged = self.tip(f"refs/tags/{name}")
        assert tagged
        return tagged

    # -- commits -----------------------------------------------------------------------------------------

    def commit(
        self,
        files: Files,
        branch: str | None = None,
        *,
        message: str = "Change",
        parents: Sequence[str] | None = None,
        replace: bool = False,
        when: int | None = None,
    ) -> str:
        """Commit changes on top of a branch, made where it is missing; return the commit id.

        `parents` given: those instead of the branch's tip, the tree starting from the first (a merge, a
        force-push, or with () a new root). `replace`: the tree holds `files` alone.
        """
        ref = self.ref_name(branch)
        if parents is None:
            tip = self.tip(ref)
            parents = [tip] if tip else []
        when = when or next(self._clock)
        commit = self._objects.commit(files, parents, message=message, when=when, replace=replace)
        if commit and _write_ref(self.path, ref, commit):
            return commit
        head = [
            f"commit {ref}\nmark :1\n".encode(),
            f"committer {_IDENTITY} {when} +0000\n".encode(),
            _counted(message.encode()),
            *(f"{'merge' if at else 'from'} {parent}\n".encode() for at, parent in enumerate(parents)),
        ]
        # `--force` lets the branch go back too, and without a parent the branch's tip is not taken for one.
        stream = b"".join([*head, b"deleteall\n" if replace else b"", *_changes(files), b"\nget-mark :1\n"])
        return self._import(stream).strip().decode()

    def merge(self, other: str, branch: str | None = None, files: Files | None = None) -> str:
        """Commit a merge of `other` (a commit) into a branch, its tree the branch's plus `files`."""
        tip = self.tip(branch)
        assert tip, "nothing to merge into"
        return self.commit(files or {}, branch, message="Merge", parents=[tip, other])

    def commit_tree(self, tree: str, branch: str | None = None, *, parents: Sequence[str] = ()) -> str:
        """Commit a tree as it is, however hostile, and move the branch there; return the commit id."""
        content = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        when = next(self._clock)
        content += [f"{role} {_IDENTITY} {when} +0000" for role in ("author", "committer")]
        content += ["", "Hostile", ""]
        commit = self.raw_object("commit", "\n".join(content).encode())
        self.point(self.ref_name(branch), commit)
        return commit

    # -- raw objects -------------------------------------------------------------------------------------

    def raw_object(self, kind: str, content: bytes) -> str:
        """Write an object of any content, unchecked; return its id."""
        return self._objects.write(kind, content)

    def blob(self, content: bytes) -> str:
        """Write a blob; return its id."""
        return self.raw_object("blob", content)

    def raw_tree(self, entries: Iterable[tuple[bytes, bytes, str]]) -> str:
        """Write a tree of (mode as written, name, object id), in this order and unchecked; return its id."""
        lines = (b"%b %b\0%b" % (mode, name, bytes.fromhex(object_id)) for mode, name, object_id in entries)
        return self.raw_object("tree", b"".join(lines))

    # -- big ones ----------------------------------------------------------------------------------------

    def generate(
        self,
        files: int,
        commits: int = 1,
        *,
        seed: int = 0,
        changes: int = 1,
        branch: str | None = None,
        files_a_directory: int = 25,
    ) -> list[str]:
        """Commit a tree of `files` files in nested directories, then `commits - 1` times `changes` files.

        The same arguments make the same commits. Every tenth change removes a file or adds one. Ten thousand
        files take about a second.
        """
        stream = b"".join(_generated(self.ref_name(branch), files, commits, seed, changes, files_a_directory))
        return self._import(stream).decode().split()

    def _import(self, stream: bytes) -> bytes:
        return self.git("fast-import", "--quiet", "--force", "--date-format=raw-permissive", stdin=stream)


class LooseObjects:
    """Writes a repository's objects as git does, without a process; what they are is remembered."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the repository's `objects`."""
        self.commits: set[str] = set()
        self._directory = directory
        self._trees: dict[str, dict[bytes, _Leaf]] = {}
        self._written: set[str] = set()

    def write(self, kind: str, content: bytes) -> str:
        """Write an object of any content, unchecked; return its id."""
        raw = b"%b %d\0%b" % (kind.encode(), len(content), content)
        object_id = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
        if object_id not in self._written:
            path = self._directory / object_id[:2] / object_id[2:]
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                path.write_bytes(zlib.compress(raw, 1))
                path.chmod(0o444)
            self._written.add(object_id)
        return object_id

    def commit(self, files: Files, parents: Sequence[str], *, message: str, when: int, replace: bool) -> str | None:
        """Write the commit that `git fast-import` would; None where that has to do it itself.

        Large ones, and those upon a commit that was not written here.
        """
        # A parent may be given as anything that git understands, and then git makes the commit.
        if len(files) > MAX_LOOSE_CHANGES or not set(parents) <= self.commits:
            return None
        leaves = dict(self._trees[parents[0]]) if parents and not replace else {}
        if not self._change(leaves, files):
            return None
        lines = [f"tree {self._write_tree(leaves)}", *(f"parent {parent}" for parent in parents)]
        lines += [f"{role} {_IDENTITY} {when} +0000" for role in ("author", "committer")]
        commit = self.write("commit", "\n".join([*lines, "", message]).encode())
        self.commits.add(commit)
        self._trees[commit] = leaves
        return commit

    def _change(self, leaves: dict[bytes, "_Leaf"], files: Files) -> bool:
        """Make the changes of a commit, removals first; return False where a path is not for us to judge."""
        changes = [(path if isinstance(path, bytes) else path.encode(), entry) for path, entry in files.items()]
        if any({b"", b".", b".."} & set(path.split(b"/")) for path, _ in changes):
            return False
        for path, entry in sorted(changes, key=lambda change: change[1] is not None):
            below = path + b"/"
            for other in [other for other in leaves if other == path or other.startswith(below)]:
                del leaves[other]
            if entry is None:
                continue
            for at in (at for at, byte in enumerate(path) if byte == ord("/")):
                leaves.pop(path[:at], None)
            match entry:
                case bytes():
                    leaves[path] = b"100644", self.write("blob", entry)
                case Executable(content):
                    leaves[path] = b"100755", self.write("blob", content)
                case Link(target):
                    leaves[path] = b"120000", self.write("blob", target)
                case Submodule(commit):
                    leaves[path] = b"160000", commit
        return True

    def _write_tree(self, leaves: Mapping[bytes, "_Leaf"]) -> str:
        here: dict[bytes, _Leaf] = {}
        below: dict[bytes, dict[bytes, _Leaf]] = {}
        for path, leaf in leaves.items():
            name, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(name, {})[rest] = leaf
            else:
                here[name] = leaf
        for name, inner in below.items():
            here[name] = b"40000", self._write_tree(inner)
        # Git sorts a directory as if its name ended with a slash.
        order = sorted(here, key=lambda name: name + b"/" * (here[name][0] == b"40000"))
        lines = (b"%b %b\0%b" % (here[name][0], name, bytes.fromhex(here[name][1])) for name in order)
        return self.write("tree", b"".join(lines))


_Leaf = tuple[bytes, str]
"""A mode as git writes it, and an object id."""


_archives: dict[str, Tree] = {}
"""What git read of commits so far."""


def archive(repository: Upstream | Path, commit: str) -> Tree:
    """Return the tree of a commit as real git reads it: what a published tree has to equal."""
    # A commit's id says what its tree is; a mirror's may be damaged, and is read each time.
    if isinstance(repository, Upstream) and _OBJECT_ID.fullmatch(commit):
        if commit not in _archives:
            _archives[commit] = _read_archive(repository.path, commit)
        return dict(_archives[commit])
    return _read_archive(repository.path if isinstance(repository, Upstream) else repository, commit)


def _read_archive(directory: Path, commit: str) -> Tree:
    listing = run_git("ls-tree", "-r", "-z", "--full-tree", commit, directory=directory)
    entries: list[tuple[bytes, int, str]] = []
    for line in listing.split(b"\0")[:-1]:
        about, path = line.split(b"\t", 1)
        mode_text, _, object_id_text = about.split()
        entries.append((path, int(mode_text, 8), object_id_text.decode()))
    wanted = [object_id for _, mode, object_id in entries if mode != 0o160000]
    contents = _blobs(directory, wanted)
    tree: Tree = {}
    for path, mode, object_id in entries:
        if mode == 0o160000:
            tree[path] = (0o40000, b"")
        else:
            tree[path] = (mode if mode == 0o120000 else _regular_mode(mode), contents[object_id])
    return tree


def snapshot(directory: Path) -> Tree:
    """Return what is on disk below `directory`, in the shape of `archive`; empty directories as 0o40000."""
    tree: Tree = {}
    pending = [os.fsencode(directory)]
    root_length = len(pending[0]) + 1
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                name = entry.path[root_length:]
                if entry.is_symlink():
                    tree[name] = (0o120000, os.readlink(entry.path))
                elif entry.is_dir():
                    pending.append(entry.path)
                    if not os.listdir(entry.path):
                        tree[name] = (0o40000, b"")
                else:
                    mode = _regular_mode(entry.stat(follow_symlinks=False).st_mode)
                    tree[name] = (mode, Path(os.fsdecode(entry.path)).read_bytes())
    return tree


def empty_directories(directory: Path) -> list[bytes]:
    """Return the paths of the directories without entries below `directory`, sorted."""
    return sorted(path for path, (mode, _) in snapshot(directory).items() if mode == 0o40000)


def fsck(repository: Path) -> None:
    """Let real git check a repository. Raises RuntimeError with what it found."""
    run_git("fsck", "--full", "--no-dangling", directory=repository)


@cache
def has_git() -> bool:
    """Tell whether git and its http-backend are installed."""
    git = shutil.which("git")
    if not git:
        return False
    programmes = subprocess.run([git, "--exec-path"], capture_output=True, text=True, check=True).stdout
    return (Path(programmes.strip()) / "git-http-backend").exists()


def require_git() -> None:
    """Skip the test that comes to need git, where git is not installed. The one place that does."""
    if not has_git():
        import pytest  # only here: child processes need none of it

        pytest.skip(NEEDS_GIT)


@cache
def _empty_repository() -> tuple[list[str], dict[str, bytes]]:
    """Return the directories and files that `git init --bare` makes, parents first."""
    with tempfile.TemporaryDirectory(prefix="git-init-") as name:
        made = Path(name) / "empty.git"
        run_git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", made, directory=Path(name))
        paths = sorted(made.rglob("*"))
        directories = [str(path.relative_to(made)) for path in paths if path.is_dir()]
        return directories, {str(path.relative_to(made)): path.read_bytes() for path in paths if path.is_file()}


def _init(path: Path, default_branch: str) -> None:
    """Make an empty bare repository, as `git init` does, and as it leaves one alone that is there."""
    if (path / "HEAD").exists():
        return
    directories, files = _empty_repository()
    path.mkdir(parents=True)
    for name in directories:
        (path / name).mkdir()
    for name, content in (files | {"HEAD": f"ref: refs/heads/{default_branch}\n".encode()}).items():
        (path / name).write_bytes(content)


def _write_ref(repository: Path, name: str, object_id: str) -> bool:
    """Write a ref in a file of its own, in one step; return False where git has to: its name is another's directory."""
    path = repository / name
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text(object_id + "\n")
        lock.replace(path)
    except OSError:
        with suppress(OSError):
            lock.unlink()
        return False
    return True


def _regular_mode(mode: int) -> int:
    return 0o100755 if mode & 0o100 else 0o100644


def _blobs(repository: Path, object_ids: list[str]) -> dict[str, bytes]:
    ids = "".join(f"{object_id}\n" for object_id in object_ids)
    output = run_git("cat-file", "--batch", "--buffer", directory=repository, stdin=ids.encode())
    contents: dict[str, bytes] = {}
    at = 0
    while at < len(output):
        end = output.index(b"\n", at)
        object_id, _, size = output[at:end].split()
        contents[object_id.decode()] = output[end + 1 : end + 1 + int(size)]
        at = end + int(size) + 2
    return contents


def _counted(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _quoted(path: str | bytes) -> bytes:
    """Return a path as fast-import reads it: in quotes, everything unusual in octal."""
    raw = path if isinstance(path, bytes) else path.encode()
    plain = b"".join(b"%c" % c if 32 < c < 127 and c not in b'"\\' else b"\\%03o" % c for c in raw)
    return b'"' + plain + b'"'


def _changes(files: Files) -> Iterator[bytes]:
    """Yield the file changes of one commit; removals first, so that a file can take a directory's place."""
    yield from (b"D %b\n" % _quoted(path) for path, entry in files.items() if entry is None)
    for path, entry in files.items():
        match entry:
            case bytes():
                yield b"M 100644 inline %b\n%b" % (_quoted(path), _counted(entry))
            case Executable(content):
                yield b"M 100755 inline %b\n%b" % (_quoted(path), _counted(content))
            case Link(target):
                yield b"M 120000 inline %b\n%b" % (_quoted(path), _counted(target))
            case Submodule(commit):
                yield b"M 160000 %b %b\n" % (commit.encode(), _quoted(path))


def _generated(ref: str, files: int, commits: int, seed: int, changes: int, files_a_directory: int) -> Iterator[bytes]:
    """Yield the fast-import stream of `Upstream.generate`."""
    chance = random.Random(seed)
    directories = max(1, files // files_a_directory)
    side = max(1, round(directories ** (1 / 2)))

    def path(number: int) -> str:
        directory = number % directories
        return f"area{directory % side:03d}/part{directory // side:03d}/file{number:06d}.txt"

    def content() -> bytes:
        return chance.randbytes(chance.randint(50, 1000)).hex().encode() + b"\n"

    alive = [path(number) for number in range(files)]
    fresh = itertools.count(files)
    for number in range(commits):
        yield f"commit {ref}\nmark :{number + 1}\n".encode()
        yield f"committer {_IDENTITY} {GENESIS + number * COMMIT_INTERVAL_SECONDS} +0000\n".encode()
        yield _counted(f"Generated {number}".encode())
        if number == 0:
            yield b"deleteall\n"
            yield from _changes({name: content() for name in alive})
        else:
            yield from _changes(_generated_changes(chance, alive, changes, content, fresh, path))
        yield b"\nget-mark :%d\n" % (number + 1)


def _generated_changes(
    chance: random.Random,
    alive: list[str],
    changes: int,
    content: Callable[[], bytes],
    fresh: Iterator[int],
    path: Callable[[int], str],
) -> dict[str, Entry | None]:
    """Return one generated commit's changes, and keep `alive` true."""
    files: dict[str, Entry | None] = {}
    for _ in range(changes):
        kind = chance.random()
        if kind < 0.05 and len(alive) > 1:
            files[alive.pop(chance.randrange(len(alive)))] = None
        elif kind < 0.1:
            alive.append(path(next(fresh)))
            files[alive[-1]] = content()
        else:
            files[chance.choice(alive)] = content()
    return files
