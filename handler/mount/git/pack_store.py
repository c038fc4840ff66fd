"""The packs of a git directory: receive a fetch's pack and make it visible, merge packs, record where history ends.

A `PackWriter` decides where each file goes, and in which order.
"""

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Set
from contextlib import suppress
from typing import BinaryIO

from handler.errors import MirrorDamaged
from handler.exchange.answers import PackAnswer
from handler.mount.fs.files import unlink_if_there
from handler.mount.git import repack
from handler.mount.git.ingest import IndexedPack, PackSpool, index_pack
from handler.mount.git.objects import Objects
from handler.mount.git.packs import NOT_A_PACK, pack_of, unreadable


class PackWriter(ABC):
    """Writes below one git directory."""

    @abstractmethod
    def pack_name(self, trailer: str) -> str:
        """Return the name, without extension, of the pack with this trailer (40 hex digits)."""

    @abstractmethod
    def create_spool(self) -> tuple[BinaryIO, str]:
        """Create the file that a large pack is received into; return it with its path."""

    @abstractmethod
    def write_hidden(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write what comes first, and shows nothing yet. `path` is the pack's, without extension."""

    @abstractmethod
    def write_visible(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write what comes second, and makes the pack visible: complete, or detectably incomplete."""

    @abstractmethod
    def flush(self) -> None:
        """Wait until what was written is on the mount."""

    @abstractmethod
    def shallow_commits(self) -> Set[bytes]:
        """Return the commits (40 hex digits) whose parents are left out."""

    @abstractmethod
    def change_shallow(self, added: Set[bytes], removed: Set[bytes]) -> None:
        """Add commits to the file `shallow`, and remove others from it."""


class PackStore(Objects, ABC):
    """The packs below the git directory at `path`. Call `refresh` first. Not safe for threads, except for `read`."""

    def __init__(self, path: str, writer: PackWriter) -> None:
        super().__init__()
        self.path = path
        self.pack_directory = os.path.join(path, "objects", "pack")
        self.writer = writer

    @abstractmethod
    def refresh(self) -> None:
        """Find the packs that are there now. Raises MirrorDamaged."""

    @abstractmethod
    def history(self, have: str | None, depth: int, *, is_next: bool) -> tuple[int, tuple[str, ...]]:
        """Return the `deepen` and the `shallow` of a fetch that builds on `have` (see `FetchQuery`).

        `depth` is the repository's parameter; `is_next`: the fetch most likely brings one commit, upon `have`.
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
        return bool(self.writer.shallow_commits())

    def receive(
        self, answer: PackAnswer, max_bytes: int, open_transfer: Callable[[str], tuple[BinaryIO, str]]
    ) -> PackSpool:
        """Hold a remote's pack until `ingest` or `drop`. Raises PackTooLarge past `max_bytes`, OSError.

        `open_transfer` gives the file that the parts of a large pack were written to, and its path.
        """
        spool = PackSpool(max_bytes, self.writer.create_spool)
        spool.changes = answer.changes
        try:
            if answer.pack is not None:
                spool.write(answer.pack)
            else:
                assert answer.transfer is not None
                spool.adopt(*open_transfer(answer.transfer))
        except BaseException:
            self.drop(spool)
            raise
        return spool

    def ingest(self, spool: PackSpool) -> None:
        """Check the pack, and make it visible. After a failure nothing of it is.

        Raises PackInvalid, ObjectTooLarge, ObjectCollides, MirrorDamaged.
        """
        try:
            indexed = index_pack(spool, self.read_raw, self.fresh, self.max_object_bytes, self.held)
            if indexed is not None:
                self._make_visible(spool, indexed, lambda: self._add_shallow(spool.changes.shallow))
            else:
                self._add_shallow(spool.changes.shallow)
            if spool.changes.unshallow:
                # After the pack is visible: after a kill in between, history ends where it ended before, which is true.
                self.writer.change_shallow(set(), spool.changes.unshallow)
        except FileNotFoundError:
            # Somebody has removed the directory that this process knew.
            self.drop(spool)
            raise MirrorDamaged("the repository is gone") from None
        except BaseException:
            self.drop(spool)
            raise

    def drop(self, spool: PackSpool) -> None:
        """Close and remove what a fetch has written."""
        with suppress(OSError):
            spool.close()
        if spool.name is not None:
            with suppress(OSError):
                os.unlink(spool.name)

    def _make_visible(self, spool: PackSpool, indexed: IndexedPack, before: Callable[[], None] = lambda: None) -> None:
        """Write the pack's two files; `before` runs between the two, and can read the pack already."""
        name = self.writer.pack_name(indexed.trailer)
        path = self.pack_path(name)
        # On NFS the close reports what was not written: it comes before anything is visible.
        spool.close()
        if name in self.packs:
            if spool.name is not None:
                unlink_if_there(spool.name)
            before()
            return
        self.writer.write_hidden(path, spool, indexed)
        self.packs[name] = pack_of(None if spool.name is not None else spool.file, indexed.index, path)
        try:
            before()
            # The second file makes the pack visible, so the pack must be complete, or detectably incomplete, when it
            # appears.
            self.writer.write_visible(path, spool, indexed)
        except BaseException:
            if (pack := self.packs.pop(name, None)) is not None:
                pack.close()
            raise

    def _add_shallow(self, commits: Set[bytes]) -> None:
        """Record where history ends. A commit whose parents are all here needs no line."""
        cut = {commit for commit in commits if not self.has_parents(commit)}
        if cut and not cut <= self.writer.shallow_commits():
            # Before the pack is visible: a line for a commit that is missing does no harm. A missing line makes git
            # call the repository broken, and no later run would add it, as nobody fetches the commit again.
            self.writer.change_shallow(cut, set())

    def plan_repack(self, names: Iterable[str], *, keeps_history: bool) -> tuple[repack.RepackStep, list[str]]:
        """Return the step of `repack.plan_repack` for these packs, and the names that it replaces, newest first."""
        status = {name: os.stat(self.pack_path(name) + ".pack") for name in names}
        plan = repack.plan_repack({name: each.st_size for name, each in status.items()}, keeps_history=keeps_history)
        return plan.step, sorted(plan.packs, key=lambda name: (-status[name].st_mtime, name))

    def rewrite(self, wanted: Collection[bytes], replaced: Collection[str]) -> None:
        """Write the objects `wanted` (binary ids) of the packs `replaced` as one pack, and remove these."""
        packs = [self.packs[name] for name in replaced]
        new = self.write_pack(lambda write: repack.write_pack(wanted, packs, write))
        # Only when the new pack is on the mount: after a kill in between, objects are there twice, and none is missing.
        for name in replaced:
            if name != new:
                self.packs.pop(name).close()
                self.remove_pack(name)

    def write_pack(self, write: Callable[[Callable[[bytes], object]], IndexedPack]) -> str:
        """Make the pack visible that `write(sink)` writes, and return its name. On return it is on the mount."""
        spool = PackSpool(sys.maxsize, self.writer.create_spool)
        try:
            written = write(spool.write)
            self._make_visible(spool, written)
            self.writer.flush()
        except NOT_A_PACK as error:
            self.drop(spool)
            raise unreadable(error, "a pack that is to be merged") from None
        except BaseException:
            self.drop(spool)
            raise
        return self.writer.pack_name(written.trailer)

    def remove_pack(self, name: str) -> None:
        """Remove a pack's files."""
        # The index first: after a kill in between, a pack without an index is swept.
        unlink_if_there(self.pack_path(name) + ".idx")
        unlink_if_there(self.pack_path(name) + ".pack")

    def pack_path(self, name: str) -> str:
        """Return a pack's path without extension."""
        return os.path.join(self.pack_directory, name)


def shallow_file(commits: Set[bytes]) -> bytes:
    """Return the content of a file `shallow`."""
    return b"".join(commit + b"\n" for commit in sorted(commits))
