"""Run `python -m local serve` as a child process: start it, wait for it, collect its log lines, end it."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from local.options import SECRET_VARIABLE

PROJECT = Path(__file__).resolve().parent.parent
READY = "git2efs: listening on "
PROCESSES = "git2efs: process "
SILENCE_SECONDS = 0.1


class ServiceFailed(Exception):
    """The service did not start, or ended by itself; the text includes its standard error."""


class Service:
    """The service on a free port of loopback, from `with` to its end.

    `url` is the webhook's address, `processes_line` what it says of its two processes with `--isolated`. `options` are
    further arguments of `serve`; the secret travels in the environment, where `ps` does not show it.
    """

    def __init__(self, root: str, secret: str, repositories: Mapping[str, str], options: Sequence[str] = ()) -> None:
        self._arguments = [sys.executable, "-m", "local", "serve", "--root", root, "--port", "0", *options]
        for full_name, url in repositories.items():
            self._arguments += ["--repository", f"{full_name}={url}"]
        self._environment = {**os.environ, SECRET_VARIABLE: secret, "PYTHONUNBUFFERED": "1"}
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._errors: list[str] = []
        self.url = ""
        self.ready_line = ""
        self.processes_line = ""

    def __enter__(self) -> Self:
        """Start, and wait until it listens. Raises ServiceFailed."""
        self._process = subprocess.Popen(
            self._arguments,
            cwd=PROJECT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._threads = [
            threading.Thread(target=self._collect, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._errors.extend, args=(self._process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        try:
            deadline = time.monotonic() + 60.0
            if "--isolated" in self._arguments:
                self.processes_line = self._next_line(deadline, PROCESSES)
            self.ready_line = self._next_line(deadline, READY)
        except ServiceFailed:
            self._end()
            raise
        self.url = self.ready_line.removeprefix(READY).split(" ", 1)[0]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask it to end, and wait until it has."""
        self._end()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def stop(self) -> int:
        """End it as an operator would, by SIGTERM; return its exit status."""
        self._end()
        return self._process.returncode

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=40.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _collect(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _next_line(self, deadline: float, start: str = "") -> str:
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise ServiceFailed("the service was silent for too long\n" + self.errors()) from None
            if line is None:
                raise ServiceFailed("the service ended by itself\n" + self.errors())
            if line.startswith(start):
                return line

    def errors(self) -> str:
        """Return the last lines of its standard error."""
        return "".join(self._errors[-20:])

    def records(self, wait_seconds: float = 3.0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the log lines and the metrics lines since the last call, as their JSON objects.

        Wait up to `wait_seconds` for one of each, then for silence: a delivery may write several.
        """
        logs: list[dict[str, Any]] = []
        metrics: list[dict[str, Any]] = []
        deadline = time.monotonic() + wait_seconds
        while True:
            now = time.monotonic()
            try:
                line = self._next_line(min(deadline, now + SILENCE_SECONDS) if logs and metrics else deadline)
            except ServiceFailed:
                return logs, metrics
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                (metrics if "_aws" in record else logs).append(record)
