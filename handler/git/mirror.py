"""`mirror.git`: a bare, shallow repository whose objects are all in packs. Only the holder of the lock touches it.

It has no refs: which commit of it is complete is what the published releases say, and writing a ref would cost
five round trips a push to say it again. Git reads and checks it all the same.
"""

import os
import secrets
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from dulwich.pack import Pack

from handler.errors import MirrorDamaged
from handler.files import write_whole
from handler.git import consolidate
from handler.git.ingest import IndexedPack, PackSpool, index_pack
from handler.git.objects import Objects
from handler.git.packs import NOT_A_PACK, SMALL_BYTES, open_pack, pack_of
from handler.git.protocol import ShallowChanges

HEAD = b"ref: refs/heads/main\n"
CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n[gc]\n\tauto = 0\n"
_LEFTOVERS = ("tmp_",)


@dataclass(frozen=True, slots=True)
class Received:
    """A fetch's pack, not yet checked, and where it cuts history."""

    spool: PackSpool
    changes: ShallowChanges


class Mirror(Objects):
    """The mirror at `path`. Open packs stay open between deliveries; `refresh` looks what is there now.

    Not safe for threads, but for `read`, which is.
    """

    def __init__(self, path: str) -> None:
        """Nothing is read or made yet; `refresh` comes first."""
        super().__init__()
        self._path = path
        self._pack_directory = os.path.join(path, "objects", "pack")
        self._shallow: set[bytes] | None = None

    def refresh(self) -> None:
        """Make the mirror if it is not there, see which packs there are, and sweep what a killed run left."""
        try:
            names = set(os.listdir(self._pack_directory))
        except FileNotFoundError:
            self._create()
            names = set()
        shown = {name[:-4] for name in names if name.endswith(".idx") and name[:-4] + ".pack" in names}
        for name in self.packs.keys() - shown:
            self.packs.pop(name).close()
        for name in names:
            stem = os.path.splitext(name)[0]
            if name.startswith(_LEFTOVERS) or stem not in shown:
                # Ours alone under the lock: a killed run's temporary file, or a pack that it never showed.
                _unlink(os.path.join(self._pack_directory, name))
        for name in shown - self.packs.keys():
            pack = open_pack(self._pack_path(name))
            if pack is not None:
                self.packs[name] = pack
            else:
                # Killed while it was written: nothing builds on it. Or damaged since: what is missed is fetched.
                self._remove(name)
        self._shallow = None

    def _create(self) -> None:
        """Make an empty bare repository; the pack directory comes last, as its presence says that all is there."""
        os.makedirs(os.path.join(self._path, "refs", "heads"), exist_ok=True)
        for name, content in (("HEAD", HEAD), ("config", CONFIG)):
            write_whole(os.path.join(self._path, name), content)
        os.makedirs(self._pack_directory, exist_ok=True)

    def close(self) -> None:
        """Close every pack."""
        while self.packs:
            self.packs.popitem()[1].close()

    @property
    def is_shallow(self) -> bool:
        """Whether some history is left out."""
        return bool(self._shallow_commits())

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
                self._write_shallow(self._shallow_commits() - received.changes.unshallow)
        except FileNotFoundError:
            # Somebody removed the directory while this process knew that it was there.
            self.drop(received)
            raise MirrorDamaged("the mirror is gone") from None
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

    def _show(self, spool: PackSpool, indexed: IndexedPack, before: Callable[[], None] = lambda: None) -> None:
        """Put the pack and its index in place; `before` runs before both are there, and reads the pack already.

        What comes second shows the pack, so it must be whole or known not to be. An index is written aside and renamed.
        A small pack comes second itself, after its index, and is written in place, which spares the renaming: whoever
        opens it reads all of it, and sees by its checksum whether a killed run had written all (see `open_pack`).
        """
        name = f"pack-{indexed.trailer}"
        path = self._pack_path(name)
        spool.close()
        if name in self.packs:
            if spool.name is not None:
                _unlink(spool.name)
            before()
            return
        if spool.name is not None:
            os.rename(spool.name, path + ".pack")
        content = b"" if spool.name is not None else spool.file.getvalue()  # type: ignore[attr-defined]
        is_small = spool.name is None and len(content) <= SMALL_BYTES
        if is_small:
            write_whole(path + ".idx", indexed.index)
        elif spool.name is None:
            write_whole(path + ".pack", content)
        self.packs[name] = pack_of(None if spool.name is not None else spool.file, indexed.index, path)
        try:
            before()
            if is_small:
                write_whole(path + ".pack", content)
            else:
                temporary = os.path.join(self._pack_directory, f"tmp_idx_{secrets.token_hex(8)}")
                write_whole(temporary, indexed.index)
                os.rename(temporary, path + ".idx")
        except BaseException:
            self.packs.pop(name).close()
            raise

    def _shallow_commits(self) -> set[bytes]:
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
        git call the mirror broken, and nothing would mend that, since the commit is not fetched again.
        """
        cut = {commit for commit in commits if not self.has_parents(commit)}
        if cut and not cut <= self._shallow_commits():
            self._write_shallow(self._shallow_commits() | cut)

    def _write_shallow(self, commits: set[bytes]) -> None:
        temporary = os.path.join(self._pack_directory, f"tmp_shallow_{secrets.token_hex(8)}")
        write_whole(temporary, b"".join(commit + b"\n" for commit in sorted(commits)))
        os.rename(temporary, os.path.join(self._path, "shallow"))
        self._shallow = commits

    def tend(self, needed_commits: Callable[[], Iterable[str]], *, keeps_history: bool) -> None:
        """Replace many packs by one where it is time (see `consolidate`); readers of the mirror must hold its lock.

        `needed_commits()` names the commits of the releases on the mount; what others need may be left out. Raises
        MirrorDamaged, OSError.
        """
        if len(self.packs) <= consolidate.MAX_SMALL_PACKS:
            return
        status = {name: os.stat(self._pack_path(name) + ".pack") for name in self.packs}
        upkeep = consolidate.choose_upkeep(
            {name: each.st_size for name, each in status.items()}, keeps_history=keeps_history
        )
        if upkeep.step is consolidate.Step.NOTHING:
            return
        newest_first = sorted(upkeep.packs, key=lambda name: (-status[name].st_mtime, name))
        packs = [self.packs[name] for name in newest_first]
        shallow: set[bytes] | None = None
        if upkeep.step is consolidate.Step.REWRITE:
            commits = [commit for commit in needed_commits() if commit in self]
            wanted = consolidate.needed_objects(commits, self.read)
            shallow = {commit.encode() for commit in commits if not self.has_parents(commit.encode(), wanted)}
            # Before anything goes: a commit without parents that is not in the list makes git call the mirror broken.
            self._write_shallow(self._shallow_commits() | shallow)
        else:
            wanted = consolidate.all_objects(packs)
        self._rewrite(wanted, packs, set(upkeep.packs))
        if shallow is not None:
            self._write_shallow(shallow)

    def _rewrite(self, wanted: dict[bytes, None], packs: list[Pack], replaced: set[str]) -> None:
        """Write the objects as one pack, and when it is shown remove the packs that it replaces."""
        spool = PackSpool(sys.maxsize, self._make_spool_file)
        received = Received(spool, ShallowChanges())
        try:
            written = consolidate.write_pack(wanted, packs, spool.write)
            self._show(spool, written)
        except NOT_A_PACK as error:
            self.drop(received)
            raise MirrorDamaged(f"the packs cannot be consolidated ({type(error).__name__})") from None
        except BaseException:
            self.drop(received)
            raise
        for name in replaced - {f"pack-{written.trailer}"}:
            self.packs.pop(name).close()
            self._remove(name)

    def _remove(self, name: str) -> None:
        """Remove a pack. The index first: without it the pack is nothing, and the next run sweeps it."""
        _unlink(self._pack_path(name) + ".idx")
        _unlink(self._pack_path(name) + ".pack")

    def _pack_path(self, name: str) -> str:
        return os.path.join(self._pack_directory, name)


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
