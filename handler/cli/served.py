"""`make serve` on this machine, asked by the socket that it has in its mount: `local.operator_socket` answers.

One line of JSON there, one back: {"operate": event}, {"read": name}, {"write": {...}} or {"describe": null}; the answer
is {"result": ...} or {"failure": {"reason", "message"}}. Whoever may open the socket is the service's own user.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from handler.errors import ConfigurationInvalid
from handler.network.operations.stack import StackAddress
from handler.outcome import failure_of

SOCKET = os.path.join(".git2efs", "operate.sock")
"""Below the mount, where readers' own names never are."""
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_WAIT_SECONDS = 900.0


@contextmanager
def socket_address(directory: str) -> Iterator[str]:
    """Yield the path to bind or to connect to for the socket of the mount at `directory`.

    Raises OSError where the socket's own directory cannot be opened.
    """
    parent, name = os.path.split(os.path.join(directory, SOCKET))
    if not sys.platform.startswith("linux"):
        yield os.path.relpath(os.path.join(parent, name))
        return
    # A socket's address holds 108 bytes (unix(7)), and a mount's path may be longer: the open directory names it.
    opened = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}/{name}"
    finally:
        os.close(opened)


class ServedStack:
    """The service whose mount is `directory`. Every method raises ConfigurationInvalid where none runs there."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def address(self) -> StackAddress:
        """Return where it is. It has no webhook that GitHub reaches."""
        return StackAddress(prefix=str(self._ask("describe", None)["prefix"]))

    def operate(self, event: Mapping[str, object]) -> dict[str, object]:
        """Let it carry out an operator's event; return the content."""
        content = self._ask("operate", event)
        if not isinstance(content, dict):
            raise ConfigurationInvalid(f"what answers at {self._directory} is no git2efs")
        return content

    def read(self, name: str) -> str | None:
        """See `ParameterEditor.read`."""
        value = self._ask("read", name)
        return None if value is None else str(value)

    def write(self, name: str, value: str, *, is_secure: bool) -> None:
        """See `ParameterEditor.write`."""
        self._ask("write", {"name": name, "value": value, "is_secure": is_secure})

    def _ask(self, what: str, argument: object) -> Any:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_WAIT_SECONDS)
                with socket_address(self._directory) as address:
                    connection.connect(address)
                connection.sendall(json.dumps({what: argument}).encode() + b"\n")
                with connection.makefile("rb") as stream:
                    answer = json.loads(stream.readline(_MAX_ANSWER_BYTES))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise ConfigurationInvalid(
                f"no service answers at {self._directory} ({why}): start it with `make serve ROOT={self._directory}`"
            ) from None
        if "failure" in answer:
            raise failure_of(str(answer["failure"]["reason"]), str(answer["failure"]["message"]))
        return answer["result"]
