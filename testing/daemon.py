"""A program that goes on until it is ended: in a process group of its own, with a log, and awaited until it answers."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

END_SECONDS = 10.0


class Daemon:
    """A running program; `log` gets what it writes to standard output and standard error."""

    def __init__(self, command: Sequence[str | Path], directory: Path, variables: Mapping[str, str], log: Path) -> None:
        """Start it in `directory`, with these environment variables and no others."""
        self._log = log
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, answers: Callable[[], None], seconds: float) -> None:
        """Wait until `answers` raises no OSError any more; else end it. Raises RuntimeError with its log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                return answers()
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"it does not answer:\n{self._log.read_text('utf-8', 'replace')[-4000:]}")

    def stop(self) -> None:
        """End it, and what it started in its group."""
        with suppress(ProcessLookupError):  # it, and all of its group, may have ended by themselves
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(END_SECONDS)


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 where nobody listens. All are held until all are known, or they would be the same."""
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in servers]
