"""Large packs on their way: files in `<owner>/<name>/.incoming/`, one a transfer, written in parts.

The parts come before the request that names the transfer, and without the repository's lock. A file that no request
takes is swept after an hour: by the next transfer that begins, and by the daily maintenance.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO

from handler.config.names import is_transfer
from handler.errors import Malformed, PackTooLarge
from handler.mount.fs.directories import make_directories, open_directory, remove_tree
from handler.mount.fs.files import open_regular, open_to_change, unlink_if_there, write_all

_KEPT_SECONDS = 3600.0
"""Far longer than a run: nobody writes to a file or will take it any more that was left for so long."""


def write_part(
    directory: str,
    transfer: str,
    *,
    offset: int,
    content: bytes,
    max_bytes: int,
    clock: Callable[[], float] = time.time,
) -> int:
    """Write the next part of a transfer's file, at 0 from the start; return the size of the file then. Raises OSError.

    Raises Malformed where something is missing before the part, and PackTooLarge past `max_bytes`.
    """
    if offset + len(content) > max_bytes:
        raise PackTooLarge(f"the fetch brings more than {max_bytes} bytes (GIT2EFS_MAX_PACK_BYTES)")
    path = _path(directory, transfer)
    if offset == 0:
        sweep(directory, clock)
    with ExitStack() as stack:
        descriptor = _open_part(stack, path, is_first=offset == 0)
        size = os.fstat(descriptor).st_size
        # Beyond the end it would leave a hole, and before the end another part is there already.
        if offset != size:
            raise Malformed(f"a part at {offset} does not follow the {size} bytes that are there")
        write_all(descriptor, content)
    return offset + len(content)


@contextmanager
def _part(path: str, *, is_first: bool) -> Iterator[int]:
    """Give an open descriptor to append a part to a file until the block ends; the first part makes the file anew."""
    flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_TRUNC if is_first else 0)
    descriptor = open_regular(path, flags, 0o644)
    try:
        yield descriptor
    finally:
        # On NFS the close sends what was written and reports what failed.
        os.close(descriptor)


def _open_part(stack: ExitStack, path: str, *, is_first: bool) -> int:
    if is_first:
        make_directories(os.path.dirname(path))
        # Without a lock: a run that has just taken the last transfer removes the directory between the two.
        with suppress(FileNotFoundError):
            return stack.enter_context(_part(path, is_first=True))
        make_directories(os.path.dirname(path))
    return stack.enter_context(_part(path, is_first=is_first))


def open_transfer(directory: str, transfer: str) -> tuple[BinaryIO, str]:
    """Open a transfer's file, and return it with its path.

    Raises OSError: FileNotFoundError where it was swept, or another request took it.
    """
    path = _path(directory, transfer)
    return open_to_change(path), path


def discard(directory: str, transfers: list[str]) -> None:
    """Remove the files of transfers that nobody will take any more. Raises OSError."""
    for transfer in transfers:
        unlink_if_there(_path(directory, transfer))
    with suppress(OSError):  # others are on their way
        os.rmdir(directory)


def sweep(directory: str, clock: Callable[[], float] = time.time) -> None:
    """Remove files that nobody has written to for an hour, and the directory where nothing is left. Raises OSError."""
    # By an open directory: one that is a link by now would have us remove somebody else's files.
    with suppress(FileNotFoundError), open_directory(directory) as descriptor:
        for name in os.listdir(descriptor):
            with suppress(FileNotFoundError):
                found = os.lstat(name, dir_fd=descriptor)
                if clock() - found.st_mtime > _KEPT_SECONDS:
                    # A directory is none of ours, and would be in the way of all that comes after.
                    remove = remove_tree if stat.S_ISDIR(found.st_mode) else os.unlink
                    remove(name, dir_fd=descriptor)
        with suppress(OSError):  # others are on their way
            os.rmdir(directory)


def _path(directory: str, transfer: str) -> str:
    if not is_transfer(transfer):
        raise Malformed("the transfer's name is not 32 hex digits")
    return os.path.join(directory, transfer)
