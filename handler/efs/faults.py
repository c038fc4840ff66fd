"""What the mount's errors mean for a delivery."""

import errno

from handler.errors import Git2EfsError, MountFull, MountUnavailable

_NEEDS_A_PERSON = frozenset({
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.EMLINK,
    errno.ENAMETOOLONG,
})  # fmt: skip


def fault_of(error: OSError) -> Git2EfsError:
    """Return the failure that an error of the mount is: MountFull (needs a person) or MountUnavailable (passes)."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    kind = MountFull if error.errno in _NEEDS_A_PERSON else MountUnavailable
    return kind(f"the mount answered {name}")
