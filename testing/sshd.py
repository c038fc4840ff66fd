"""OpenSSH's real server on loopback, with `git-upload-pack` behind it: one user, who runs the tests.

What it is asked is written down by the command that it is forced to run; the keys are made here, one set a process.
"""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

PROGRAM = shutil.which("sshd") or "/usr/sbin/sshd"
_SEPARATION = Path("/run/sshd")
_FORCED = """#!/bin/sh
printf '%s\\t%s\\n' "$GIT_PROTOCOL" "$SSH_ORIGINAL_COMMAND" >>"{requests}"
{before}
eval "exec $SSH_ORIGINAL_COMMAND"
"""
_CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {root}/host_key
AuthorizedKeysFile {root}/authorized_keys
PidFile none
StrictModes no
UsePAM no
AuthenticationMethods publickey
PermitRootLogin prohibit-password
MaxStartups 100
ForceCommand {root}/forced
{more}
"""


@dataclass(frozen=True)
class KeyPair:
    """A key in OpenSSH's forms: the private one whole, the public one as `<type> <base64>`."""

    private: str = ""
    public: str = ""


@cache
def make_pair(name: str, kind: str = "ed25519") -> KeyPair:
    """Return the key of that name."""
    makers: dict[str, Callable[[], Any]] = {
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
    }
    key = makers[kind]()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return KeyPair(private.decode(), public.decode())


def require_sshd() -> None:
    """Skip the test where there is no server, or no library for a client."""
    if not os.access(PROGRAM, os.X_OK):
        pytest.skip("needs sshd (Debian: openssh-server)")
    pytest.importorskip("paramiko", reason="needs paramiko: `make venv` installs it")


class Sshd:
    """A server; use it as a context manager. `accepts` are lines of authorized_keys."""

    def __init__(self, root: Path, *, host_key: KeyPair, has_version_2: bool = True, before: str = "") -> None:
        """`before` is shell text that runs before the command."""
        self.root = root
        self.host_key = host_key
        self.port = 0
        self._has_version_2 = has_version_2
        self._before = before
        self._process: subprocess.Popen[bytes] | None = None

    def accept(self, *pairs: KeyPair) -> None:
        """Let these keys in, from now on, and no other."""
        (self.root / "authorized_keys").write_text("".join(f"{pair.public}\n" for pair in pairs))

    def url(self, path: Path | str) -> str:
        """Return the url of a repository on this machine."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    @property
    def known_hosts(self) -> str:
        """Its own line."""
        return f"[127.0.0.1]:{self.port} {self.host_key.public}"

    @property
    def requests(self) -> list[tuple[str, str]]:
        """What was asked: the variable GIT_PROTOCOL, and the command."""
        path = self.root / "requests"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.partition("\t")[0], line.partition("\t")[2]) for line in lines]

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self.root / "log").read_text()

    def __enter__(self) -> "Sshd":
        self.root.mkdir(parents=True, exist_ok=True)
        self._write("host_key", self.host_key.private, 0o600)
        forced = _FORCED.format(requests=self.root / "requests", before=self._before)
        self._write("forced", forced, 0o755)
        self.accept()
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        more = "AcceptEnv GIT_PROTOCOL" if self._has_version_2 else ""
        configuration = _CONFIGURATION.format(port=self.port, root=self.root, more=more)
        self._write("sshd_config", configuration, 0o600)
        if os.geteuid() == 0:
            _SEPARATION.mkdir(exist_ok=True)
        with open(self.root / "log", "wb") as log:
            command = [PROGRAM, "-D", "-e", "-f", os.fspath(self.root / "sshd_config")]
            self._process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        self._wait()
        return self

    def _wait(self) -> None:
        assert self._process
        until = time.monotonic() + 10
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise RuntimeError(f"sshd did not start: {self.log}")

    def _write(self, name: str, text: str, mode: int) -> None:
        path = self.root / name
        path.write_text(text)
        path.chmod(mode)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait()
