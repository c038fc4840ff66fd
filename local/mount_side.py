"""The mount side as a process of its own, without a network: `python -m local.mount_side FD`.

`local.mount_process` starts it. It leaves for a network namespace of its own where the system lets it, and forbids
itself sockets in any case; only then does it import the code that publishes. It reads frames from standard input, and
answers on the file descriptor FD; standard output stays the log. When standard input ends, with its parent and however
the parent ends, so does this process.
"""

import ctypes
import importlib
import json
import os
import signal
import struct
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import IO, Any, TextIO

TIMEOUT_SECONDS = 900.0
"""The publisher's Timeout in template.yaml."""
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""More than Lambda lets through in either direction."""

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_HEADER = struct.Struct(">BQI")


class NetworkForbidden(BaseException):
    """The mount side used a socket. No `except Exception` of its code can make an outcome of it."""


class Kind(IntEnum):
    """What a frame is: a question of the parent, or what came of one."""

    CALL = 0
    """The content is a message of `handler.exchange.messages`."""
    PROBE = 1
    """The content is a JSON list of host and port, to which to try a connection."""
    ANSWER = 2
    FAILURE = 3
    """The code of the mount side let an exception pass; the content is its name."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What passes through the pipes. An answer has the number of its question."""

    kind: Kind
    number: int
    content: bytes


def read_frame(stream: IO[bytes]) -> Frame | None:
    """Return the next frame; None at the end, also where that comes within a frame, or for what is no frame."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    kind, number, size = _HEADER.unpack(header)
    if kind >= len(Kind) or size > MAX_FRAME_BYTES:
        return None
    content = stream.read(size)
    return Frame(Kind(kind), number, content) if len(content) == size else None


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write a frame of at most MAX_FRAME_BYTES. Raises OSError where nobody reads any more."""
    stream.write(_HEADER.pack(frame.kind, frame.number, len(frame.content)))
    stream.write(frame.content)
    stream.flush()


@dataclass(frozen=True, slots=True)
class Context:
    """What the publisher uses of Lambda's context."""

    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deadline: float = field(default_factory=lambda: time.monotonic() + TIMEOUT_SECONDS)

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until this process is ended; never negative."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


class MountSide:
    """Answers frames, each in a thread of its own. `handler` is `handler.publisher`'s."""

    def __init__(self, handler: Any, answers: IO[bytes], *, has_namespace: bool) -> None:
        self._handler = handler
        self._answers = answers
        self._has_namespace = has_namespace
        self._lock = threading.Lock()

    def run(self, questions: IO[bytes]) -> None:
        """Answer until the questions end. Does not wait for answers that are still due: nobody would read them."""
        while (frame := read_frame(questions)) is not None:
            threading.Thread(target=self._answer, args=(frame,), daemon=True).start()

    def _answer(self, frame: Frame) -> None:
        try:
            content = self._probe(frame.content) if frame.kind is Kind.PROBE else self._call(frame.content)
            answer = Frame(Kind.ANSWER, frame.number, content)
        except BaseException as error:  # whatever it is, the parent waits for an answer
            print(f"git2efs: the mount side failed: {error!r}", file=sys.stderr, flush=True)
            answer = Frame(Kind.FAILURE, frame.number, type(error).__name__.encode())
        with self._lock, suppress(OSError):  # the parent has ended, and the loop is about to
            write_frame(self._answers, answer)

    def _call(self, content: bytes) -> bytes:
        answer = json.dumps(self._handler(json.loads(content), Context())).encode()
        if len(answer) > MAX_FRAME_BYTES:
            raise ValueError(f"an answer of {len(answer)} bytes")
        return answer

    def _probe(self, content: bytes) -> bytes:
        host, port = json.loads(content)
        return json.dumps({"has_namespace": self._has_namespace, "refused": _refusal_of(host, port)}).encode()


def _refusal_of(host: str, port: int) -> str:
    """Return the name of what a connection raises; '' if it is made."""
    import socket

    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except (OSError, NetworkForbidden) as error:
        return type(error).__name__
    return ""


def leave_network() -> bool:
    """Move this process, which has one thread, into an empty network namespace; return whether the system let it."""
    if not sys.platform.startswith("linux"):
        return False
    # Tried in a child first: this process would be nobody in a user namespace whose ids cannot be mapped.
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(OSError):
            _unshare()
            status = 0
        os._exit(status)
    if os.waitpid(child, 0)[1] != 0:
        return False
    _unshare()
    return True


def _unshare() -> None:
    """Raise OSError where it is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:  # root keeps its rights to other users' files, which it has none of below
        return
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    for name, text in maps.items():
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def forbid_sockets() -> None:
    """Make every use of a socket raise NetworkForbidden from now on; Python has no way to undo it."""

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith("socket."):
            raise NetworkForbidden(f"{event}: the mount side has no network")

    sys.addaudithook(refuse)


def prepare_output(stream: TextIO) -> None:
    """Flush each line, even into a pipe: readers wait for lines, not for a full buffer."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def main() -> None:
    """Answer until standard input ends."""
    # Both go to a whole process group, or to all processes of a service. The parent handles them, lets the requests in
    # flight end, which need this process, and ends it last.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    has_namespace = leave_network()
    forbid_sockets()
    prepare_output(sys.stdout)
    handler = importlib.import_module("handler.publisher").handler
    with os.fdopen(int(sys.argv[1]), "wb") as answers:
        MountSide(handler, answers, has_namespace=has_namespace).run(sys.stdin.buffer)
        # At once, as Lambda ends a process: what a run left half done, the next one finds and does.
        os._exit(0)


if __name__ == "__main__":
    main()
