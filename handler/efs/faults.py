"""What the mount's errors mean for a delivery."""

import errno

from handler.errors import Git2EfsError, MountFull, MountUnavailable, TargetOccupied

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


_IN_THE_WAY = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ELOOP})


def fault_of(error: OSError) -> Git2EfsError:
    """Return the failure that an error of the mount is.

    MountFull and TargetOccupied need a person; MountUnavailable, which is all else, passes.
    """
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    if error.errno in _IN_THE_WAY:
        return TargetOccupied(f"something that git2efs did not make is in the way ({name})")
    kind = MountFull if error.errno in _NEEDS_A_PERSON else MountUnavailable
    return kind(f"the mount answered {name}")
