"""Whether other hosts can change a directory behind this host's caches."""

import os
from functools import cache

_LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"})


def is_shared(directory: str) -> bool:
    """Whether the directory is on a network file system, or on one of an unknown type."""
    # A client of a network file system answers from its cache for up to a minute. Only an open makes it ask the server
    # (close-to-open consistency), which a local file system does not need.
    status = os.stat(directory)
    return _type_of(os.major(status.st_dev), os.minor(status.st_dev)) not in _LOCAL


@cache
def _type_of(major: int, minor: int) -> str:
    """Return the type of the file system with this device number; "" if it is unknown."""
    # The format is that of proc(5): the device is the third field, the type comes after the dash.
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                if before.split(" ")[2:3] == [f"{major}:{minor}"]:
                    return after.split(" ", 1)[0]
    except OSError:
        pass
    return ""
