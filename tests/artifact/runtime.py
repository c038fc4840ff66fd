"""A Lambda environment on this machine: the emulator that SAM brings, Lambda's runtime client, the built artefact.

The emulator starts the client, hands it one event after the other, and kills it when a time-out is over; the next event
starts another one, on the same mount: as Lambda does. It breaks when two events come at once, so that each environment
here takes one at a time.
"""

import http.client
import json
import os
import platform
import re
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from testing.daemon import Daemon, free_ports

START_SECONDS = 30.0
PATH = "/2015-03-31/functions/function/invocations"
_INIT = re.compile(r"INIT REPORT\(durationMs: ([0-9.]+)\)")


class Tools:
    """Where the emulator, Lambda's Python and its runtime client are: in the directory that `make e2e` installed."""

    def __init__(self, directory: Path) -> None:
        """`directory` is what GIT2EFS_TEST_E2E names."""
        machine = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower(), "x86_64")
        packages = directory / "sam" / "lib" / "python3.13" / "site-packages"
        self.python = directory / "sam" / "bin" / "python"
        self.emulator = packages / "samcli" / "local" / "rapid" / f"aws-lambda-rie-{machine}"
        self.client = directory / "runtime"


class Environment:
    """One environment of a function; a context manager. `function` is the built directory."""

    def __init__(
        self,
        tools: Tools,
        function: Path,
        handler: str,
        variables: Mapping[str, str],
        log: Path,
        *,
        timeout_seconds: int = 60,
    ) -> None:
        """Nothing is started yet; `log` is written to."""
        self._port, self._api_port = free_ports(2)
        self._command = [
            os.fspath(tools.emulator),
            *("--runtime-interface-emulator-address", f"127.0.0.1:{self._port}"),
            *("--runtime-api-address", f"127.0.0.1:{self._api_port}"),
            # Without site-packages: nothing but the artefact and Lambda's own client is there to be imported.
            *(os.fspath(tools.python), "-S", "-m", "awslambdaric", handler),
        ]
        self._function = function
        self._variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": f"{function}:{tools.client}",
            # Nobody can write where a function's code is, in Lambda.
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": os.fspath(function),
            "AWS_LAMBDA_FUNCTION_NAME": "git2efs",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            # Lambda says it, the emulator does not.
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            **variables,
        }
        self._log = log
        self._daemon: Daemon | None = None

    @property
    def endpoint(self) -> str:
        """Where it is invoked, as Lambda's own API is, by the function's name `function`."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "Environment":
        daemon = Daemon(self._command, self._function, self._variables, self._log)
        daemon.wait_until(lambda: socket.create_connection(("127.0.0.1", self._port), timeout=1).close(), START_SECONDS)
        self._daemon = daemon
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the emulator and the client that it started."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            # The client is of a group of its own, and the emulator ends it when it is asked to end.
            daemon.stop()

    def invoke(self, event: object, timeout_seconds: float = 90.0) -> Any:
        """Invoke the function; return what it answers, decoded, or the text where Lambda itself answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_seconds)
        try:
            connection.request("POST", PATH, json.dumps(event), {"Content-Type": "application/json"})
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        try:
            return json.loads(text)
        except ValueError:
            return text

    def invoke_when_ready(self, event: object) -> Any:
        """Invoke the function after `kill_function`. The emulator itself answers while it takes the process away."""
        deadline = time.monotonic() + START_SECONDS
        while "Sandbox.Failure" in str(answer := self.invoke(event)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return answer

    def kill_function(self) -> None:
        """Kill the function's process, as Lambda does when its time is up: no clean-up runs. Wait until it is gone."""
        api = f"AWS_LAMBDA_RUNTIME_API=127.0.0.1:{self._api_port}".encode()
        killed = []
        for process in Path("/proc").iterdir():
            try:
                is_ours = process.name.isdecimal() and api in (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended, or is somebody else's
            if is_ours:
                os.kill(int(process.name), signal.SIGKILL)
                killed.append(process)
        deadline = time.monotonic() + START_SECONDS
        while any(process.exists() for process in killed) and time.monotonic() < deadline:
            time.sleep(0.01)

    def log_text(self) -> str:
        """Return what CloudWatch would get, and the emulator's own lines."""
        return self._log.read_text("utf-8", "replace")

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the log lines and metrics that the function wrote."""
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]

    def init_milliseconds(self) -> list[float]:
        """Return how long each start of the client took until the handler was imported."""
        return [float(each) for each in _INIT.findall(self.log_text())]
