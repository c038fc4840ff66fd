"""The memory of both sides does not grow with a pack: it passes from one to the other in parts."""

import contextlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from local import github
from local.service import Service
from testing import selection
from testing.origin import GitOrigin
from testing.repositories import Upstream

FULL_NAME = "octo/large"
MIB = 1 << 20
BLOB = 8 * MIB
MOST_MIB = 150
PATIENCE_SECONDS = 120.0


def most_memory(pid: int) -> int:
    """Return the most memory that a process ever had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(name))
    return found


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_large_pack_takes_little_memory_on_either_side(tmp_path: Path, say: Callable[[str], None]) -> None:
    """150 MiB (by default 40, in a long run 300) through `serve --isolated`.

    Its network side holds the stand-in for Lambda too.
    """
    stream = random.Random(1)
    with GitOrigin(tmp_path / "origin") as origin:
        origin.root.mkdir()
        upstream = Upstream(origin.root, FULL_NAME)
        count = selection.count(19, 5, long_run=38)
        commit = upstream.commit({f"{number}": stream.randbytes(BLOB) for number in range(count)})
        # Else git looks for differences between random bytes for half a minute.
        upstream.git("repack", "-adq", "--window=0")
        mount = tmp_path / "mount"
        with Service(str(mount), "secret", {FULL_NAME: origin.url(FULL_NAME)}, ["--isolated"]) as service:
            change = github.Change(committed_at="2026-11-01T00:00:00Z")
            payload = github.push_payload(
                FULL_NAME, "refs/heads/main", github.NO_COMMIT, commit, change=change, pushed_at=int(time.time())
            )
            with contextlib.suppress(TimeoutError):  # GitHub does not wait for that long either
                assert github.send(service.url, payload, "secret").status == 200
            current, until = mount / FULL_NAME / "main/current", time.monotonic() + PATIENCE_SECONDS
            while not current.is_symlink() and time.monotonic() < until:
                time.sleep(0.2)
            assert os.readlink(current) == f"releases/{commit}"
            (publisher,) = children_of(service._process.pid)
            network_side, mount_side = most_memory(service._process.pid), most_memory(publisher)
    say(f"a pack of {count * BLOB // MIB} MiB: network side {network_side} MiB, mount side {mount_side} MiB")
    assert max(network_side, mount_side) <= MOST_MIB
