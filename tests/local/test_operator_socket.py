"""`git2efs ACTION --local DIR` asks the service on this machine: what the README shows needs no AWS."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from handler.cli.served import SOCKET, socket_address
from local import sample
from local.origin import SampleOrigin
from local.service import Service
from tests.local.conftest import PROJECT

MAIN = "octocat/weather/main"


def run(mount: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "handler.cli", *arguments, "--local", os.path.relpath(mount, PROJECT)],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def origin() -> Iterator[SampleOrigin]:
    """Return the sample's origin with two commits of its main branch."""
    with SampleOrigin() as running:
        yield running


@pytest.mark.parametrize("options", [[], ["--queued", "--isolated"]], ids=["direct", "queued, isolated"])
def test_the_readmes_example(tmp_path: Path, origin: SampleOrigin, options: Sequence[str]) -> None:
    """Publish, roll back, look, resume: the output is what README shows."""
    mount = tmp_path / "mount"
    first = origin.commit("refs/heads/main", sample.first_push(), "Begin")
    with Service(str(mount), "s3cret", {"octocat/weather": origin.url}, options):
        assert run(mount, "publish", "octocat/weather").returncode == 0
        second = origin.commit("refs/heads/main", sample.third_push(), "Go on")
        assert run(mount, "publish", "octocat/weather").returncode == 0
        back = run(mount, "rollback", MAIN, "--why", "the start page is empty")
        assert back.stdout.splitlines() == [
            f"{MAIN}  published  rolled_back  {second[:12]} -> {first[:12]}",
            f"{MAIN}: held there; `resume {MAIN}` publishes what its ref names",
        ]
        assert os.readlink(mount / MAIN / "current").endswith(first)
        status = run(mount, "status", "--json")
        assert (status.returncode, json.loads(status.stdout)["exit_code"]) == (1, 1)
        assert run(mount, "resume", MAIN).returncode == 0
        assert run(mount, "doctor").returncode == 0


def test_a_repository_is_added_without_a_restart(tmp_path: Path, origin: SampleOrigin) -> None:
    """The secret that it was started with is kept; a webhook needs the tunnel's address."""
    mount = tmp_path / "mount"
    origin.commit("refs/heads/main", sample.first_push(), "Begin")
    with Service(str(mount), "s3cret", {}):
        refused = run(mount, "add", "acme/web", "--parameter", json.dumps({"url": origin.url}))
        assert (refused.returncode, "--url" in refused.stdout) == (2, True)
        added = run(mount, "add", "acme/web", "--no-webhook", "--parameter", json.dumps({"url": origin.url}))
        assert [line.split()[:2] for line in added.stdout.splitlines()] == [["parameter", "put"], ["secret", "kept"]]
        assert run(mount, "publish", "acme/web").returncode == 0
        assert (mount / "acme/web/main/current/README.md").exists()


def test_the_socket_is_its_users_alone_and_goes_with_the_service(tmp_path: Path) -> None:
    """Nobody else may ask; what is no question is refused; without a service the command says what to do."""
    mount = tmp_path / "mount"
    with Service(str(mount), "s3cret", {}):
        assert stat.S_IMODE(os.lstat(mount / SOCKET).st_mode) == 0o600
        for line in (b"{}\n", b"rubbish\n", b'{"destroy": 1}\n', b'{"write": 7}\n', b"\n"):
            with socket.socket(socket.AF_UNIX) as connection, socket_address(str(mount)) as address:
                connection.connect(address)
                connection.sendall(line)
                assert "failure" in json.loads(connection.makefile().readline())
    assert not (mount / SOCKET).exists()
    gone = run(mount, "status")
    assert gone.returncode == 3
    assert "make serve" in gone.stdout


def test_a_service_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    """Its socket is replaced."""
    mount = tmp_path / "mount"
    (mount / ".git2efs").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left, socket_address(str(mount)) as address:
        left.bind(address)
    with Service(str(mount), "s3cret", {}):
        assert run(mount, "status").returncode == 0


def test_a_mount_may_lie_deep(tmp_path: Path) -> None:
    """Its path is longer than a socket's address may be."""
    mount = tmp_path / ("y" * 200)
    with Service(str(mount), "s3cret", {}):
        assert run(mount, "status").returncode == 0
    assert not (mount / SOCKET).exists()


def test_where_there_can_be_no_socket_the_service_serves(tmp_path: Path) -> None:
    """It says so, and leaves alone what is in the way."""
    mount = tmp_path / "mount"
    (mount / SOCKET).mkdir(parents=True)
    with Service(str(mount), "s3cret", {}) as service:
        assert service.url
        assert run(mount, "status").returncode == 3
    assert (mount / SOCKET).is_dir()
