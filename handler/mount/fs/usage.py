"""Count the files and bytes below directories."""

import errno
import os
import stat
from collections.abc import Callable, Sequence

from handler.model import Usage
from handler.mount.fs.directories import open_directory
from handler.mount.fs.parallel import Workers

_AT_A_TIME = 4096
"""Directories between two calls of `pulse`."""


def usage_of(
    roots: Sequence[str], *, workers: int, pulse: Callable[[int], object] = lambda files: None
) -> tuple[Usage, ...]:
    """Count what lies below each directory; links are counted, not followed.

    `pulse(files)` hears how many files were counted so far; what it raises ends the counting.
    """
    files, sizes, total = [0] * len(roots), [0] * len(roots), 0
    waiting = [(number, root) for number, root in enumerate(roots) if _is_directory(root)]
    while waiting:
        now, waiting = waiting[:_AT_A_TIME], waiting[_AT_A_TIME:]
        # Several directories at a time: over the network each file takes a round trip.
        counts = Workers(workers).map(_read, [path for _, path in now])
        for (number, _), (found, size, below) in zip(now, counts, strict=True):
            files[number] += found
            sizes[number] += size
            total += found
            waiting += [(number, path) for path in below]
        pulse(total)
    return tuple(map(Usage, files, sizes))


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _read(directory: str) -> tuple[int, int, list[str]]:
    files, size, below = 0, 0, []
    try:
        # Opened first: `scandir` of a path would follow a link that somebody put there meanwhile.
        with open_directory(directory) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(os.path.join(directory, entry.name))
                    continue
                try:
                    size += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
                files += 1
    except OSError as error:
        # A run has removed it since its parent was read.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
    return files, size, below
