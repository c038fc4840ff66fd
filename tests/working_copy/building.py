"""A history on disk: the upstream repository, and a working copy of it with what was done there."""

import os
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

from testing.origin import GitOrigin
from testing.repositories import GENESIS, git_environment, require_git
from tests.working_copy.model import GITLINK, Dirt, DirtKind, History, Objects, Origin

NO_ID = "0" * 40
_PERSON = b"Ada Pusher <ada@example.com> %d +0000" % GENESIS
_KINDS = {"commit": 1, "tree": 2, "blob": 3}
_SETTINGS = {"gc.auto": "0", "maintenance.auto": "false", "core.fsync": "none", "init.defaultBranch": "main"}

ENVIRONMENT = git_environment() | {
    "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
    **{f"GIT_CONFIG_KEY_{at}": key for at, key in enumerate(_SETTINGS)},
    **{f"GIT_CONFIG_VALUE_{at}": value for at, value in enumerate(_SETTINGS.values())},
    "GIT_OPTIONAL_LOCKS": "0",
    "PATH": os.environ.get("PATH", os.defpath),
}
"""For every git of these tests: nobody's configuration; `git status` writes no index by the way."""


class GitFailed(Exception):
    """Git ended with another code than 0 where it must not; the message is what it said."""


def git(directory: Path, *arguments: str | Path, stdin: bytes = b"") -> bytes:
    """Run git; return its standard output. Raises GitFailed."""
    found = try_git(directory, *arguments, stdin=stdin)
    if found.returncode:
        said = found.stderr.decode("utf-8", "replace")
        raise GitFailed(f"git {' '.join(map(str, arguments))} ended with {found.returncode}: {said}")
    return found.stdout


