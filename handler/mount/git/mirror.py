"""`mirror.git`: a bare, shallow repository whose objects are all in packs. Only the lock's holder touches it.

It has no refs. The published releases say which of its commits are complete; a ref would say it again for five round
trips a push. Git reads and checks the repository all the same.
"""

import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import BinaryIO, TypeVar, cast

from handler.config.names import is_object_id
from handler.errors import MirrorDamaged
from handler.exchange.remote import mirror_history
from handler.mount.fs.directories import make_directories, names_in, remove_files, remove_tree
from handler.mount.fs.files import NOT_REGULAR, create, read_whole, rename, unlink_if_there, write_whole
from handler.mount.git import repack
from handler.mount.git.ingest import IndexedPack, PackSpool
from handler.mount.git.objects import MAX_OBJECT_BYTES
from handler.mount.git.pack_files import open_pack
from handler.mount.git.pack_store import PackStore, PackWriter, shallow_file
from handler.mount.git.packs import SMALL_BYTES

_HEAD = b"ref: refs/heads/main\n"
_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n[gc]\n\tauto = 0\n"
FILES = (("HEAD", _HEAD), ("config", _CONFIG))
"""The files of every mirror, by their names in it."""
TEMPORARY_PREFIX = "tmp_"
_MAX_OPEN = 16
"""Each holds its small packs in memory, and a process serves few repositories in its life."""

S = TypeVar("S", bound=PackStore)


class Mirror(PackStore):
    """The mirror at `path`. Call `refresh` first, and whenever somebody else held the lock; packs stay open."""

    def __init__(self, path: str) -> None:
        self._in_place = InPlaceWriter(path)
        super().__init__(path, self._in_place)

    def refresh(self) -> None:
        """Make the mirror if it is missing, open new packs, and sweep what a killed run left."""
        try:
            # Listed without following a link: what lies elsewhere would be swept.
            names = set(names_in(self.pack_directory))
        except FileNotFoundError:
            self._create()
            names = set()
        complete = {name[:-4] for name in names if name.endswith(".idx") and name[:-4] + ".pack" in names}
        for name in self.packs.keys() - complete:
            self.packs.pop(name).close()
        # Nobody else writes here under the lock: it is a killed run's temporary file, or a pack that it never made
        # visible.
        is_left = [
            each for each in names if each.startswith(TEMPORARY_PREFIX) or os.path.splitext(each)[0] not in complete
        ]
        remove_files(self.pack_directory, is_left)
        for name in complete - self.packs.keys():
            pack = open_pack(self.pack_path(name), self.max_object_bytes)
            if pack is not None:
                self.packs[name] = pack
            else:
                # A run was killed while it wrote the pack, and nothing builds on it. Or it was damaged since: then the
                # next fetch brings what is missing.
                self.remove_pack(name)
        self._in_place.forget_shallow()

    def _create(self) -> None:
        """Make an empty bare repository."""
        make_directories(os.path.join(self.path, "refs", "heads"))
        for name, content in FILES:
            write_whole(os.path.join(self.path, name), content)
        # Last: its presence says that all is there.
        make_directories(self.pack_directory)

    def history(self, have: str | None, depth: int, *, is_next: bool) -> tuple[int, tuple[str, ...]]:
        """Return the `deepen` and the `shallow` of a fetch; see `PackStore.history`."""
        # Reading the file costs a round trip, and only a mirror of the whole history has to know.
        is_shallow = depth == 0 and self.is_shallow
        return mirror_history(have, depth, is_next=is_next and have is not None, is_shallow=is_shallow)

    def maintain(self, needed_commits: Callable[[], Iterable[str]], *, keeps_history: bool) -> None:
        """Replace many packs by one, if `plan_repack` says so. The caller holds the lock.

        `needed_commits()` returns the commits of the releases on the mount; a rewrite keeps only what they need. Raises
        MirrorDamaged.
        """
        if len(self.packs) <= repack.MAX_SMALL_PACKS:
            return
        step, replaced = self.plan_repack(self.packs, keeps_history=keeps_history)
        if step is repack.RepackStep.NOTHING:
            return
        shallow: set[bytes] | None = None
        if step is repack.RepackStep.REWRITE:
            commits = [commit for commit in needed_commits() if commit in self]
            wanted = repack.needed_objects(commits, self.read)
            shallow = {commit.encode() for commit in commits if not self.has_parents(commit.encode(), wanted)}
            # Before any pack is removed: git calls a repository broken if a commit lacks its parents and is not listed.
            self.write_shallow(self.writer.shallow_commits() | shallow)
        else:
            wanted = repack.all_objects(self.packs[name] for name in replaced)
        self.rewrite(wanted, replaced)
        if shallow is not None:
            # Only now: until the packs are replaced, other commits still end their history here.
            self.write_shallow(shallow)

    def replace(self, name: str, content: bytes) -> None:
        """Replace a file of the mirror in one step; `refresh` sweeps what a killed run leaves."""
        self._in_place.replace(os.path.join(self.path, name), content, "file")

    def write_shallow(self, commits: Set[bytes]) -> None:
        """Replace the commits (hex ids) in the file `shallow` by these."""
        self._in_place.write_shallow(commits)


