"""`mirror.git`: a bare, shallow repository whose objects are all in packs. Only the holder of the lock touches it.

It has no refs: which commit of it is complete is what the published releases say, and writing a ref would cost
five round trips a push to say it again. Git reads and checks it all the same.
"""

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from dulwich.pack import Pack

from handler.errors import Git2EfsError, MirrorDamaged, TreeUnsafe
from handler.git.packs import (
    NOT_A_PACK,
    IndexedPack,
    PackSpool,
    RawObject,
    as_binary,
    index_pack,
    open_pack,
    received_pack,
)
from handler.git.protocol import ShallowChanges

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
_TYPE_NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}

_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n[gc]\n\tauto = 0\n"
_LEFTOVERS = ("tmp_",)
_MAX_TAG_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Received:
    """A fetch's pack, not yet checked, and where it cuts history."""

    spool: PackSpool
    changes: ShallowChanges


class Mirror:
    """The mirror at `path`. Open packs stay open between deliveries; `refresh` looks what is there now.

    Not safe for threads, but for `read`, which is.
    """

    def __init__(self, path: str) -> None:
        """Nothing is read or made yet; `refresh` comes first."""
        self._path = path
        self._pack_directory = os.path.join(path, "objects", "pack")
        self._packs: dict[str, Pack] = {}
        self._shallow: set[bytes] | None = None

    def refresh(self) -> None:
        """Make the mirror if it is not there, see which packs there are, and sweep what a killed run left."""
        try:
            names = set(os.listdir(self._pack_directory))
        except FileNotFoundError:
            self._create()
            names = set()
        shown = {name[:-4] for name in names if name.endswith(".idx") and name[:-4] + ".pack" in names}
        for name in self._packs.keys() - shown:
            self._packs.pop(name).close()
        for name in names:
            stem = os.path.splitext(name)[0]
            if name.startswith(_LEFTOVERS) or stem not in shown:
                # Ours alone under the lock: a killed run's temporary file, or a pack that it never showed.
                _unlink(os.path.join(self._pack_directory, name))
        for name in shown - self._packs.keys():
            self._packs[name] = open_pack(os.path.join(self._pack_directory, name))
        self._shallow = None

    def _create(self) -> None:
        """Make an empty bare repository; the pack directory comes last, as its presence says that all is there."""
        os.makedirs(os.path.join(self._path, "refs", "heads"), exist_ok=True)
        for name, content in (("HEAD", b"ref: refs/heads/main\n"), ("config", _CONFIG)):
            self._write(name, content)
        os.makedirs(self._pack_directory, exist_ok=True)

    def close(self) -> None:
        """Close every pack."""
        while self._packs:
            self._packs.popitem()[1].close()

    def __contains__(self, object_id: str) -> bool:
        """Whether the object is in a pack."""
        binary = as_binary(object_id.encode())
        return any(_offset(pack, binary) is not None for pack in self._packs.values())

    def read_raw(self, object_id: bytes, /) -> RawObject:
        """Return type and content of an object; raises KeyError where it is missing, MirrorDamaged if unreadable."""
        binary = as_binary(object_id)
        # Newest first: what a push needs was mostly brought by the pushes just before it.
        for pack in reversed(list(self._packs.values())):
            if _offset(pack, binary) is not None:
                try:
                    return pack.get_raw(binary)
                except NOT_A_PACK as error:
                    raise MirrorDamaged(f"an object cannot be read ({type(error).__name__})") from None
        raise KeyError(object_id)

    def read(self, object_id: bytes, kind: int) -> bytes:
        """Return the content of the object `object_id` (40 hex digits) of this kind, checked against its id.

        Safe for threads. Raises MirrorDamaged where it is missing, unreadable or not what its id says.
        """
        try:
            found, content = self.read_raw(object_id)
        except KeyError:
            raise MirrorDamaged(f"object {object_id.decode()} is missing") from None
        header = b"%s %d\0" % (_TYPE_NAMES.get(found, b"?"), len(content))
        if hashlib.sha1(header + content, usedforsecurity=False).hexdigest().encode() != object_id:
            raise MirrorDamaged(f"object {object_id.decode()} is not what its id says")
        if found != kind:
            raise TreeUnsafe(f"object {object_id.decode()} is not a {_TYPE_NAMES[kind].decode()}")
        return content

    def tree_of(self, commit: str) -> bytes:
        """Return the id (hex) of a commit's tree."""
        line = self.read(commit.encode(), COMMIT).partition(b"\n")[0]
        return _header_id(line, b"tree ")

    def peel(self, object_id: str) -> str:
        """Return the commit that an object (commit or annotated tag, however deep) names.

        Raises KeyError where the object is missing, and TreeUnsafe for a tag of something else.
        """
        current = object_id.encode()
        for _ in range(_MAX_TAG_DEPTH):
            kind, content = self.read_raw(current)
            if kind == COMMIT:
                return current.decode()
            if kind != TAG:
                break
            current = _header_id(content.partition(b"\n")[0], b"object ")
        raise TreeUnsafe(f"{object_id} does not name a commit")

    @property
    def is_shallow(self) -> bool:
        """Whether some history is left out."""
        return bool(self._shallow_commits())

    def download(
        self, max_bytes: int, fetch: Callable[[Callable[[], Callable[[bytes], object]]], ShallowChanges]
    ) -> Received:
        """Run `fetch(sink)` and hold what came; `ingest` shows it, `drop` forgets it.

        Raises what `fetch` raises, PackTooLarge past `max_bytes`, and OSError.
        """
        spool = PackSpool(max_bytes, self._make_spool_file)

        def sink() -> Callable[[bytes], object]:
            spool.restart()
            return spool.write

        try:
            return Received(spool, fetch(sink))
        except BaseException:
            self.drop(Received(spool, ShallowChanges()))
            raise

    def ingest(self, received: Received) -> None:
        """Check what came, and show it. Whatever fails, nothing of it is shown.

        Raises PackInvalid, MirrorDamaged, OSError.
        """
        try:
            indexed = index_pack(received.spool, self.read_raw)
            if indexed is not None:
                self._show(received.spool, indexed)
            self._apply_shallow(received.changes)
        except BaseException:
            self.drop(received)
            raise

    def drop(self, received: Received) -> None:
        """Forget what came."""
        with suppress(OSError):
            received.spool.close()
        if received.spool.name is not None:
            with suppress(OSError):
                os.unlink(received.spool.name)

    def _make_spool_file(self) -> tuple[BinaryIO, str]:
        name = os.path.join(self._pack_directory, f"tmp_pack_{secrets.token_hex(8)}")
        return open(name, "w+b"), name

    def _show(self, spool: PackSpool, indexed: IndexedPack) -> None:
        """Put the pack and then its index in place. The order matters: an index without its pack would be believed."""
        name = f"pack-{indexed.trailer}"
        path = os.path.join(self._pack_directory, name)
        spool.close()
        if name in self._packs:
            if spool.name is not None:
                _unlink(spool.name)
            return
        if spool.name is not None:
            os.rename(spool.name, path + ".pack")
        else:
            write_whole(path + ".pack", spool.file.getvalue())  # type: ignore[attr-defined]
        temporary = os.path.join(self._pack_directory, f"tmp_idx_{secrets.token_hex(8)}")
        write_whole(temporary, indexed.index)
        os.rename(temporary, path + ".idx")
        self._packs[name] = received_pack(spool, indexed, path)

    def _shallow_commits(self) -> set[bytes]:
        if self._shallow is None:
            try:
                with open(os.path.join(self._path, "shallow"), "rb") as file:
                    self._shallow = set(file.read().split())
            except FileNotFoundError:
                self._shallow = set()
        return self._shallow

    def _apply_shallow(self, changes: ShallowChanges) -> None:
        """Remember where history ends. A commit whose parents are all here needs no line: then nothing is written.

        Comes after the pack: a line for a commit that is not here would do no harm, a missing one would make git
        call the mirror broken.
        """
        cut = {commit for commit in changes.shallow if not self._has_parents(commit)}
        if not cut and not changes.unshallow:
            return
        before = self._shallow_commits()
        after = (before | cut) - changes.unshallow
        if after != before:
            self._write("shallow", b"".join(commit + b"\n" for commit in sorted(after)))
            self._shallow = after

    def _has_parents(self, commit: bytes) -> bool:
        try:
            content = self.read(commit, COMMIT)
        except Git2EfsError:
            return False
        lines = content.partition(b"\n\n")[0].split(b"\n")
        return all(line[7:47].decode() in self for line in lines if line.startswith(b"parent "))

    def _write(self, name: str, content: bytes) -> None:
        temporary = os.path.join(self._path, f"tmp_{secrets.token_hex(8)}")
        write_whole(temporary, content)
        os.rename(temporary, os.path.join(self._path, name))


def write_whole(path: str, content: bytes) -> None:
    """Write a file in one go. On NFS the close sends it and reports what went wrong, so no fsync is needed."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _offset(pack: Pack, binary: bytes) -> int | None:
    try:
        return pack.index.object_offset(as_binary(binary))
    except KeyError:
        return None


def _header_id(line: bytes, field: bytes) -> bytes:
    if not line.startswith(field) or len(line) != len(field) + 40:
        raise TreeUnsafe("an object's header is malformed")
    return line[len(field) :]


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
