"""The objects of a working copy's `.git`, which other people's git reads and writes at any moment too.

Nothing that others made is ever removed, renamed or written over, and whatever was there a moment ago may be packed
anew the next: what cannot be found is looked for once more before it is missing.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from threading import Lock

from dulwich.pack import Pack

from handler.mount.fs.executor import Executor
from handler.mount.fs.files import read_tail
from handler.mount.git import repack
from handler.mount.git.pack_store import PackStore, unlink_if_there
from handler.mount.git.packs import PackVanished, RawObject
from handler.mount.working_copy.gitdir.lazy_packs import LazyPack, is_mapped
from handler.mount.working_copy.gitdir.loose import loose_path, read_alternates, read_loose
from handler.mount.working_copy.gitdir.staged_writer import StagedWriter, branded_name, is_branded

_SPARED = (".keep", ".promisor", ".mtimes")
"""Beside a pack: whoever wrote it wants the pack to stay as it is."""


class CopyStore(PackStore):
    """The objects of the git directory at `path`. Not safe for threads, but for `read` and `read_raw`, which are.

    Damage is raised as MirrorDamaged, and nothing is done about it here. `rest` ends a run, `close` all.
    """

    def __init__(self, path: str) -> None:
        """Nothing is read yet; `refresh` comes first."""
        self._staged = StagedWriter(path)
        super().__init__(path, self._staged)
        self.staging = self._staged.staging
        self._objects = os.path.join(path, "objects")
        self._others: list[str] = []
        self._names: frozenset[str] = frozenset()
        self._gone: list[Pack] = []
        self._looking = Lock()

    # -- reading -----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """See which packs there are, and whether objects are elsewhere too; nothing is opened. Raises OSError.

        A pack of ours that a killed run never showed, or had not done removing, goes: no reader has it without its
        index.
        """
        self._forget()
        self._look()
        for name in self._names:
            stem, extension = os.path.splitext(name)
            if extension == ".pack" and is_branded(stem) and f"{stem}.idx" not in self._names:
                path = self.pack_path(name)
                if stem == branded_name(read_tail(path, 20).hex()):
                    unlink_if_there(path)

    def _look(self) -> None:
        self._others = read_alternates(self._objects)
        # The last are looked into first: what a pull needs is rather here than elsewhere.
        stems: dict[str, str] = {}
        for directory in reversed(self._others):
            stems |= {stem: stem for stem in _stems(os.path.join(directory, "pack"), _names(directory))}
        self._names = _names(self._objects)
        stems |= {os.path.basename(stem): stem for stem in _stems(self.pack_directory, self._names)}
        packs: dict[str, Pack] = {key: LazyPack(stem) for key, stem in stems.items()}
        for key, pack in self.packs.items():
            is_being_shown = not isinstance(pack, LazyPack) and f"{key}.pack" in self._names
            if key in stems or is_being_shown:
                packs[key] = pack
            else:
                self._gone.append(pack)
        # A dict of its own, as other threads may be reading by the one that was.
        self.packs = packs

    def read_raw(self, object_id: bytes, /) -> RawObject:
        """Return type and content of an object; raises KeyError where it is missing, MirrorDamaged if unreadable."""
        packs = self.packs
        with suppress(KeyError, PackVanished):
            return self._find(object_id)
        self._look_again(packs)
        return self._find(object_id)

    def _find(self, object_id: bytes) -> RawObject:
        try:
            return super().read_raw(object_id)
        except KeyError:
            name = object_id if len(object_id) == 40 else object_id.hex().encode()
            for directory in (self._objects, *self._others):
                if found := read_loose(directory, name):
                    return found
            raise

    def _look_again(self, packs: dict[str, Pack]) -> None:
        """Look what is there now, unless another thread has done so since it was `packs`."""
        with self._looking:
            if self.packs is packs:
                self._look()

    def holds(self, object_id: str) -> bool:
        """Whether the object is here for certain; what others added just now is noticed."""
        packs = self.packs
        if object_id not in self:
            self._look_again(packs)
        return object_id in self

    def __contains__(self, object_id: str) -> bool:
        """Whether the object is here, as far as is known; in a pack that others added just now it is not noticed.

        Asked for what is most likely not here: each time it is not, `holds` lists directories.
        """
        packs = self.packs
        try:
            is_packed = super().__contains__(object_id)
        except PackVanished:
            self._look_again(packs)
            is_packed = super().__contains__(object_id)
        return is_packed or any(_is_there(each, object_id.encode()) for each in (self._objects, *self._others))

    def release(self) -> None:
        """End a run: keep what is known of the packs, and nothing that a repacking by others makes wrong."""
        self.flush()
        super().release()
        self._staged.release()
        self._forget()
        for key, pack in self.packs.items():
            if isinstance(pack, LazyPack):
                pack.release()
            elif is_mapped(pack.data):
                pack.close()
                self.packs[key] = LazyPack(self.pack_path(key))

    def close(self) -> None:
        """Close every pack."""
        super().close()
        self._forget()

    def _forget(self) -> None:
        while self._gone:
            self._gone.pop().close()

    # -- writing -----------------------------------------------------------------------------------------

    def use_executor(self, executor: Executor) -> None:
        """Write packs by the executor's threads, until `release`."""
        self._staged.executor = executor

    def flush(self) -> None:
        """Wait until what was ingested is on the mount; nothing may refer to it before. Raises OSError."""
        self.writer.flush()

    def history(self, have: str | None, depth: int, *, is_next: bool) -> tuple[int, tuple[str, ...]]:
        """Return what git asks for: the first time so much history; then all from what is here on, and where that ends.

        Raises MirrorDamaged, OSError.
        """
        return depth if have is None else 0, tuple(sorted(each.decode() for each in self.writer.shallow_commits()))

    def add(self, objects: Mapping[bytes, RawObject]) -> None:
        """Write those of the objects (by hex id) that no pack has as one pack, which is on the mount on return.

        Raises MirrorDamaged for one that is not what its id says, OSError.
        """
        new = {each: raw for each, raw in objects.items() if not super(CopyStore, self).__contains__(each.decode())}
        if new:
            self.write_pack(lambda write: repack.write_new(new, write))

    def maintain(self) -> None:
        """Merge the packs that we made where they are many; all their objects are kept. Raises MirrorDamaged, OSError.

        Not while git collects garbage, and not where it wrote an index over many packs, which names them.
        """
        if sum(map(is_branded, self.packs)) <= repack.MAX_SMALL_PACKS:
            return
        self.refresh()
        if "multi-pack-index" in self._names or os.path.lexists(os.path.join(self.path, "gc.pid")):
            return
        with suppress(FileNotFoundError, PackVanished):  # others merged them
            status = {name: os.stat(self.pack_path(name) + ".pack") for name in self._ours()}
            sizes = {name: each.st_size for name, each in status.items()}
            merged = repack.plan_repack(sizes, keeps_history=True).packs
            if len(merged) > 1:
                newest_first = sorted(merged, key=lambda name: (-status[name].st_mtime, name))
                packs = [self.packs[name] for name in newest_first]
                self.rewrite(repack.all_objects(packs), packs, set(merged))

    def _ours(self) -> Iterable[str]:
        for name, pack in self.packs.items():
            if is_branded(name) and not any(name + spared in self._names for spared in _SPARED):
                checksum = pack.index.get_pack_checksum()
                if checksum is not None and name == branded_name(checksum.hex()):
                    yield name


def _names(objects_directory: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(os.path.join(objects_directory, "pack")))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _stems(pack_directory: str, names: Iterable[str]) -> Iterable[str]:
    stems = (name[:-4] for name in names if name.endswith(".idx"))
    return [os.path.join(pack_directory, stem) for stem in sorted(stems) if stem + ".pack" in names]


def _is_there(objects_directory: str, object_id: bytes) -> bool:
    try:
        os.stat(loose_path(objects_directory, object_id))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
