"""The parent of `local.mount_side`: it starts the process, asks it, starts another after a death, and ends it."""

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from handler.errors import ConfigurationInvalid
from handler.settings import ENVIRONMENT_PREFIX, read_settings
from local.lambda_api import PUBLISHER_NAME, FunctionFailed, lambda_server
from local.mount_side import MAX_FRAME_BYTES, TIMEOUT_SECONDS, Frame, Kind, read_frame, write_frame
from local.options import SECRET_VARIABLE

START_SECONDS = 30.0
READY_SECONDS = 5.0
END_SECONDS = 5.0
"""How long the process may take to start, to say that it is ready, and to end."""

_PROJECT = Path(__file__).resolve().parent.parent
_OF_THE_NETWORK_SIDE = frozenset(
    {SECRET_VARIABLE} | {ENVIRONMENT_PREFIX + name for name in ("PUBLISHER", "QUEUE_URL", "DEAD_LETTER_URL")}
)
_OF_THE_SYSTEM = frozenset({"LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV"})


def mount_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the mount side gets of an environment: its settings; no secret, nothing of AWS."""
    found = {
        name: value
        for name, value in environment.items()
        if name in _OF_THE_SYSTEM
        or (name.startswith((ENVIRONMENT_PREFIX, "PYTHON")) and name not in _OF_THE_NETWORK_SIDE)
    }
    # Its default follows from a variable of Lambda's; the two sides must not differ in it.
    with suppress(ConfigurationInvalid):  # both sides answer with what is wrong
        found[ENVIRONMENT_PREFIX + "MAX_OBJECT_BYTES"] = str(read_settings(environment).max_object_bytes)
    return found


@dataclass(frozen=True, slots=True)
class Probe:
    """What became of a connection that the mount side tried: the name of what it raised, '' where it was made."""

    has_namespace: bool
    refused: str


class MountProcess:
    """The mount side in a process of its own. Safe for threads.

    `environment` is all that the process gets. It is ended, with a new one for the next call, when a call takes longer
    than `timeout_seconds`.
    """

    def __init__(self, environment: Mapping[str, str], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._environment = environment
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        """Return it; the process is started with the first question."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process; nothing can be asked any more."""
        with self._lock:
            self._is_closed = True
            if self._child is not None:
                self._child.end()

    @property
    def pid(self) -> int:
        """The id of the process, which is started if there is none."""
        return self._running().pid

    def invoke(self, payload: bytes) -> bytes:
        """Call the publisher's handler. Raises FunctionFailed where the process died or did not answer in its time."""
        return self._running().ask(Kind.CALL, payload, self._timeout_seconds)

    def probe(self, host: str, port: int, *, seconds: float = START_SECONDS) -> Probe:
        """Let the mount side try a connection. Raises FunctionFailed."""
        answer = self._running().ask(Kind.PROBE, json.dumps([host, port]).encode(), seconds)
        return Probe(**json.loads(answer))

    def is_ready(self) -> bool:
        """Whether the process answers; a new one is started for that where the last one died."""
        try:
            self.probe("127.0.0.1", 9, seconds=READY_SECONDS)
        except FunctionFailed:
            return False
        return True

    def _running(self) -> "_Child":
        with self._lock:
            if self._is_closed:
                raise FunctionFailed("the mount side was ended")
            if self._child is None or self._child.is_dead:
                self._child = _Child(self._environment)
            return self._child


class _Child:
    """One process, from its start to its end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it. Raises FunctionFailed."""
        read_end, write_end = os.pipe()
        self._answers = os.fdopen(read_end, "rb")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.mount_side", str(write_end)],
                cwd=_PROJECT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                pass_fds=[write_end],
            )
        except OSError as error:
            self._answers.close()
            raise FunctionFailed(f"no process: {error.strerror}") from error
        finally:
            os.close(write_end)
        self.pid = self._process.pid
        self.is_dead = False
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[Frame | None]] = {}
        self._waiting_lock = threading.Lock()
        # Not the same: a large question waits until it is read, and answers have to be read meanwhile.
        self._write_lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, kind: Kind, content: bytes, seconds: float) -> bytes:
        """Return the answer. Raises FunctionFailed; where it did not come in time, the process is ended first."""
        if len(content) > MAX_FRAME_BYTES:
            raise FunctionFailed(f"a call of {len(content)} bytes")
        waiting: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        number = next(self._numbers)
        with self._waiting_lock:
            if self.is_dead:
                raise FunctionFailed("the process of the mount side died")
            self._waiting[number] = waiting
        self._write(Frame(kind, number, content))
        try:
            answer = waiting.get(timeout=seconds)
        except queue.Empty:
            self.is_dead = True  # before its end is seen, so that the next call goes to another one already
            self._process.kill()
            raise FunctionFailed(f"no answer after {seconds:.0f} s", "Sandbox.Timedout") from None
        if answer is None:
            raise FunctionFailed("the process of the mount side died")
        if answer.kind is not Kind.ANSWER:
            raise FunctionFailed("the mount side failed", answer.content.decode("ascii", "replace"))
        return answer.content

    def _write(self, frame: Frame) -> None:
        assert self._process.stdin is not None
        # Where the process died, and its pipe is closed perhaps, the reader tells whoever waits.
        with self._write_lock, suppress(OSError, ValueError):
            write_frame(self._process.stdin, frame)

    def _read(self) -> None:
        with self._answers:
            while (frame := read_frame(self._answers)) is not None:
                with self._waiting_lock:
                    waiting = self._waiting.pop(frame.number, None)
                if waiting is not None:
                    waiting.put(frame)
        with self._waiting_lock:
            self.is_dead = True
            left = list(self._waiting.values())
        for each in left:
            each.put(None)
        self._process.kill()  # it said something that is no frame, or is about to end
        self._process.wait()
        self._close()

    def _close(self) -> None:
        assert self._process.stdin is not None
        with self._write_lock, suppress(OSError):
            self._process.stdin.close()

    def end(self) -> None:
        """Let it end by itself, which it does when nobody can ask it any more; kill it after END_SECONDS."""
        self._close()
        self._reader.join(END_SECONDS)
        self._process.kill()
        self._reader.join()


@contextmanager
def isolated() -> Iterator[MountProcess]:
    """Run the mount side beside this process until the block ends; meanwhile the environment leads publishing to it.

    The variables are set in this process: whoever is called within the block, and its children, publishes there.
    Raises OSError where no port is free.
    """
    with MountProcess(mount_environment(os.environ)) as process:
        server = lambda_server(process.invoke)
        server.start()
        os.environ["AWS_ENDPOINT_URL_LAMBDA"] = server.url
        os.environ[ENVIRONMENT_PREFIX + "PUBLISHER"] = PUBLISHER_NAME
        try:
            yield process
        finally:
            server.stop(END_SECONDS)
            del os.environ["AWS_ENDPOINT_URL_LAMBDA"], os.environ[ENVIRONMENT_PREFIX + "PUBLISHER"]
