"""What tests must not touch raises: any host but this machine, the user's configuration, real AWS.

The exception is a BaseException, so that no `except Exception` of the code under test makes an outcome of it.
"""

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any


class NetworkForbidden(BaseException):
    """A test tried to reach a host that is not this machine."""


_LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")
_KEPT_PREFIXES = ("GIT2EFS_TEST_", "PYTEST", "PYTHON", "COVERAGE", "COV_", "HYPOTHESIS")
_KEPT = frozenset({"PATH", "TMPDIR", "CI", "VIRTUAL_ENV", "TERM", "LD_LIBRARY_PATH", "SYSTEMROOT"})


def forbid_network() -> Callable[[], None]:
    """Let sockets of this process reach loopback and Unix addresses alone; return what undoes it."""
    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    lookups = {name: getattr(socket, name) for name in _LOOKUPS}

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _check(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _check(self.family, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, *arguments: Any) -> int:
        _check(self.family, arguments[-1])
        return sendto(self, *arguments)

    def guarded_lookup(lookup: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
            _check(socket.AF_INET, host)
            return lookup(host, *arguments, **options)

        return guarded

    replacements = {"connect": guarded_connect, "connect_ex": guarded_connect_ex, "sendto": guarded_sendto}
    for name, function in replacements.items():
        setattr(socket.socket, name, function)
    for name, lookup in lookups.items():
        setattr(socket, name, guarded_lookup(lookup))

    def undo() -> None:
        for name, function in (("connect", connect), ("connect_ex", connect_ex), ("sendto", sendto)):
            setattr(socket.socket, name, function)
        for name, lookup in lookups.items():
            setattr(socket, name, lookup)

    return undo


def isolated_environment(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without anything of the user's: home, credentials, proxies, git configuration.

    AWS leads to a loopback port where nothing listens, for clients that were led nowhere else.
    """
    kept = {name: value for name, value in environment.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    # Children are started by the hundred; without bytecode each of them compiles everything anew.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {
        "HOME": os.fspath(home),
        "XDG_CONFIG_HOME": os.fspath(home / ".config"),
        "XDG_CACHE_HOME": os.fspath(home / ".cache"),
        "XDG_DATA_HOME": os.fspath(home / ".local" / "share"),
        "XDG_STATE_HOME": os.fspath(home / ".local" / "state"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "NO_PROXY": "*",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    }


def replace_environment(target: MutableMapping[str, str], values: Mapping[str, str]) -> None:
    """Make `target` hold `values` and nothing else, without a moment in which it is empty."""
    target.update(values)
    for name in set(target) - set(values):
        del target[name]


def _check(family: int, address: Any) -> None:
    """Raise NetworkForbidden unless `address` is on this machine."""
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0] if isinstance(address, tuple) else address
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if text in (None, "", "localhost"):
        return
    try:
        is_loopback = ipaddress.ip_address(text).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise NetworkForbidden(f"a test tried to reach {text}")
