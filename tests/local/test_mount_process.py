"""The mount side as a process: what it gets, what it cannot do, and how it ends."""

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handler.exchange.messages import encode_call
from handler.mount.fs.lock import locked
from local import mount_process
from local.lambda_api import FunctionFailed
from local.mount_process import MountProcess, mount_environment
from local.mount_side import MAX_FRAME_BYTES, Frame, Kind, read_frame, write_frame
from tests.local.conftest import PROJECT, is_alive, wait_for

REPOSITORIES = encode_call("repositories", {})
SECRETS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "GIT2EFS_LOCAL_SECRET": "s3cret",
    "GIT2EFS_PUBLISHER": "git2efs-local-publisher",
    "GIT2EFS_QUEUE_URL": "https://sqs.example/queue",
    "GITHUB_TOKEN": "t0ken",
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the network side has around it."""
    return {**os.environ, **SECRETS, "GIT2EFS_MOUNT": str(tmp_path), "GIT2EFS_PARAMETER_PREFIX": "/git2efs/local"}


@pytest.fixture
def process(environment: dict[str, str]) -> Iterator[MountProcess]:
    """The mount side of an empty mount."""
    with MountProcess(mount_environment(environment)) as started:
        yield started


def result_of(payload: bytes) -> Any:
    """Return what a call returned."""
    return json.loads(payload)["result"]


# -- what it is given and what it can do ------------------------------------------------------------------------------


def test_a_call_is_answered(process: MountProcess) -> None:
    """A result, and a failure of ours, which is an answer too."""
    assert result_of(process.invoke(REPOSITORIES)) == []
    answer = json.loads(process.invoke(b'{"version": 0}'))
    assert answer["failure"]["reason"] == "malformed"


def test_calls_run_side_by_side(process: MountProcess, tmp_path: Path) -> None:
    """One that waits for a lock keeps no other from being answered."""
    lease = encode_call("take_lease", {"task": "chores", "run": "r", "until": time.time() + 60})
    assert result_of(process.invoke(lease)) is not None
    answers: list[bytes] = []
    waiting = threading.Thread(target=lambda: answers.append(process.invoke(lease)))
    with locked(str(tmp_path / ".git2efs" / "chores.lock"), 1.0):
        waiting.start()
        assert result_of(process.invoke(REPOSITORIES)) == []
        assert answers == []
    waiting.join()
    assert len(answers) == 1


def test_it_gets_the_settings_and_neither_a_secret_nor_anything_of_aws(
    process: MountProcess, environment: dict[str, str]
) -> None:
    """Its environment, as the system has it."""
    given = mount_environment(environment)
    assert not given.keys() & SECRETS.keys()
    assert given["GIT2EFS_MOUNT"] == environment["GIT2EFS_MOUNT"]
    # A quarter of the function's memory, as for the network side, which alone knows how much that is.
    assert given["GIT2EFS_MAX_OBJECT_BYTES"] == str(256 * 1024 * 1024)
    process.invoke(REPOSITORIES)
    if Path("/proc/self/environ").exists():
        found = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        assert {name for name in found if name.startswith((b"AWS_", b"GITHUB_"))} == set()
        assert b"s3cret" not in b"\0".join(found)


def test_it_reaches_not_even_a_port_of_this_machine(process: MountProcess) -> None:
    """The port is open, to this process; a connection from that one is refused before it leaves it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        socket.create_connection((host, port), timeout=5).close()
        server.accept()[0].close()
        assert process.probe(host, port).refused == "NetworkForbidden"
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_its_network_namespace_has_nothing_in_it(process: MountProcess) -> None:
    """Where the system lets it leave: then the kernel itself reaches nobody from there."""
    if not process.probe("127.0.0.1", 9).has_namespace:
        pytest.skip("this system lets nobody make a namespace")
    theirs = f"/proc/{process.pid}"
    assert os.readlink(f"{theirs}/ns/net") != os.readlink("/proc/self/ns/net")
    routes = Path(f"{theirs}/net/route").read_text(encoding="ascii").splitlines()[1:]
    interfaces = Path(f"{theirs}/net/dev").read_text(encoding="ascii").splitlines()[2:]
    assert routes == []
    assert [line.split(":")[0].strip() for line in interfaces if "lo:" not in line] == []


@pytest.mark.parametrize(
    "use",
    [
        "socket.socket()",
        "socket.socketpair()",
        "socket.getaddrinfo('localhost', 80)",
        "socket.gethostbyname('localhost')",
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.socket(socket.AF_UNIX)",
        "urllib.request.urlopen('http://127.0.0.1:9')",
    ],
)
def test_no_use_of_a_socket_is_possible_nor_becomes_an_outcome(use: str) -> None:
    """Whatever Python offers; and `except Exception`, which makes outcomes of defects, does not catch it."""
    script = f"""
import socket, urllib.request
from local.mount_side import NetworkForbidden, forbid_sockets
forbid_sockets()
try:
    try:
        {use}
    except Exception as error:
        print("caught", error)
except NetworkForbidden as error:
    print("forbidden", error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("forbidden socket."), done.stdout


def test_a_system_that_allows_no_namespace_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then sockets are forbidden alone."""
    from local import mount_side

    def refuse() -> None:
        raise PermissionError(errno.EPERM, "unshare")

    monkeypatch.setattr(mount_side, "_unshare", refuse)
    before = os.readlink("/proc/self/ns/net") if sys.platform == "linux" else ""
    assert not mount_side.leave_network()
    assert not before or os.readlink("/proc/self/ns/net") == before


