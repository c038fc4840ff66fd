"""The mount side as a process of its own, without a network: `python -m local.isolated <fd> <module>`.

The process leaves for a network namespace of its own where the system lets it, and forbids itself sockets in any case.
Only then it imports the module. It reads invocations from standard input, and answers on the file descriptor `fd`; both
were opened before. Standard output stays the function's own. It ends when standard input does: whoever started it needs
no other way, and none is left behind by a server that was killed.

Each message is a line with its fields as JSON, and then `bytes` bytes.
"""

import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import IO, Any

from local.gateway import LambdaContext

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_ELSEWHERE = ("192.0.2.1", 443)
"""An address of TEST-NET-1, which is nobody's; connecting a datagram socket sends nothing."""


class NetworkForbidden(BaseException):
    """The mount side tried to use a socket. No `except Exception` of its code makes an outcome of it."""


def send(stream: IO[bytes], fields: dict[str, Any], content: bytes = b"") -> None:
    """Write one message. Raises OSError when the other end is gone."""
    stream.write(json.dumps(fields | {"bytes": len(content)}).encode() + b"\n" + content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Return the next message, or None at the end: also where the other end died within a message."""
    head = stream.readline()
    if not head.endswith(b"\n"):
        return None
    fields: dict[str, Any] = json.loads(head)
    content = stream.read(fields["bytes"])
    return (fields, content) if len(content) == fields["bytes"] else None


def leave_network() -> bool:
    """Move this process into a network namespace of its own; return whether the system let it."""
    if not sys.platform.startswith("linux"):
        return False
    # Tried in a child first: a user namespace whose ids cannot be mapped would make this process nobody.
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
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0:  # as root: files of other users stay what they are
        return
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    for name, text in maps.items():
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def forbid_sockets() -> None:
    """Let every use of a socket raise NetworkForbidden from now on; nothing in this process can undo it."""

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith("socket."):
            raise NetworkForbidden(f"the mount side must not use the network: {event}")

    sys.addaudithook(refuse)


def try_connection() -> str:
    """Return what the system answers to a connection out of this machine."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
            tried.connect(_ELSEWHERE)
    except OSError as error:
        return error.strerror or type(error).__name__
    return "possible"


def main() -> int:
    """Answer invocations until standard input ends; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, which ends this process
    requests = os.fdopen(os.dup(0), "rb")
    has_namespace = leave_network()
    answered = try_connection()
    forbid_sockets()
    handler = importlib.import_module(sys.argv[2]).handler
    with os.fdopen(int(sys.argv[1]), "wb") as answers:
        send(answers, {"has_namespace": has_namespace, "connection": answered})
        while (message := receive(requests)) is not None:
            fields, content = message
            context = LambdaContext(fields["request_id"], deadline=time.monotonic() + fields["seconds"])
            try:
                found = json.dumps(handler(json.loads(content), context)).encode()
                error = ""
            except (Exception, SystemExit) as raised:
                found = json.dumps({"errorMessage": str(raised), "errorType": type(raised).__name__}).encode()
                error = "Unhandled"
            sys.stdout.flush()
            send(answers, {"error": error}, found)
    return 0


if __name__ == "__main__":
    status = main()
    # As Lambda ends a process: what is open is not closed one by one, and nobody is told what that complains of.
    sys.stdout.flush()
    os._exit(status)