def try_git(directory: Path, *arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run git, whatever comes of it."""
    require_git()
    return subprocess.run(
        ["git", *map(str, arguments)], cwd=directory, env=ENVIRONMENT, input=stdin, capture_output=True, check=False
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where one example happens: `copy` is the working copy, `name` the repository's `<owner>/<name>`."""

    name: str
    url: str
    upstream: Path
    copy: Path


class Upstream:
    """The bare repository that plays GitHub's side; moved by writing its one ref."""

    def __init__(self, origin: GitOrigin, name: str, history: History) -> None:
        """Make the repository, with every object of the history that is upstream's."""
        self.history = history
        self.path = origin.root / f"{name}.git"
        for part in ("objects/pack", "objects/info", "refs/heads"):
            (self.path / part).mkdir(parents=True)
        (self.path / "HEAD").write_bytes(b"ref: refs/heads/main\n")
        (self.path / "config").write_bytes(b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        numbers = history.reachable(*history.seen, history.tip, *([] if history.again is None else [history.again]))
        write_pack(self.path / "objects/pack", history.objects_of(numbers))

    def point(self, number: int) -> str:
        """Let main name a node, by force if need be; return its id."""
        commit = self.history.id_of(number)
        (self.path / "refs/heads/main").write_text(f"{commit}\n")
        return commit


Make = Callable[[Place, int | None], bool]
"""Makes the working copy of what main names, of that depth; returns whether it can."""


def build_copy(history: History, place: Place, upstream: Upstream, make: Make | None = None) -> Origin:
    """Make the working copy of a history, all committed and clean; return who made it.

    `make` is how ours makes one. In the end upstream has moved on.
    """
    made_by = history.origin
    upstream.point(history.seen[-1])
    if made_by is Origin.US and not (make and make(place, history.depth)):
        made_by = Origin.HAND
    if made_by is Origin.GIT:
        depth = [] if history.depth is None else ["--depth", str(history.depth)]
        git(place.upstream, "clone", "-q", *depth, place.url, place.copy)
    elif made_by is Origin.HAND:
        _lay_out(history, place)
    _commit_locally(history, place.copy)
    _keep(history, place.copy)
    # A copy that is clean and has no local commits keeps the index that its maker wrote.
    if made_by is Origin.HAND or history.local != history.base:
        git(place.copy, "read-tree", "--reset", "-u", "HEAD")
    if not history.condition.is_racy:
        _date_back(place.copy)
    if history.condition.index_version != 2:
        git(place.copy, "update-index", "--index-version", str(history.condition.index_version))
    upstream.point(history.tip)
    return made_by


def make_dirt(dirt: Iterable[Dirt], copy: Path, *kinds: DirtKind) -> None:
    """Do what the history says was left uncommitted, that of these kinds."""
    lines = [line for one in dirt if one.kind in kinds for line in one.shell]
    if lines:
        script = b"set -e\n" + b"\n".join(lines)
        done = subprocess.run(["sh"], input=script, cwd=copy, env=ENVIRONMENT, capture_output=True, check=False)
        assert done.returncode == 0, f"{script!r} ended with {done.returncode}: {done.stderr!r}"


def _date_back(copy: Path) -> None:
    """Make the files a minute old, in the index too, as in a copy that was made a while ago.

    Git compares whole seconds. An index that is as young as its files proves nothing of them, and what changes in the
    same second shows by its size alone. Only the clocks of the index are changed: the rest is its maker's.
    """
    path = copy / ".git/index"
    index = bytearray(path.read_bytes()[:-20])
    at, (count,) = 12, struct.unpack_from(">L", index, 8)
    then = time.time_ns() - 60_000_000_000
    for _ in range(count):
        mode, flags = struct.unpack_from(">L", index, at + 24)[0], struct.unpack_from(">H", index, at + 60)[0]
        begin = at + (64 if flags & 0x4000 else 62)
        end = index.index(0, begin)
        if mode != GITLINK:
            file = os.path.join(os.fsencode(copy), bytes(index[begin:end]))
            os.utime(file, ns=(then, then), follow_symlinks=False)
            found = os.lstat(file)
            clocks = [part for clock in (found.st_ctime_ns, found.st_mtime_ns) for part in divmod(clock, 1_000_000_000)]
            struct.pack_into(">4L", index, at, *clocks)
        at += (end - at + 8) // 8 * 8
    path.write_bytes(index + sha1(index).digest())


def racy_paths(copy: Path) -> set[bytes]:
    """Return the paths of the files that are as young as the index."""
    written, root = int(os.stat(copy / ".git/index").st_mtime), os.fsencode(copy)
    files = (os.path.join(here, name) for here, below, names in os.walk(root) for name in (*names, *below))
    return {path[len(root) + 1 :] for path in files if int(os.lstat(path).st_mtime) >= written}


def _lay_out(history: History, place: Place) -> None:
    """Write what `git clone` writes but the index and the files; then what a later fetch left."""
    git_directory = place.copy / ".git"
    for part in ("objects/pack", "objects/info", "refs/heads", "refs/tags", "refs/remotes/origin", "info"):
        (git_directory / part).mkdir(parents=True)
    begin, now = history.id_of(history.seen[0]), history.id_of(history.seen[-1])
    config = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
    config += b'[remote "origin"]\n\turl = %b\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n' % place.url.encode()
    config += b'[branch "main"]\n\tremote = origin\n\tmerge = refs/heads/main\n'
    texts = {
        "HEAD": b"ref: refs/heads/main\n",
        "config": config,
        "refs/heads/main": history.id_of(history.base).encode() + b"\n",
        "refs/remotes/origin/HEAD": b"ref: refs/remotes/origin/main\n",
        "packed-refs": b"# pack-refs with: peeled fully-peeled sorted \n%b refs/remotes/origin/main\n" % begin.encode(),
    }
    for name, content in texts.items():
        (git_directory / name).write_bytes(content)
    for name in ("HEAD", "refs/heads/main", "refs/remotes/origin/HEAD"):
        _log(git_directory, name, NO_ID, begin, b"clone: from %b" % place.url.encode())
    if begin != now:
        (git_directory / "refs/remotes/origin/main").write_text(f"{now}\n")
        _log(git_directory, "refs/remotes/origin/main", begin, now, b"fetch: fast-forward")
        if history.base != history.seen[0]:
            for name in ("HEAD", "refs/heads/main"):
                _log(git_directory, name, begin, now, b"pull --rebase: Fast-forward")
    numbers, edge = history.within(history.seen[-1], history.depth)
    if history.depth is None:
        numbers = history.reachable(*history.seen)
    if edge:
        (git_directory / "shallow").write_text("".join(f"{history.id_of(number)}\n" for number in edge))
    write_pack(git_directory / "objects/pack", history.objects_of(numbers))


def _commit_locally(history: History, copy: Path) -> None:
    """Write the local commits as git leaves them: loose objects, the branch and its log."""
    git_directory = copy / ".git"
    objects = history.objects_of(history.local_work)
    if history.condition.is_packed:
        write_pack(git_directory / "objects/pack", objects)
    else:
        write_loose(git_directory / "objects", objects)
    before = history.id_of(history.base)
    for number in history.local_work:
        commit = history.id_of(number)
        for name in ("HEAD", "refs/heads/main"):
            _log(git_directory, name, before, commit, b"commit: %b" % history.nodes[number].label.encode())
        before = commit
    (git_directory / "refs/heads/main").write_text(f"{before}\n")


def _keep(history: History, copy: Path) -> None:
    """Bring what is in `.git` into the history's condition."""
    git_directory, condition = copy / ".git", history.condition
    if condition.is_packed:
        names = ("refs/heads/main", "refs/remotes/origin/main")
        now = {
            name: history.id_of(number) for name, number in zip(names, (history.local, history.seen[-1]), strict=True)
        }
        lines = "".join(f"{commit} {name}\n" for name, commit in now.items())
        (git_directory / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{lines}")
        for name in names:
            (git_directory / name).unlink(missing_ok=True)
    if not condition.has_logs:
        shutil.rmtree(git_directory / "logs")
    if not condition.trusts_filemode:
        path = git_directory / "config"
        config = path.read_bytes()
        assert config.count(b"filemode = true") == 1
        path.write_bytes(config.replace(b"filemode = true", b"filemode = false"))


def _log(git_directory: Path, name: str, old: str, new: str, message: bytes) -> None:
    path = git_directory / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        log.write(b"%b %b %b\t%b\n" % (old.encode(), new.encode(), _PERSON, message))


def write_loose(directory: Path, objects: Objects) -> None:
    """Write objects one by one, those that are not there."""
    for object_id, (kind, content) in objects.items():
        path = directory / object_id[:2] / object_id[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(zlib.compress(b"%b %d\0" % (kind.encode(), len(content)) + content, 1))


def write_pack(directory: Path, objects: Objects) -> None:
    """Write objects as one pack, with its index of version 2; nothing for no objects."""
    if not objects:
        return
    pack = bytearray(b"PACK" + struct.pack(">LL", 2, len(objects)))
    rows = []
    for object_id, (kind, content) in sorted(objects.items()):
        size = len(content)
        head = bytearray([_KINDS[kind] << 4 | size & 15])
        size >>= 4
        while size:
            head[-1] |= 0x80
            head.append(size & 0x7F)
            size >>= 7
        packed = bytes(head) + zlib.compress(content, 1)
        rows.append((bytes.fromhex(object_id), zlib.crc32(packed), len(pack)))
        pack += packed
    trailer = sha1(pack).digest()
    counts = [sum(row[0][0] <= first for row in rows) for first in range(256)]
    index = b"\xfftOc" + struct.pack(">L", 2) + struct.pack(">256L", *counts) + b"".join(row[0] for row in rows)
    index += b"".join(struct.pack(">L", row[1]) for row in rows) + b"".join(struct.pack(">L", row[2]) for row in rows)
    index += trailer
    name = f"pack-{trailer.hex()}"
    (directory / f"{name}.pack").write_bytes(pack + trailer)
    (directory / f"{name}.idx").write_bytes(index + sha1(index).digest())