class InPlaceWriter(PackWriter):
    """Writes a mirror's packs in place where a kill does no harm, and aside where it would."""

    def __init__(self, git_directory: str) -> None:
        self._git_directory = git_directory
        self._pack_directory = os.path.join(git_directory, "objects", "pack")
        self._shallow: set[bytes] | None = None

    def pack_name(self, trailer: str) -> str:
        """Return the name that git gives to a pack."""
        return f"pack-{trailer}"

    def create_spool(self) -> tuple[BinaryIO, str]:
        """Create a temporary file beside the packs; `Mirror.refresh` sweeps what a killed run leaves."""
        path = self._temporary("pack")
        return create(path), path

    def write_hidden(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write a small pack's index, or a large pack."""
        if spool.name is not None:
            rename(spool.name, path + ".pack")
        elif _is_small(spool):
            # The index first, and the pack after it, in place, which saves a rename: `open_pack` reads a small pack
            # whole, and its checksum tells whether a killed run had written all of it.
            write_whole(path + ".idx", indexed.index)
        else:
            # In place too: until its index appears, an incomplete pack is swept.
            write_whole(path + ".pack", spool.content())

    def write_visible(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write a small pack, or a large pack's index."""
        if _is_small(spool):
            write_whole(path + ".pack", spool.content())
        else:
            # Renamed: half an index would make a pack visible that cannot be read.
            self.replace(path + ".idx", indexed.index, "idx")

    def flush(self) -> None:
        """Return at once: each write has closed its file."""

    def shallow_commits(self) -> set[bytes]:
        """Return what the file holds; cached until `forget_shallow`. Raises MirrorDamaged for what is no such file."""
        if self._shallow is None:
            try:
                found = (read_whole(os.path.join(self._git_directory, "shallow")) or b"").split()
            except OSError as error:
                if error.errno not in NOT_REGULAR:
                    raise
                raise MirrorDamaged("mirror.git/shallow is no regular file") from None
            # Each of them: what is in it is written again, and sent to the remote.
            if not all(map(is_object_id, found)):
                raise MirrorDamaged("mirror.git/shallow holds something that is no commit")
            self._shallow = set(found)
        return self._shallow

    def forget_shallow(self) -> None:
        """Read the file again the next time."""
        self._shallow = None

    def change_shallow(self, added: Set[bytes], removed: Set[bytes]) -> None:
        """Replace the file."""
        self.write_shallow((self.shallow_commits() | added) - removed)

    def write_shallow(self, commits: Set[bytes]) -> None:
        """Replace the file's commits by these."""
        self.replace(os.path.join(self._git_directory, "shallow"), shallow_file(commits), "shallow")
        self._shallow = set(commits)

    def replace(self, path: str, content: bytes, kind: str) -> None:
        """Replace a file in one step, through a temporary file beside the packs."""
        temporary = self._temporary(kind)
        write_whole(temporary, content)
        rename(temporary, path)

    def _temporary(self, kind: str) -> str:
        return os.path.join(self._pack_directory, f"{TEMPORARY_PREFIX}{kind}_{secrets.token_hex(8)}")


def _is_small(spool: PackSpool) -> bool:
    # Not `spool.size`: what completes a thin pack was appended after that was counted.
    return spool.name is None and len(spool.content()) <= SMALL_BYTES


class StorePool:
    """Lends each store to one run at a time. Safe for threads."""

    def __init__(self, max_object_bytes: int = MAX_OBJECT_BYTES) -> None:
        """No store reads or receives an object of more than `max_object_bytes`."""
        self._max_object_bytes = max_object_bytes
        self._idle: OrderedDict[str, PackStore] = OrderedDict()
        self._lock = Lock()

    def borrow(self, path: str, *, is_unchanged: bool = False) -> AbstractContextManager[Mirror]:
        """Lend the mirror at `path`; see `borrow_as`."""
        return self.borrow_as(Mirror, path, is_unchanged=is_unchanged)

    @contextmanager
    def borrow_as(self, make: Callable[[str], S], path: str, *, is_unchanged: bool = False) -> Iterator[S]:
        """Lend the store that `make` opens at `path` to the holder of the repository's lock.

        It is refreshed, unless `is_unchanged` says that nobody else worked on it since it was lent. Raises
        MirrorDamaged.
        """
        with self._lock:
            kept = self._idle.pop(path, None)
        # The same `make` made what is kept at a path: a mirror's path is never that of a working copy.
        store = cast(S, kept) if kept is not None else make(path)
        store.max_object_bytes = self._max_object_bytes
        try:
            if kept is None or not is_unchanged:
                store.refresh()
            yield store
        except BaseException:
            # Open it anew the next time: only a store that is known to be sound is kept.
            store.close()
            raise
        store.release()
        with self._lock:
            self._idle[path] = store
            evicted = self._idle.popitem(last=False)[1] if len(self._idle) > _MAX_OPEN else None
        if evicted is not None:
            evicted.close()

    def close(self) -> None:
        """Close the idle stores."""
        with self._lock:
            while self._idle:
                self._idle.popitem()[1].close()


def discard_mirror(path: str) -> None:
    """Empty a damaged mirror; the next fetch fills it anew."""
    # Not renamed aside as a whole: after a kill nobody would look for that directory.
    packs = os.path.join(path, "objects", "pack")
    try:
        names = names_in(packs)
    except FileNotFoundError:
        return
    # The indexes first: killed in between, this leaves fewer packs, or packs without an index, which `refresh` sweeps.
    # The file `shallow` goes after the commits that it is about.
    remove_files(packs, [name for name in names if name.endswith(".idx")])
    unlink_if_there(os.path.join(path, "shallow"))
    remove_tree(packs)
