"""Fixtures for the local service: a gateway around any handler, raw connections, a sample origin."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.gateway import Handler, gateway_server
from local.origin import SampleOrigin

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def gateway() -> Iterator[Callable[[Handler], str]]:
    """Start a gateway around a handler; return its base URL. Stopped at the end of the test."""
    with ExitStack() as stack:

        def start(handler: Handler) -> str:
            server = gateway_server(handler)
            server.start()
            stack.callback(server.stop, 5.0)
            return server.url

        yield start


@pytest.fixture
def origin() -> Iterator[SampleOrigin]:
    """A running, empty sample origin."""
    with SampleOrigin() as running:
        yield running


@pytest.fixture
def git() -> str:
    """The real git, or a skip."""
    found = shutil.which("git")
    if found is None:
        pytest.skip("no git on PATH")
    return found


def talk(url: str, *parts: bytes, half_close: bool = False) -> bytes:
    """Send raw bytes to the server at `url`; return everything that it sends until it closes."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10.0) as connection:
        for part in parts:
            connection.sendall(part)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started; a skip where the system does not tell."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("looks for children in /proc")
    # Each thread has its own.
    found = [each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for children in found for child in children]


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Return once the condition holds; fail after that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
