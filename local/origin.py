"""A sample origin: one repository in memory behind smart HTTP, to try and test without git or network.

with SampleOrigin("octocat/weather") as origin:
    commit = origin.commit("refs/heads/main", {b"README.md": FileContent(b"Hello\\n")}, "Begin")
    ... origin.url ...
"""

import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dulwich.index import commit_tree
from dulwich.object_store import MemoryObjectStore, iter_tree_contents
from dulwich.objects import Blob, Commit, ObjectID, Tag, Tree

from local.exchange import Request, Response, message
from local.server import LoopbackServer
from local.upload_pack import Refs, advertisement, answer

MAX_REQUEST_BYTES = 64 * 1024 * 1024
FILE = 0o100644
EXECUTABLE = 0o100755
LINK = 0o120000
SUBMODULE = 0o160000

_PERSON = b"Octocat <octocat@users.noreply.github.com>"


@dataclass(frozen=True, slots=True)
class FileContent:
    """One entry of a tree: `content` is the target of a LINK, the commit's id of a SUBMODULE."""

    content: bytes
    mode: int = FILE


class SampleOrigin:
    """A repository: methods commit to it, clients fetch from its URL. Thread-safe.

    Refs are full names, ids 40 hex digits as text.
    """

    def __init__(
        self,
        full_name: str = "octocat/weather",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        branch: str = "main",
    ) -> None:
        self.full_name = full_name
        self.store = MemoryObjectStore()
        self._head = f"refs/heads/{branch}".encode()
        self._refs: dict[bytes, ObjectID] = {}
        self._lock = threading.Lock()
        self._server = LoopbackServer(host, port, self.respond, MAX_REQUEST_BYTES)

    @property
    def url(self) -> str:
        """The repository's URL."""
        return f"{self._server.url}/{self.full_name}.git"

    def __enter__(self) -> Self:
        """Start serving."""
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._server.stop(grace_seconds=5.0)

    def commit(
        self,
        ref: str,
        files: Mapping[bytes, FileContent],
        text: str,
        *,
        parents: Sequence[str] | None = None,
        committed_at: int | None = None,
    ) -> str:
        """Commit the whole tree `files` (path -> content), move `ref` to it, and return the commit.

        The parent is the current tip of `ref`, unless `parents` are given; `()` makes a root commit. Raises
        ValueError if a path is both a file and a directory.
        """
        if parents is None:
            tip = self.tip(ref)
            parents = [tip] if tip else []
        now = int(time.time()) if committed_at is None else committed_at
        commit = Commit()
        commit.tree = self._tree(files)
        commit.parents = [ObjectID(parent.encode()) for parent in parents]
        commit.author = commit.committer = _PERSON
        commit.author_time = commit.commit_time = now
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding = b"UTF-8"
        commit.message = text.encode() + b"\n"
        self.store.add_object(commit)
        object_id = commit.id.decode()
        self.set_ref(ref, object_id)
        return object_id

    def _tree(self, files: Mapping[bytes, FileContent]) -> ObjectID:
        for path in files:
            parts = path.split(b"/")
            if any(b"/".join(parts[:depth]) in files for depth in range(1, len(parts))):
                raise ValueError(f"{path!r} lies below a file")
        entries = []
        for path, file in files.items():
            if file.mode == SUBMODULE:
                entries.append((path, ObjectID(file.content), file.mode))
                continue
            blob = Blob.from_string(file.content)
            self.store.add_object(blob)
            entries.append((path, blob.id, file.mode))
        return commit_tree(self.store, entries)

    def tag(self, name: str, target: str, text: str = "A tag") -> str:
        """Make the annotated tag `refs/tags/<name>` of the object `target`; return the tag object's id."""
        tag = Tag()
        tag.name = name.encode()
        tag.object = (type(self.store[ObjectID(target.encode())]), ObjectID(target.encode()))
        tag.tagger = _PERSON
        tag.tag_time, tag.tag_timezone = int(time.time()), 0
        tag.message = text.encode() + b"\n"
        self.store.add_object(tag)
        self.set_ref(f"refs/tags/{name}", tag.id.decode())
        return tag.id.decode()

    def tip(self, ref: str) -> str | None:
        """Return the commit or tag that `ref` names, None if there is no such ref."""
        with self._lock:
            found = self._refs.get(ref.encode())
        return found.decode() if found else None

    def set_ref(self, ref: str, object_id: str | None) -> None:
        """Point `ref` at `object_id`, whether or not that is a fast-forward; None deletes the ref."""
        with self._lock:
            if object_id is None:
                self._refs.pop(ref.encode(), None)
            else:
                self._refs[ref.encode()] = ObjectID(object_id.encode())

    def files(self, commit: str) -> dict[bytes, FileContent]:
        """Return the tree of `commit`, read from its objects: path -> content."""
        found = self.store[ObjectID(commit.encode())]
        if not isinstance(found, Commit):
            raise ValueError(f"{commit} is not a commit")
        files: dict[bytes, FileContent] = {}
        if not isinstance(self.store[found.tree], Tree):
            raise ValueError(f"{commit} has no tree")
        for entry in iter_tree_contents(self.store, found.tree):
            blob = entry.sha if entry.mode == SUBMODULE else self.store[entry.sha].as_raw_string()
            files[entry.path] = FileContent(bytes(blob), entry.mode)
        return files

    def respond(self, request: Request) -> Response:
        """Answer one HTTP request of a git client."""
        base = f"/{self.full_name}"
        path = request.path.removeprefix(base).removeprefix(".git")
        if not request.path.startswith(base) or path not in ("/info/refs", "/git-upload-pack"):
            return message(404)
        if request.header("git-protocol") != "version=2":
            return _refused(400, b"This origin speaks git's protocol version 2 only.\n")
        if path == "/info/refs":
            if request.query != "service=git-upload-pack":
                return _refused(403, b"This origin serves fetches only.\n")
            return _git("advertisement", advertisement())
        if request.method != "POST":
            return message(404)
        body = _decoded(request)
        if body is None:
            return message(400)
        with self._lock:
            refs = Refs(self._head, dict(self._refs))
        return _git("result", answer(self.store, refs, body))


def _git(kind: str, body: bytes) -> Response:
    headers = {"Content-Type": f"application/x-git-upload-pack-{kind}", "Cache-Control": "no-cache"}
    return Response(200, body, headers)


def _refused(status: int, text: bytes) -> Response:
    return Response(status, text, {"Content-Type": "text/plain"})


def _decoded(request: Request) -> bytes | None:
    """Return the body, decompressed (git compresses large requests); None if it is broken or too large."""
    if request.header("content-encoding") not in ("gzip", "x-gzip"):
        return request.body
    inflate = zlib.decompressobj(wbits=31)
    try:
        body = inflate.decompress(request.body, MAX_REQUEST_BYTES)
    except zlib.error:
        return None
    return body if inflate.eof else None
