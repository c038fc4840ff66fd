"""Packs that others wrote, of any size: opened when they are read, and closed at the end of the run."""

import errno
import io
import mmap
import os
from typing import IO

from dulwich.object_format import SHA1
from dulwich.pack import Pack, PackData, PackIndex, load_pack_index_file

from handler.mount.fs.files import NOT_REGULAR, open_to_read, read_all, reader
from handler.mount.git.packs import DELTA_CACHE_BYTES, NOT_A_PACK, SMALL_BYTES, unreadable

_LARGE_INDEX_BYTES = 4 * 1024 * 1024
"""A larger index is mapped: a look-up touches a few of its pages, and reading all of it would take seconds."""


class LazyPack(Pack):
    """The pack at `<stem>.pack` with its `.idx`. If a file is gone, reading it raises PackFileDisappeared.

    A small file is read whole: that is one round trip, as is every page of a mapped file.
    """

    def __init__(self, stem: str) -> None:
        super().__init__(stem, object_format=SHA1)
        self._idx_load = lambda: _open_index(stem + ".idx")
        self._data_load = lambda: _open_data(stem + ".pack")

    def release(self) -> None:
        """Unmap the files; they are opened again when they are needed."""
        # A repack on another host removes the file under the mapping. On NFS the next page that is read of it
        # then kills the process; an open finds the file, or does not.
        if self._data is not None and is_mapped(self._data):
            self._data.close()
            self._data = None
        if self._idx is not None and isinstance(getattr(self._idx, "_contents", None), mmap.mmap):
            self._idx.close()
            self._idx = None


def is_mapped(data: PackData) -> bool:
    """Whether a pack is mapped, and not in memory."""
    return isinstance(data._buffer(), mmap.mmap)


def _open_index(path: str) -> PackIndex:
    try:
        with _open(path, _LARGE_INDEX_BYTES) as file:
            return load_pack_index_file(path, file, SHA1)
    except NOT_A_PACK as error:
        raise unreadable(error, "a pack's index") from None


def _open_data(path: str) -> PackData:
    try:
        with _open(path, SMALL_BYTES) as file:
            return PackData(path, SHA1, file=file, delta_base_cache_limit=DELTA_CACHE_BYTES)
    except NOT_A_PACK as error:
        raise unreadable(error, "a pack") from None


def _open(path: str, max_bytes: int) -> IO[bytes]:
    """Open a file, or read it into memory if it has at most `max_bytes`. A mapping outlives its file."""
    try:
        with open_to_read(path) as descriptor:
            if os.fstat(descriptor).st_size > max_bytes:
                return reader(descriptor)
            return io.BytesIO(read_all(descriptor))
    except OSError as error:
        if error.errno in (errno.EISDIR, *NOT_REGULAR):
            raise ValueError("no regular file") from None
        raise
