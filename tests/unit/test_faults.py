"""What an exception of a run on the mount is told as."""

import errno

import pytest

from handler.errors import LockTimeout, MountFull, MountUnavailable, TargetOccupied, Unexpected
from handler.mount.fs.errno_map import as_failure


def test_a_failure_of_ours_is_told_as_it_is() -> None:
    """With its own reason and message."""
    error = LockTimeout("another run holds it")
    assert as_failure(error) is error


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, MountFull),
        (errno.EROFS, MountFull),
        (errno.ENOTDIR, TargetOccupied),
        (errno.EIO, MountUnavailable),
        (errno.ESTALE, MountUnavailable),
    ],
)
def test_an_error_of_the_mount_is_told_by_what_it_means(number: int, kind: type[Exception]) -> None:
    """By its name, and without the path."""
    failure = as_failure(OSError(number, "words", "/mnt/secret-place"))
    assert type(failure) is kind
    assert errno.errorcode[number] in str(failure)
    assert "secret-place" not in str(failure)


def test_all_else_is_a_defect_whose_text_is_not_told() -> None:
    """Its kind is; its text may hold anything."""
    failure = as_failure(ValueError("https://token@example"))
    assert type(failure) is Unexpected
    assert "ValueError" in str(failure)
    assert "token" not in str(failure)
