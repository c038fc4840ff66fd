"""Which file systems are taken for shared ones: all that are not known to be local."""

import os
from pathlib import Path

from handler.mount.fs import mounts


def test_what_is_not_known_to_be_local_is_taken_for_shared(tmp_path: Path) -> None:
    """`/proc` is no disk; a device number that nobody knows is none either."""
    assert mounts.is_shared("/proc")
    assert mounts._type_of(0, 1_000_000) == ""
    assert mounts.is_shared(str(tmp_path)) == (mounts._type_of(*_device(tmp_path)) not in mounts._LOCAL)


def _device(path: Path) -> tuple[int, int]:
    device = path.stat().st_dev
    return os.major(device), os.minor(device)
