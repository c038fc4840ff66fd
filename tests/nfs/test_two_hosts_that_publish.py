"""Two hosts that publish, as two instances of a function do: each has its own mount, and remembers its own things."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from handler.errors import LockTimeout
from handler.mount.fs.lock import locked
from testing.service import Service
from tests.nfs.conftest import Mounts
from tests.nfs.pushes import Pushes
from tests.nfs.reader import Reader

HOLD_THE_LOCK = """
import sys, time
from handler.mount.fs.lock import locked
with locked(sys.argv[1], 5.0):
    print("held", flush=True)
    time.sleep(60)
"""


def use(current: Path, seconds: float = 50.0) -> None:
    """Look at a target for a while: the longer nothing changes, the longer (to a minute) the client asks nobody."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        os.readlink(current)
        os.listdir(current)
        os.listdir(current.parent / "releases")
        time.sleep(0.2)


def test_the_lock_excludes_another_host_and_goes_with_its_holder(mounts: Mounts) -> None:
    """A process on the first mount holds it: the second waits in vain. Killed, it is free at once."""
    command = [sys.executable, "-c", HOLD_THE_LOCK, os.fspath(mounts.first / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockTimeout), locked(os.fspath(mounts.second / ".lock"), 1.0):
            pass
        holder.kill()
        holder.wait()
        with locked(os.fspath(mounts.second / ".lock"), 10.0) as hold:
            assert hold.waited_seconds < 5.0


def test_two_hosts_at_once_publish_the_last_push(
    service: Service, pushes: Pushes, reader: Reader, mounts: Mounts
) -> None:
    """Each push is delivered to both at the same time: both answer 200, and its commit stands there afterwards."""
    pushes.configure(grace_seconds=0)
    pushes.push({"a/b": b"first"})
    with service.process() as first, service.process(extra=mounts.second_host) as second:
        for number in range(4):
            commit = pushes.commit({"a/b": b"%d" % number, f"a/{number}": b"new"})
            request = pushes.request()
            answers = [host.send_later(request) for host in (first, second)]
            assert [answer.result(120).status for answer in answers] == [200, 200]
            assert reader.look() == commit
            assert reader.differences(pushes.trees[commit]) == []


def test_a_host_sees_what_another_host_published(
    service: Service, pushes: Pushes, reader: Reader, mounts: Mounts
) -> None:
    """A force-push back is published, though the host that gets it remembers that very commit as current."""
    pushes.configure()
    first = pushes.push({"a": b"first"})
    with service.process(extra=mounts.second_host) as other:
        other.wait_until_ready()
        use(service.current())
        pushes.commit({"a": b"second"})
        assert other.send(pushes.request()).outcome == "published"
    pushes.go_back(first)
    assert pushes.deliver().outcome == "published"
    assert reader.look() == first


@pytest.mark.parametrize("number", [0, 1], ids=["made current", "retired just now"])
def test_a_host_does_not_recycle_what_another_host(
    service: Service, pushes: Pushes, reader: Reader, mounts: Mounts, number: int
) -> None:
    """Grace begins when a release is replaced, whatever time a host remembers of it.

    Of an old one that is current again by another host's doing; of one that was current for a day until then.
    """
    pushes.configure()
    commits = [pushes.push({"a": b"old"}), pushes.push({"a": b"young"})]
    long_ago = int(time.time()) - 86_400
    os.utime(service.mount / "octo/site/main/releases" / commits[number], (long_ago, long_ago))
    with service.process(extra=mounts.second_host) as other:
        other.wait_until_ready()
        use(service.current())
        pushes.go_back(commits[0])
        assert other.send(pushes.request()).outcome == "published"
    assert reader.look() == commits[0]
    pushes.push({"a": b"new"})
    reader.look()
    assert commits[number] in os.listdir(reader.target / "releases")
