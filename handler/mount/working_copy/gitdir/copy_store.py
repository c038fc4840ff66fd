"""The objects of a working copy's `.git`, which other people's git reads and writes at any time.

This store never removes, renames or overwrites what others wrote. Others may repack at any time, so the store lists the
packs again before it reports an object as missing.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from threading import Lock

from dulwich.pack import Pack

from handler.exchange.remote import copy_history
from handler.mount.fs.directories import names_in
from handler.mount.fs.files import read_tail, unlink_if_there
from handler.mount.fs.parallel import Executor
from handler.mount.git import repack
from handler.mount.git.pack_store import PackStore
from handler.mount.git.packs import PackVanished, RawObject
from handler.mount.working_copy.gitdir.lazy_packs import LazyPack, is_mapped
from handler.mount.working_copy.gitdir.loose import loose_path, read_alternates, read_loose
from handler.mount.working_copy.gitdir.staged_writer import StagedWriter, is_own_pack, own_pack_name

_PROTECTED = (".keep", ".promisor", ".mtimes")
"""A pack with such a file beside it is not repacked: whoever wrote it wants it to stay."""


class CopyStore(PackStore):
    """The objects of the git directory at `path`. Call `refresh` first.

    Only `read` and `read_raw` are safe for threads. Damage raises MirrorDamaged, and is not repaired. `release` ends a
    run, `close` closes every pack.
    """

    def __init__(self, path: str) -> None:
        self._staged = StagedWriter(path)
        super().__init__(path, self._staged)
        self.staging = self._staged.staging
        self._objects = os.path.join(path, "objects")
        self._alternates: list[str] = []
        self._names: frozenset[str] = frozenset()
        self._vanished: list[Pack] = []
        self._reloading = Lock()

    # -- reading -----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """List the packs and alternates, and open none.

        A pack of ours without an index is removed: a killed run did not finish writing or removing it, and no reader
        uses it.
        """
        self._close_vanished()
        self._reload()
        for name in self._names:
            stem, extension = os.path.splitext(name)
            if extension == ".pack" and is_own_pack(stem) and f"{stem}.idx" not in self._names:
                path = self.pack_path(name)
                if stem == own_pack_name(read_tail(path, 20).hex()):
                    unlink_if_there(path)

    def _reload(self) -> None:
        self._alternates = read_alternates(self._objects)
        # The last ones are searched first: a pull finds what it needs here rather than in an alternate.
        stems: dict[str, str] = {}
        for directory in reversed(self._alternates):
            stems |= {stem: stem for stem in _stems(os.path.join(directory, "pack"), _pack_files(directory))}
        self._names = _pack_files(self._objects)
        stems |= {os.path.basename(stem): stem for stem in _stems(self.pack_directory, self._names)}
        packs: dict[str, Pack] = {key: LazyPack(stem) for key, stem in stems.items()}
        for key, pack in self.packs.items():
            is_being_written = not isinstance(pack, LazyPack) and f"{key}.pack" in self._names
            if key in stems or is_being_written:
                packs[key] = pack
            else:
                self._vanished.append(pack)
        # A new dict, as other threads may be reading the old one.
        self.packs = packs

    def read_raw(self, object_id: bytes, /) -> RawObject:
        """Return type and content of an object. Raises KeyError if it is missing, MirrorDamaged if it is unreadable."""
        packs = self.packs
        with suppress(KeyError, PackVanished):
            return self._find(object_id)
        self._reload_if_stale(packs)
        return self._find(object_id)

    def _find(self, object_id: bytes) -> RawObject:
        try:
            return super().read_raw(object_id)
        except KeyError:
            name = object_id if len(object_id) == 40 else object_id.hex().encode()
            for directory in (self._objects, *self._alternates):
                if found := read_loose(directory, name, self.max_object_bytes):
                    return found
            raise

    def _size_of(self, object_id: bytes) -> int:
        packs = self.packs
        with suppress(KeyError, PackVanished):
            return super()._size_of(object_id)
        self._reload_if_stale(packs)
        with suppress(KeyError):
            return super()._size_of(object_id)
        # A loose object's header lies within its compressed bytes, which are one file: read it whole.
        return len(self._find(object_id)[1])

    def _reload_if_stale(self, packs: dict[str, Pack]) -> None:
        """List the packs again, unless another thread has done so since `packs` was current."""
        with self._reloading:
            if self.packs is packs:
                self._reload()

    def holds(self, object_id: str) -> bool:
        """Whether the object is here for certain, also if others added it just now."""
        packs = self.packs
        if object_id not in self:
            self._reload_if_stale(packs)
        return object_id in self

    def __contains__(self, object_id: str) -> bool:
        """Whether the object is here, as far as is known: a pack that others added just now goes unnoticed.

        Use this for an object that is probably missing: `holds` would list directories each time.
        """
        packs = self.packs
        try:
            is_packed = super().__contains__(object_id)
        except PackVanished:
            self._reload_if_stale(packs)
            is_packed = super().__contains__(object_id)
        return is_packed or any(_is_loose(each, object_id.encode()) for each in (self._objects, *self._alternates))

    def release(self) -> None:
        """End a run: keep the packs that are still right after others repack, and close the rest."""
        self.flush()
        super().release()
        self._staged.release()
        self._close_vanished()
        for key, pack in self.packs.items():
            if isinstance(pack, LazyPack):
                pack.release()
            elif is_mapped(pack.data):
                pack.close()
                self.packs[key] = LazyPack(self.pack_path(key))

    def close(self) -> None:
        """Close every pack."""
        super().close()
        self._close_vanished()

    def _close_vanished(self) -> None:
        while self._vanished:
            self._vanished.pop().close()

    # -- writing -----------------------------------------------------------------------------------------

    def use_executor(self, executor: Executor) -> None:
        """Write packs in the executor's threads, until `release`."""
        self._staged.executor = executor

    def flush(self) -> None:
        """Wait until the ingested objects are on the mount. Nothing may refer to them before."""
        self.writer.flush()

    def history(self, have: str | None, depth: int, *, is_next: bool) -> tuple[int, tuple[str, ...]]:
        """Return what to ask the remote for: the depth of the first fetch (else 0), and the shallow commits.

        Raises MirrorDamaged.
        """
        return copy_history(have, depth, tuple(sorted(each.decode() for each in self.writer.shallow_commits())))

    def add(self, objects: Mapping[bytes, RawObject]) -> None:
        """Write the objects (by hex id) that no pack has as one pack, which is on the mount on return.

        Raises MirrorDamaged for one that does not match its id.
        """
        new = {each: raw for each, raw in objects.items() if not super(CopyStore, self).__contains__(each.decode())}
        if new:
            self.write_pack(lambda write: repack.write_new(new, write))

    def maintain(self) -> None:
        """Repack our packs if they are many; every object is kept. Raises MirrorDamaged.

        It does nothing while `git gc` runs, or if git wrote a multi-pack-index, which names packs.
        """
        if sum(map(is_own_pack, self.packs)) <= repack.MAX_SMALL_PACKS:
            return
        self.refresh()
        if "multi-pack-index" in self._names or os.path.lexists(os.path.join(self.path, "gc.pid")):
            return
        with suppress(FileNotFoundError, PackVanished):  # others repacked them
            _, replaced = self.plan_repack(self._own_packs(), keeps_history=True)
            if len(replaced) > 1:
                self.rewrite(repack.all_objects(self.packs[name] for name in replaced), replaced)

    def _own_packs(self) -> Iterable[str]:
        for name, pack in self.packs.items():
            if is_own_pack(name) and not any(name + extension in self._names for extension in _PROTECTED):
                checksum = pack.index.get_pack_checksum()
                if checksum is not None and name == own_pack_name(checksum.hex()):
                    yield name


def _pack_files(objects_directory: str) -> frozenset[str]:
    try:
        return frozenset(names_in(os.path.join(objects_directory, "pack")))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def _stems(pack_directory: str, names: Iterable[str]) -> Iterable[str]:
    stems = (name[:-4] for name in names if name.endswith(".idx"))
    return [os.path.join(pack_directory, stem) for stem in sorted(stems) if stem + ".pack" in names]


def _is_loose(objects_directory: str, object_id: bytes) -> bool:
    try:
        os.stat(loose_path(objects_directory, object_id))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
