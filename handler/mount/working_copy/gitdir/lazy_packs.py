"""Packs that others made, of any size: opened when they are looked into, let go of when the run is over."""

import errno
import io
import mmap
import os
from typing import IO

from dulwich.object_format import SHA1
from dulwich.pack import Pack, PackData, PackIndex, load_pack_index_file

from handler.mount.fs.files import open_to_read, read_all, reader
from handler.mount.git.packs import DELTA_CACHE_BYTES, NOT_A_PACK, SMALL_BYTES, unreadable

_LARGE_INDEX_BYTES = 4 * 1024 * 1024
"""A larger index is mapped: a look-up touches some pages of it, and to read all of it would take seconds."""


class LazyPack(Pack):
    """The pack at `<stem>.pack` with its `.idx`. Where a file is gone, what needs it raises PackFileDisappeared.

    A small file is read whole, which is one round trip, as is every page of a mapped one.
    """

    def __init__(self, stem: str) -> None:
        """Nothing is opened yet."""
        super().__init__(stem, object_format=SHA1)
        self._idx_load = lambda: _open_index(stem + ".idx")
        self._data_load = lambda: _open_data(stem + ".pack")

    def release(self) -> None:
        """Let go of what is mapped; it is opened again when it is needed.

        Whoever repacks from another host takes the file away under the mapping, and on NFS the next page that is read
        of it kills the process. Opened anew, the file is there or it is not.
        """
        if self._data is not None and is_mapped(self._data):
            self._data.close()
            self._data = None
        if self._idx is not None and isinstance(getattr(self._idx, "_contents", None), mmap.mmap):
            self._idx.close()
            self._idx = None


def is_mapped(data: PackData) -> bool:
    """Whether a pack's bytes are mapped, and not in memory."""
    return isinstance(data._buffer(), mmap.mmap)


def _open_index(path: str) -> PackIndex:
    try:
        with _opened(path, _LARGE_INDEX_BYTES) as file:
            return load_pack_index_file(path, file, SHA1)
    except NOT_A_PACK as error:
        raise unreadable(error, "a pack's index") from None


def _open_data(path: str) -> PackData:
    try:
        with _opened(path, SMALL_BYTES) as file:
            return PackData(path, SHA1, file=file, delta_base_cache_limit=DELTA_CACHE_BYTES)
    except NOT_A_PACK as error:
        raise unreadable(error, "a pack") from None


def _opened(path: str, max_bytes: int) -> IO[bytes]:
    """Open a file, or its content in memory if it has no more than `max_bytes`. A mapping outlives its file."""
    try:
        with open_to_read(path, follow=True) as descriptor:
            if os.fstat(descriptor).st_size > max_bytes:
                return reader(descriptor)
            return io.BytesIO(read_all(descriptor))
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise ValueError("no regular file") from None
        raise