# -- its end ----------------------------------------------------------------------------------------------------------


def test_calls_in_flight_fail_when_it_dies_and_the_next_one_finds_another(process: MountProcess) -> None:
    """Stopped, so that it cannot answer, and then killed."""
    first = process.pid
    process.invoke(REPOSITORIES)
    os.kill(first, signal.SIGSTOP)
    timer = threading.Timer(0.2, os.kill, (first, signal.SIGKILL))
    timer.start()
    with pytest.raises(FunctionFailed, match="died"):
        process.invoke(REPOSITORIES)
    timer.join()
    assert result_of(process.invoke(REPOSITORIES)) == []
    assert process.pid != first
    assert not is_alive(first)


def test_a_call_that_takes_too_long_ends_it(environment: dict[str, str]) -> None:
    """As Lambda does at the function's timeout; the next call finds another process."""
    with MountProcess(mount_environment(environment), timeout_seconds=1.0) as process:
        process.probe("127.0.0.1", 9)
        first = process.pid
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(FunctionFailed) as raised:
            process.invoke(REPOSITORIES)
        assert raised.value.kind == "Sandbox.Timedout"
        process.probe("127.0.0.1", 9)
        assert process.pid != first
        assert result_of(process.invoke(REPOSITORIES)) == []
        wait_for(lambda: not is_alive(first))


def test_it_is_ready_when_it_answers(process: MountProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while it hangs; and again with a new process where the last one died."""
    assert process.is_ready()
    monkeypatch.setattr(mount_process, "READY_SECONDS", 0.2)
    os.kill(process.pid, signal.SIGSTOP)
    assert not process.is_ready()
    monkeypatch.undo()
    wait_for(process.is_ready)


def test_it_ends_with_the_block_and_is_not_started_again(environment: dict[str, str]) -> None:
    """By itself, since nobody can ask it any more."""
    with MountProcess(mount_environment(environment)) as process:
        process.invoke(REPOSITORIES)
        pid = process.pid
        started = time.monotonic()
    assert time.monotonic() - started < mount_process.END_SECONDS
    assert not is_alive(pid)
    with pytest.raises(FunctionFailed):
        process.invoke(REPOSITORIES)
    assert not process.is_ready()


def test_what_does_not_start_is_told() -> None:
    """Without an interpreter that finds its modules: a failure for whoever calls, each time."""
    with MountProcess({"PYTHONHOME": "/nowhere"}) as process:
        for _ in range(2):
            with pytest.raises(FunctionFailed):
                process.invoke(REPOSITORIES)


def test_an_interpreter_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process at all."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with MountProcess({}) as process, pytest.raises(FunctionFailed, match="no process"):
        process.invoke(REPOSITORIES)


# -- frames -----------------------------------------------------------------------------------------------------------


def test_frames_are_read_as_they_were_written() -> None:
    """One after the other, until the end."""
    frames = [Frame(Kind.CALL, 0, b""), Frame(Kind.ANSWER, 2**40, b"x" * 100_000), Frame(Kind.FAILURE, 7, b"E")]
    stream = io.BytesIO()
    for frame in frames:
        write_frame(stream, frame)
    stream.seek(0)
    assert [read_frame(stream) for _ in range(4)] == [*frames, None]


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 5,
        b"\x09" + b"\x00" * 12,
        b"\x00" * 9 + (MAX_FRAME_BYTES + 1).to_bytes(4, "big") + b"x",
        b"\x00" * 9 + b"\x00\x00\x00\x05abcd",
    ],
    ids=["cut in the header", "unknown kind", "too large", "cut"],
)
def test_what_is_no_frame_is_the_end(content: bytes) -> None:
    """Nothing is read of a size that nobody sends."""
    assert read_frame(io.BytesIO(content)) is None


def test_a_call_that_is_too_large_is_not_sent(process: MountProcess) -> None:
    """It would end the process."""
    with pytest.raises(FunctionFailed):
        process.invoke(b" " * (MAX_FRAME_BYTES + 1))
    assert result_of(process.invoke(REPOSITORIES)) == []


def test_what_the_code_lets_pass_is_an_answer(process: MountProcess) -> None:
    """Text that is not JSON, here: the call fails, the process stays."""
    before = process.pid
    with pytest.raises(FunctionFailed) as raised:
        process.invoke(b"{")
    assert raised.value.kind == "JSONDecodeError"
    assert process.pid == before
