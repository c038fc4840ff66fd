"""Open a mirror's pack: a small one whole and indexed in memory, a large one mapped."""

import hashlib
import io
import os

from dulwich.object_format import SHA1
from dulwich.pack import Pack, PackData, PackIndex, load_pack_index_file, write_pack_index_v2

from handler.errors import MirrorDamaged, ObjectTooLarge, PackInvalid
from handler.mount.fs.files import read_all
from handler.mount.git.ingest import index_entries
from handler.mount.git.packs import NOT_A_PACK, SMALL_BYTES, RawObject, map_pack, open_pack_file, pack_of


def open_pack(path: str, max_object_bytes: int) -> Pack | None:
    """Open the pack at `<path>.pack` and `<path>.idx`; return None for a small one that is incomplete.

    Raises MirrorDamaged for what is no pack or no index.
    """
    with open_pack_file(path + ".pack") as descriptor:
        is_small = os.fstat(descriptor).st_size <= SMALL_BYTES
        content = read_all(descriptor) if is_small else b""
    try:
        if not is_small:
            return Pack.from_lazy_objects(lambda: map_pack(path + ".pack"), lambda: _read_index(path + ".idx"))
        if hashlib.sha1(content[:-20], usedforsecurity=False).digest() != content[-20:]:
            return None
        data = PackData(path + ".pack", SHA1, file=io.BytesIO(content))
        index = io.BytesIO()
        entries, _ = index_entries(data, _no_other, {}, max_object_bytes)
        write_pack_index_v2(index, sorted(entries), content[-20:])
        return pack_of(io.BytesIO(content), index.getvalue(), path)
    except (ObjectTooLarge, PackInvalid, *NOT_A_PACK) as error:
        # No run makes such a pack visible, except one with a higher bound: a fresh fetch leaves it out, or says so.
        raise MirrorDamaged(f"a pack cannot be read ({type(error).__name__})") from None


def _read_index(path: str) -> PackIndex:
    with open_pack_file(path) as descriptor:
        content = read_all(descriptor)
    try:
        return load_pack_index_file(path, io.BytesIO(content), SHA1)
    except NOT_A_PACK as error:
        raise MirrorDamaged(f"a pack's index cannot be read ({type(error).__name__})") from None


def _no_other(object_id: bytes, /) -> RawObject:
    # A visible pack is complete.
    raise KeyError(object_id)
