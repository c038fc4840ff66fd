"""The packs of a repository's git directory: receiving a fetch's pack, showing it, merging many into one, and where
history ends. What is a mirror's alone, or a working copy's, they add themselves.
"""

import os
import secrets
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from dulwich.pack import Pack

from handler.errors import MirrorDamaged
from handler.exchange.remote import ShallowChanges
from handler.mount.fs.files import write_whole
from handler.mount.git import repack
from handler.mount.git.ingest import IndexedPack, PackSpool, index_pack
from handler.mount.git.objects import Objects
from handler.mount.git.packs import NOT_A_PACK, pack_of, unreadable


@dataclass(frozen=True, slots=True)
class Received:
    """A fetch's pack, not yet checked, and where it cuts history."""

    spool: PackSpool
    changes: ShallowChanges


class PackStore(Objects, ABC):
    """The packs below the git directory at `path`. Not safe for threads, but for `read`, which is."""

    pack_mode = 0o644
    """What a new pack and its index may be used for by whom."""

    def __init__(self, path: str) -> None:
        """Nothing is read or made yet; `refresh` comes first."""
        super().__init__()
        self._path = path
        self._pack_directory = os.path.join(path, "objects", "pack")
        self._shallow: set[bytes] | None = None

    @abstractmethod
    def refresh(self) -> None:
        """See which packs there are. Raises MirrorDamaged, OSError."""

    @abstractmethod
    def history(self, have: str | None, depth: int, *, is_next: bool) -> tuple[int, tuple[str, ...]]:
        """Return the `deepen` and the `shallow` of a fetch that builds on `have` (see `FetchQuery`).

        `depth` is what the repository's parameter says; `is_next`: most likely one commit is fetched, upon `have`.
        """

    def release(self) -> None:
        """End a run: forget what only it needed."""
        self.fresh.clear()

    def close(self) -> None:
        """Close every pack."""
        while self.packs:
            self.packs.popitem()[1].close()

    @property
    def is_shallow(self) -> bool:
        """Whether some history is left out."""
        return bool(self.shallow_commits())

    def download(
        self,
        max_bytes: int,
        check: Callable[[], None],
        fetch: Callable[[Callable[[], Callable[[bytes], object]]], ShallowChanges],
    ) -> Received:
        """Run `fetch(sink)` and hold what came; `ingest` shows it, `drop` forgets it. `check()` is called now and then.

        Raises what `fetch` and `check` raise, PackTooLarge past `max_bytes`, and OSError.
        """
        spool = PackSpool(max_bytes, self._make_spool_file)

        def write(content: bytes) -> None:
            check()
            spool.write(content)

        def sink() -> Callable[[bytes], object]:
            spool.restart()
            return write

        try:
            return Received(spool, fetch(sink))
        except BaseException:
            self.drop(Received(spool, ShallowChanges()))
            raise

    def ingest(self, received: Received) -> None:
        """Check what came, and show it; when this returns it is on the mount. Whatever fails, nothing of it is shown.

        Raises PackInvalid, MirrorDamaged, OSError.
        """
        try:
            indexed = index_pack(received.spool, self.read_raw, self.fresh)
            if indexed is not None:
                self._show(received.spool, indexed, lambda: self._add_shallow(received.changes.shallow))
            else:
                self._add_shallow(received.changes.shallow)
            if received.changes.unshallow:
                self._change_shallow(set(), received.changes.unshallow)
        except FileNotFoundError:
            # Somebody removed the directory while this process knew that it was there.
            self.drop(received)
            raise MirrorDamaged("the repository is gone") from None
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
        name = self._temporary("pack")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return open(os.open(name, flags, self.pack_mode), "w+b"), name

    def _temporary(self, kind: str) -> str:
        """Return the path of a new temporary file; whoever is killed leaves it to be swept."""
        return os.path.join(self._pack_directory, f"tmp_{kind}_{secrets.token_hex(8)}")

    def _pack_name(self, indexed: IndexedPack) -> str:
        return f"pack-{indexed.trailer}"

    def _show(self, spool: PackSpool, indexed: IndexedPack, before: Callable[[], None] = lambda: None) -> None:
        """Put the pack and its index in place; `before` runs before both are there, and reads the pack already.

        What comes second shows the pack, so it must be whole or known not to be.
        """
        name = self._pack_name(indexed)
        path = self._pack_path(name)
        spool.close()
        if name in self.packs:
            if spool.name is not None:
                unlink_if_there(spool.name)
            before()
            return
        self._place_first(path, spool, indexed)
        self.packs[name] = pack_of(None if spool.name is not None else spool.file, indexed.index, path)
        try:
            before()
            self._place_second(path, spool, indexed)
        except BaseException:
            if (pack := self.packs.pop(name, None)) is not None:
                pack.close()
            raise

    def _place_first(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Put the pack in place, as git does it: without its index it is nothing yet."""
        if spool.name is not None:
            os.rename(spool.name, path + ".pack")
        else:
            self._replace(path + ".pack", contents_of(spool), "pack", self.pack_mode)

    def _place_second(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Put the index in place, written aside and renamed."""
        self._replace(path + ".idx", indexed.index, "idx", self.pack_mode)

    def _replace(self, path: str, content: bytes, kind: str, mode: int = 0o644) -> None:
        """Write a file aside and rename it into its place."""
        temporary = self._temporary(kind)
        write_whole(temporary, content, mode)
        os.rename(temporary, path)

    def shallow_commits(self) -> set[bytes]:
        """Return the commits (40 hex digits) whose parents are left out. Raises OSError."""
        if self._shallow is None:
            try:
                with open(os.path.join(self._path, "shallow"), "rb") as file:
                    self._shallow = set(file.read().split())
            except FileNotFoundError:
                self._shallow = set()
        return self._shallow

    def _add_shallow(self, commits: set[bytes]) -> None:
        """Remember where history ends. A commit whose parents are all here needs no line: then nothing is written.

        Comes before the pack is shown: a line for a commit that is not here does no harm, while a missing one makes
        git call the repository broken, and nothing would mend that, since the commit is not fetched again.
        """
        cut = {commit for commit in commits if not self.has_parents(commit)}
        if cut and not cut <= self.shallow_commits():
            self._change_shallow(cut, set())

    def _change_shallow(self, added: set[bytes], removed: set[bytes]) -> None:
        self._write_shallow((self.shallow_commits() | added) - removed)

    def _write_shallow(self, commits: set[bytes]) -> None:
        content = b"".join(commit + b"\n" for commit in sorted(commits))
        self._replace(os.path.join(self._path, "shallow"), content, "shallow")
        self._shallow = commits

    def _rewrite(self, wanted: Collection[bytes], packs: list[Pack], replaced: set[str]) -> None:
        """Write the objects as one pack, and when it is shown remove the packs that it replaces."""
        name = self._write_pack(lambda write: repack.write_pack(wanted, packs, write))
        for each in replaced - {name}:
            self.packs.pop(each).close()
            self._remove(each)

    def _write_pack(self, write: Callable[[Callable[[bytes], object]], IndexedPack]) -> str:
        """Show the pack that `write(sink)` makes; returns its name."""
        spool = PackSpool(sys.maxsize, self._make_spool_file)
        received = Received(spool, ShallowChanges())
        try:
            written = write(spool.write)
            self._show(spool, written)
        except NOT_A_PACK as error:
            self.drop(received)
            raise unreadable(error, "a pack that is to be merged") from None
        except BaseException:
            self.drop(received)
            raise
        return self._pack_name(written)

    def _remove(self, name: str) -> None:
        """Remove a pack. The index first: without it the pack is nothing, and may be swept."""
        unlink_if_there(self._pack_path(name) + ".idx")
        unlink_if_there(self._pack_path(name) + ".pack")

    def _pack_path(self, name: str) -> str:
        return os.path.join(self._pack_directory, name)


def contents_of(spool: PackSpool) -> bytes:
    """Return what a spool holds that stayed in memory."""
    content: bytes = spool.file.getvalue()  # type: ignore[attr-defined]
    return content


def unlink_if_there(path: str) -> None:
    """Remove a file that somebody may have removed already. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(path)
