"""`mirror.git`: a bare, shallow repository whose objects are all in packs. Only the holder of the lock touches it.

It has no refs: which commit of it is complete is what the published releases say, and writing a ref would cost
five round trips a push to say it again. Git reads and checks it all the same.
"""

import os
from collections.abc import Callable, Iterable

from handler.exchange.remote import WHOLE_HISTORY
from handler.mount.fs.files import write_whole
from handler.mount.git import repack
from handler.mount.git.ingest import IndexedPack, PackSpool
from handler.mount.git.pack_store import PackStore, contents_of, unlink_if_there
from handler.mount.git.packs import SMALL_BYTES, open_pack

HEAD = b"ref: refs/heads/main\n"
CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n[gc]\n\tauto = 0\n"
_LEFTOVERS = ("tmp_",)


class Mirror(PackStore):
    """The mirror at `path`. Open packs stay open between deliveries; `refresh` looks what is there now."""

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
                unlink_if_there(os.path.join(self._pack_directory, name))
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

    def history(self, have: str | None, depth: int, *, is_next: bool) -> tuple[int, tuple[str, ...]]:
        """Return how much history is wanted, and whether what is here is said to have none.

        With a depth that is said even where some of it is here: claiming less than one has is always safe. `is_next`
        spares the remote the depth: one commit upon the one that is here ends there by itself, and a depth makes git
        look through the whole tree (at 50,000 files four fifths of the time that it takes to answer).
        """
        shallow = (have,) if have is not None else ()
        if depth == 0:
            return (WHOLE_HISTORY, shallow) if self.is_shallow else (0, ())
        return (0 if is_next else depth), shallow

    def _place_first(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        """Put what comes first in place; a small pack's index.

        A small pack comes second itself, after its index, and is written in place, which spares the renaming: whoever
        opens it reads all of it, and sees by its checksum whether a killed run had written all (see `open_pack`).
        """
        if spool.name is not None:
            super()._place_first(path, spool, indexed)
        elif _is_small(spool):
            write_whole(path + ".idx", indexed.index)
        else:
            # Where no index shows it yet, nobody minds that it is not whole.
            write_whole(path + ".pack", contents_of(spool))

    def _place_second(self, path: str, spool: PackSpool, indexed: IndexedPack) -> None:
        if _is_small(spool):
            write_whole(path + ".pack", contents_of(spool))
        else:
            super()._place_second(path, spool, indexed)

    def maintain(self, needed_commits: Callable[[], Iterable[str]], *, keeps_history: bool) -> None:
        """Replace many packs by one where it is time (see `consolidate`); readers of the mirror must hold its lock.

        `needed_commits()` names the commits of the releases on the mount; what others need may be left out. Raises
        MirrorDamaged, OSError.
        """
        if len(self.packs) <= repack.MAX_SMALL_PACKS:
            return
        status = {name: os.stat(self._pack_path(name) + ".pack") for name in self.packs}
        upkeep = repack.plan_repack({name: each.st_size for name, each in status.items()}, keeps_history=keeps_history)
        if upkeep.step is repack.RepackStep.NOTHING:
            return
        newest_first = sorted(upkeep.packs, key=lambda name: (-status[name].st_mtime, name))
        packs = [self.packs[name] for name in newest_first]
        shallow: set[bytes] | None = None
        if upkeep.step is repack.RepackStep.REWRITE:
            commits = [commit for commit in needed_commits() if commit in self]
            wanted = repack.needed_objects(commits, self.read)
            shallow = {commit.encode() for commit in commits if not self.has_parents(commit.encode(), wanted)}
            # Before anything goes: a commit without parents that is not in the list makes git call the mirror broken.
            self._write_shallow(self.shallow_commits() | shallow)
        else:
            wanted = repack.all_objects(packs)
        self._rewrite(wanted, packs, set(upkeep.packs))
        if shallow is not None:
            self._write_shallow(shallow)


def _is_small(spool: PackSpool) -> bool:
    # Not by the spool's own size: what completes a thin pack was added to it.
    return spool.name is None and len(contents_of(spool)) <= SMALL_BYTES
