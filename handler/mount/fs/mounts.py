"""What kind of file system a directory is on: whether other hosts may change it behind this one's caches."""

import os
from functools import cache

_LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})


def is_shared(directory: str) -> bool:
    """Whether the directory is, as far as is known, on a network file system. Raises OSError.

    A client of such a one answers from what it remembers, for up to a minute. Only the opening of a file or directory
    makes it ask the server (close-to-open consistency); what is surely local need not be opened for that.
    """
    status = os.stat(directory)
    return _type_of(os.major(status.st_dev), os.minor(status.st_dev)) not in _LOCAL


@cache
def _type_of(major: int, minor: int) -> str:
    """Return the type of the file system with this device number, by /proc/self/mountinfo (see proc(5)); "" unknown."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                if before.split(" ")[2:3] == [f"{major}:{minor}"]:
                    return after.split(" ", 1)[0]
    except OSError:
        pass
    return ""
