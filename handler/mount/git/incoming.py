"""Large packs on their way: files in `<owner>/<name>/.incoming/`, one a transfer, written in parts.

The parts come before the request that names the transfer, and without the repository's lock. A file that no request
takes is swept after an hour.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from handler.config.names import is_transfer
from handler.errors import Malformed, PackTooLarge
from handler.mount.fs.files import create_part, open_to_change, unlink_if_there, write_all

_KEPT_SECONDS = 3600.0


def write_part(directory: str, transfer: str, *, offset: int, content: bytes, max_bytes: int) -> int:
    """Write the next part of a transfer's file, at 0 from the start; return the size of the file then. Raises OSError.

    Raises Malformed where something is missing before the part, and PackTooLarge past `max_bytes`.
    """
    if offset + len(content) > max_bytes:
        raise PackTooLarge(f"the fetch brings more than {max_bytes} bytes (GIT2EFS_MAX_PACK_BYTES)")
    path = _path(directory, transfer)
    if offset == 0:
        os.makedirs(directory, exist_ok=True)
        sweep(directory)
    with create_part(path, is_first=offset == 0) as descriptor:
        size = os.fstat(descriptor).st_size
        # Beyond the end it would leave a hole, and before the end another part is there already.
        if offset != size:
            raise Malformed(f"a part at {offset} does not follow the {size} bytes that are there")
        write_all(descriptor, content)
    return offset + len(content)


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
    """Remove files that nobody has written to for an hour. Raises OSError."""
    with suppress(FileNotFoundError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            with suppress(FileNotFoundError):
                if clock() - os.lstat(path).st_mtime > _KEPT_SECONDS:
                    os.unlink(path)


def _path(directory: str, transfer: str) -> str:
    if not is_transfer(transfer):
        raise Malformed("the transfer's name is not 32 hex digits")
    return os.path.join(directory, transfer)
