"""The sample origin: repositories whose nth commit is the same wherever it is made, and their side of a fetch.

The function that serves them and the command that pushes each make their own, so that no commit has to be sent.
"""

import threading
import zlib
from collections.abc import Mapping

from dulwich.index import commit_tree
from dulwich.object_store import MemoryObjectStore
from dulwich.objects import Blob, Commit, ObjectID

from local.upload_pack import Refs, advertisement, answer

REF = "refs/heads/main"
LARGE = "accept/large"
SMALL_FILES, LARGE_FILES = 40, 1500
_PERSON = b"git2efs <accept@git2efs.invalid>"
_BEGINNING = 1_750_000_000
MAX_REQUEST_BYTES = 16 * 1024 * 1024


class Repository:
    """One repository, with as many commits on `main` as were asked for. Safe for threads."""

    def __init__(self, full_name: str) -> None:
        """`full_name` decides what is in it: LARGE has LARGE_FILES files, any other SMALL_FILES."""
        self.full_name = full_name
        self._store = MemoryObjectStore()
        self._commits: list[ObjectID] = []
        self._lock = threading.Lock()

    def commit(self, push: int) -> str:
        """Return the commit of the nth push, from 1."""
        with self._lock:
            while len(self._commits) < push:
                self._commits.append(self._next())
            return self._commits[push - 1].decode()

    def _next(self) -> ObjectID:
        push = len(self._commits) + 1
        entries = []
        for path, content in files_of(self.full_name, push).items():
            blob = Blob.from_string(content)
            self._store.add_object(blob)
            entries.append((path, blob.id, 0o100644))
        commit = Commit()
        commit.tree = commit_tree(self._store, entries)
        commit.parents = self._commits[-1:]
        commit.author = commit.committer = _PERSON
        commit.author_time = commit.commit_time = _BEGINNING + push
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = b"Push %d\n" % push
        self._store.add_object(commit)
        return commit.id

    def respond(self, path: str, body: bytes, *, push: int, encoding: str | None = None) -> tuple[int, str, bytes]:
        """Answer a git client's request below the repository's URL; return status, media type and body.

        `push` is how many pushes there were so far. `encoding` is the request's Content-Encoding.
        """
        if path == "/info/refs":
            return 200, "application/x-git-upload-pack-advertisement", advertisement()
        if path != "/git-upload-pack":
            return 404, "text/plain", b"not found\n"
        try:
            body = zlib.decompressobj(wbits=31).decompress(body, MAX_REQUEST_BYTES) if encoding == "gzip" else body
        except zlib.error:
            return 400, "text/plain", b"not gzip\n"
        ids = {REF.encode(): ObjectID(self.commit(push).encode())} if push else {}
        return 200, "application/x-git-upload-pack-result", answer(self._store, Refs(REF.encode(), ids), body)


def files_of(full_name: str, push: int) -> Mapping[bytes, bytes]:
    """Return the tree of the nth push: path -> content. Of a small one a single file changes, of LARGE every one."""
    if full_name == LARGE:
        return {b"d%02d/f%04d.txt" % (i % 50, i): b"%d of push %d\n" % (i, push) for i in range(LARGE_FILES)}
    files = {b"site/page%02d.html" % i: b"<p>%d</p>\n" % i * 100 for i in range(SMALL_FILES - 1)}
    return files | {b"push.txt": b"%s, push %d\n" % (full_name.encode(), push)}
