"""The service in child processes: two real ones at once on one mount, and killed at any moment."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from testing.answers import Answer, read_answer
from testing.deliveries import WebhookRequest, http_api_event
from testing.output import Output

if TYPE_CHECKING:
    from testing.service import Service

PROJECT = Path(__file__).parents[1]

ANSWER_SECONDS = 30.0
"""How long a test waits for an answer: far more than any takes, so that only a hang ends here."""


class ProcessDied(Exception):
    """The child ended before it answered: by `kill`, or by a fault of its own (its standard error says)."""


class ServiceProcess(Output):
    """A child process with the handler in it, on the mount and parameters of `service`; a context manager.

    It answers one event at a time, as a Lambda environment does.
    """

    def __init__(self, service: "Service", *, entry: str | None = None, extra: Mapping[str, str] | None = None):
        """Start the child (about as long as a cold start); `extra` are more environment variables."""
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "testing.child", str(write_end), entry or service.entry],
            cwd=PROJECT,
            env=os.environ | service.environment | dict(extra or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            pass_fds=[write_end],
        )
        os.close(write_end)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._pending: dict[int, tuple[Future[Any], Callable[[Any], Any]]] = {}
        self._is_dead = False
        self._ready = threading.Event()
        self._output: list[str] = []
        self._errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._read_answers, args=(read_end,), daemon=True),
            threading.Thread(target=self._read_stream, args=(self._process.stdout, self._output), daemon=True),
            threading.Thread(target=self._read_stream, args=(self._process.stderr, self._errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "ServiceProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def text(self) -> str:
        """What the child wrote to standard output."""
        return "".join(self._output)

    @property
    def error_text(self) -> str:
        """What the child wrote to standard error."""
        return "".join(self._errors)

    def wait_until_ready(self) -> "ServiceProcess":
        """Wait until the handler is imported. Raises ProcessDied."""
        self._ready.wait(ANSWER_SECONDS)
        if self._is_dead or not self._ready.is_set():
            raise ProcessDied(self.error_text)
        return self

    def deliver_later(self, event: Any) -> Future[Answer]:
        """Deliver an event; the future holds the answer, or ProcessDied."""
        return self._ask(event, {}, read_answer)

    def invoke_later(self, event: Any, **context: Any) -> Future[Any]:
        """Invoke the handler with any event; the future holds what it returns as it is, or ProcessDied.

        `context` are fields of the LambdaContext.
        """
        return self._ask(event, context, lambda response: response)

    def invoke(self, event: Any, **context: Any) -> Any:
        """Invoke the handler with any event, and return what it returns. Raises ProcessDied."""
        return self.invoke_later(event, **context).result(ANSWER_SECONDS)

    def _ask(self, event: Any, context: dict[str, Any], read: Callable[[Any], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            number = next(self._numbers)
            if self._is_dead:
                future.set_exception(ProcessDied(self.error_text))
                return future
            self._pending[number] = future, read
        assert self._process.stdin
        try:
            asked = {"number": number, "event": event, "context": context}
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        except OSError:
            self._fail_pending()
        return future

    def deliver(self, event: Any) -> Answer:
        """Deliver an event and wait for its answer. Raises ProcessDied."""
        return self.deliver_later(event).result(ANSWER_SECONDS)

    def send(self, request: WebhookRequest) -> Answer:
        """Deliver a request through an HTTP API. Raises ProcessDied."""
        return self.deliver(http_api_event(request))

    def send_later(self, request: WebhookRequest) -> Future[Answer]:
        """Deliver a request through an HTTP API, without waiting."""
        return self.deliver_later(http_api_event(request))

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, and wait for the end."""
        self._process.send_signal(number)
        self._end()

    def stop(self) -> None:
        """Let it finish what it is at, for a second; then kill it."""
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait(ANSWER_SECONDS)
        for thread in self._threads:
            thread.join(ANSWER_SECONDS)

    def _read_answers(self, read_end: int) -> None:
        with os.fdopen(read_end, encoding="utf-8") as answers:
            for line in answers:
                if not line.endswith("\n"):
                    break  # cut off by a kill
                said = json.loads(line)
                if said.get("is_ready"):
                    self._ready.set()
                    continue
                with self._lock:
                    future, read = self._pending.pop(said["number"])
                try:
                    future.set_result(read(said["response"]))
                except AssertionError as error:
                    future.set_exception(error)
        self._fail_pending()
        self._ready.set()

    def _fail_pending(self) -> None:
        with self._lock:
            self._is_dead = True
            pending, self._pending = self._pending, {}
        for future, _ in pending.values():
            future.set_exception(ProcessDied(self.error_text))

    @staticmethod
    def _read_stream(stream: Any, parts: list[str]) -> None:
        with stream:
            for line in stream:
                parts.append(line)
