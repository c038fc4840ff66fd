"""Write a working copy's packs and its `shallow` file: staged first, as other people's git reads at any time."""

import os
from collections.abc import Set
from concurrent.futures import Future
from functools import partial
from typing import BinaryIO

from handler.errors import MirrorDamaged
from handler.mount.fs.files import create, read_whole, rename, unlink_if_there
from handler.mount.fs.parallel import IN_TURN
from handler.mount.git.ingest import IndexedPack, PackSpool
from handler.mount.git.pack_store import PackWriter, shallow_file
from handler.mount.working_copy.gitdir.locks import lock_held
from handler.mount.working_copy.gitdir.staging_area import StagingArea

_MODE = 0o444
_OWN_PREFIX = b"g2ef".hex()
"""How the names of our packs begin, after `pack-`.

Git accepts any 40 hex digits as a pack's name (it has changed its own naming once); some other readers accept nothing
else. A list of our packs would have to be written at every push."""
_HEX = frozenset(b"0123456789abcdef")


class StagedWriter(PackWriter):
    """Writes below the git directory at `path`. `executor` does what need not be waited for before `flush`."""

    def __init__(self, path: str) -> None:
        self.staging = StagingArea.of(path)
        self.executor = IN_TURN
        self._shallow = os.path.join(path, "shallow")
        self._writing: Future[None] | None = None

    def pack_name(self, trailer: str) -> str:
        """Return a name by which later runs recognize the pack as ours."""
        return own_pack_name(trailer)

    def create_spool(self) -> tuple[BinaryIO, str]:
        """Create a temporary file in the staging area."""
        path = self.staging.temporary_path("pack")
        return self.staging.make_in(lambda: create(path, _MODE)), path

    def write_hidden(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Rename a large pack into place, as git does. A small one is read from memory until its index is written."""
        if spool.name is not None:
            rename(spool.name, path + ".pack")

    def write_visible(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Write the index, and before it a pack that is only in memory."""
        self.flush()
        self._writing = self.executor.submit(partial(self._write, path, spool, indexed))

    def _write(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        writing = self.executor.submit(partial(self.staging.write, indexed.index, "idx", _MODE))
        if spool.name is None:
            self.staging.replace(path + ".pack", spool.content(), "pack", _MODE)
        # The index is renamed last: for git a pack with an index is complete.
        self.staging.rename(writing.result(), path + ".idx")

    def flush(self) -> None:
        """Wait until everything is on the mount. Raises OSError for what could not be written."""
        if self._writing is not None:
            self._writing.result()

    def release(self) -> None:
        """End a run: the executor ends with it."""
        self.executor, self._writing = IN_TURN, None

    def shallow_commits(self) -> set[bytes]:
        """Return the commits (40 hex digits) at the shallow boundary. Raises MirrorDamaged."""
        # Read each time: others deepen and shorten history as they like.
        commits = set((read_whole(self._shallow) or b"").split())
        if not all(len(each) == 40 and _HEX.issuperset(each) for each in commits):
            raise MirrorDamaged("the file shallow, which says where history ends, cannot be read")
        return commits

    def change_shallow(self, added: Set[bytes], removed: Set[bytes]) -> None:
        """Change `shallow` under git's lock of it. Raises CopyBusy, MirrorDamaged."""
        with lock_held(self._shallow + ".lock"):
            commits = (self.shallow_commits() | added) - removed
            if commits:
                self.staging.replace(self._shallow, shallow_file(commits), "shallow")
            else:
                # If the file exists, git takes the repository for a shallow one.
                unlink_if_there(self._shallow)


def own_pack_name(trailer: str) -> str:
    """Return our name, without extension, for the pack with this trailer."""
    return f"pack-{_OWN_PREFIX}{trailer[: 40 - len(_OWN_PREFIX)]}"


def is_own_pack(name: str) -> bool:
    """Whether a pack's name looks like one of ours."""
    return name.startswith(f"pack-{_OWN_PREFIX}")
