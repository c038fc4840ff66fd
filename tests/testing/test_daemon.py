"""Programs that go on until they are ended: awaited, and ended with what they started."""

import os
import socket
import sys
from pathlib import Path

import pytest

from testing.daemon import Daemon, free_ports

SERVE = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(60)
"""


def test_it_is_awaited_and_ended(tmp_path: Path) -> None:
    """It listens once `wait_until` returns, and after `stop` nobody does."""
    (port,) = free_ports(1)
    daemon = Daemon([sys.executable, "-c", SERVE, str(port)], tmp_path, os.environ, tmp_path / "log")
    daemon.wait_until(lambda: socket.create_connection(("127.0.0.1", port)).close(), 20.0)
    daemon.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_one_that_dies_is_told_with_its_log(tmp_path: Path) -> None:
    """At once, and not when the time is up."""

    def answers() -> None:
        raise OSError("nobody")

    daemon = Daemon([sys.executable, "-c", "raise SystemExit('a reason')"], tmp_path, {}, tmp_path / "log")
    with pytest.raises(RuntimeError, match="a reason"):
        daemon.wait_until(answers, 20.0)


def test_ports_are_different_ones() -> None:
    """However many are asked for."""
    assert len(set(free_ports(5))) == 5
