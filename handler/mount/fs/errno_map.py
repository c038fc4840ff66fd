"""Map the mount's errors to our failures."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from handler.errors import Git2EfsError, MountFull, MountUnavailable, TargetOccupied, TooManyOpenFiles
from handler.outcome import unexpected

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
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
"""This process or this host has no descriptor left; the mount was not asked."""
_IN_THE_WAY = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO})


def from_errno(error: OSError) -> Git2EfsError:
    """Return the failure for an error of the mount.

    MountFull and TargetOccupied need a person. TooManyOpenFiles passes, and MountUnavailable, which is every other
    error.
    """
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    if error.errno in _IN_THE_WAY:
        return TargetOccupied(f"something that git2efs did not make is in the way ({name})")
    if error.errno in _NO_DESCRIPTOR:
        return TooManyOpenFiles(f"the process has no file descriptor left ({name})")
    kind = MountFull if error.errno in _NEEDS_A_PERSON else MountUnavailable
    return kind(f"the mount answered {name}")


def as_failure(error: Exception) -> Git2EfsError:
    """Return the failure for an exception: itself, one of the mount, or `Unexpected` for a defect.

    Use it only where every OSError is the mount's: what talks to remotes and AWS has errors of its own.
    """
    if isinstance(error, Git2EfsError):
        return error
    return from_errno(error) if isinstance(error, OSError) else unexpected(error)


@contextmanager
def mount_errors() -> Iterator[None]:
    """Raise an OSError of the `with` block as one of our failures: no other error leaves the mount side."""
    try:
        yield
    except OSError as error:
        raise from_errno(error) from error
