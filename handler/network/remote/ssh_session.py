"""One SSH connection on which one `git-upload-pack` runs, by paramiko.

The server proves itself before we do: a host key that is not known ends the connection before the key is used. Our key
signs; neither it nor anything of it is sent. Imported, as paramiko is, when a repository has a url for SSH.
"""

import io
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import paramiko

from handler.config.credential import DeployKey
from handler.config.known_hosts import keys_of
from handler.config.ssh_url import PORT, SshUrl
from handler.errors import (
    Git2EfsError,
    RemoteRefused,
    RemoteUnavailable,
    RemoteUnsupported,
    RemoteUntrusted,
    SecretUnusable,
)
from handler.settings import Settings

_EXIT_SECONDS = 2.0
_MAX_EXIT_STATUS = 254
"""What ssh's own failures have is 255."""
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
"""RFC 8332: with SHA-1, which `ssh-rsa` alone would mean, nobody signs any more."""

_TO_DO = (
    "ask whoever runs it for the lines of its `ssh-keyscan`, compare the fingerprints, and put them into the "
    "credential's known_hosts"
)
_MAX_PACKET_BYTES = 256 * 1024
"""OpenSSH takes no longer one; git's own, of 64 KB, are in packets of at most 32 KB."""
_MAX_GREETING_BYTES = 64 * 1024
_MAX_WAITING_BYTES = 8 * 1024 * 1024
"""What a server may send before it is read: paramiko lets it send 2 MB, and does not hold it to that."""


class _BoundedPacketizer(paramiko.packet.Packetizer):  # type: ignore[misc]
    """Bounds the memory that a server can have us take: paramiko itself reads as much as the server says it sends."""

    channel: paramiko.Channel | None = None
    _greeting_bytes = 0

    def _read_timeout(self, timeout: float) -> bytes:
        content = bytes(super()._read_timeout(timeout))
        self._greeting_bytes += len(content)
        if self._greeting_bytes > _MAX_GREETING_BYTES:
            raise paramiko.SSHException("the greeting is too long")
        return content

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > _MAX_PACKET_BYTES:
            raise paramiko.SSHException("a packet is too long")
        return bytes(super().read_all(n, check_rekey))

    def read_message(self) -> tuple[int, paramiko.Message]:
        channel = self.channel
        if channel and len(channel.in_buffer) + len(channel.in_stderr_buffer) > _MAX_WAITING_BYTES:
            raise paramiko.SSHException("more was sent than was asked for")
        kind, message = super().read_message()
        return kind, message


class KeyRefused(RemoteRefused):
    """The server does not take the key."""


class SshSession:
    """What was said and is said on one connection's channel."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def read(self, count: int) -> bytes:
        """Return at most `count` bytes, none at the end. Raises RemoteUnavailable."""
        try:
            return bytes(self._channel.recv(count)) if count else b""
        except Exception as error:
            raise _broken(error) from None

    def send(self, content: bytes) -> None:
        """Send bytes. Raises RemoteUnavailable."""
        try:
            self._channel.sendall(content)
        except Exception as error:
            raise _broken(error) from None

    def refusal(self) -> Git2EfsError:
        """Return the failure of a command that ended without a word of git's protocol. Its own words are not told."""
        if self._channel.status_event.wait(_EXIT_SECONDS) and 0 < self._channel.exit_status <= _MAX_EXIT_STATUS:
            return RemoteRefused(
                f"git-upload-pack ended there with {self._channel.exit_status} and without an answer: no such "
                "repository, or the key does not open it"
            )
        return RemoteUnavailable("the remote's connection ended without an answer")


@contextmanager
def opened(
    url: SshUrl, key: DeployKey, settings: Settings, watch: Callable[[socket.socket], None]
) -> Iterator[SshSession]:
    """Run `git-upload-pack` there for the block, in version 2 where the server takes the variable that asks for it.

    `watch` is called with the socket. Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported, RemoteUntrusted,
    SecretUnusable.
    """
    known = keys_of(url.host, url.port, key.known_hosts)
    if not known:
        raise RemoteUntrusted(f"no host key of {_name_of(url)} is known: {_TO_DO}")
    private_key = _read_key(key.private_key)
    # Its lines hold what the server says, and its thread's tracebacks; what of them matters is in our outcome.
    logging.getLogger("paramiko.transport").disabled = True
    try:
        connected = socket.create_connection((url.host, url.port), timeout=settings.connect_timeout_seconds)
    except (OSError, UnicodeError) as error:
        raise RemoteUnavailable(f"the remote cannot be reached ({type(error).__name__})") from None
    with connected:
        watch(connected)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(connected, packetizer_class=_BoundedPacketizer)
        try:
            yield _start(transport, url, known, private_key, settings)
        finally:
            # Its thread reads in steps of a tenth of a second, and `close` waits for it; so it sees the end at once.
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
            transport.close()


def _start(
    transport: paramiko.Transport,
    url: SshUrl,
    known: dict[str, frozenset[bytes]],
    private_key: paramiko.PKey,
    settings: Settings,
) -> SshSession:
    seconds = settings.read_timeout_seconds
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = seconds
    # Only keys that could be found equal: a server that has others too would show one that is not known.
    transport.get_security_options().key_types = tuple(
        each for kind in known for each in (_RSA if kind == "ssh-rsa" else (kind,))
    )
    try:
        transport.start_client(timeout=seconds)
        shown = transport.get_remote_server_key()
        if shown.asbytes() not in known.get(shown.get_name(), ()):
            raise _changed(url)
        transport.auth_publickey(url.user, private_key)
        channel = transport.open_session(timeout=seconds)
        transport.packetizer.channel = channel
        channel.settimeout(seconds)
        channel.set_environment_variable("GIT_PROTOCOL", "version=2")
        channel.exec_command(url.command)
        return SshSession(channel)
    except paramiko.AuthenticationException:
        raise KeyRefused(
            f"{_name_of(url)} does not take the key for {url.user}: is its public half the repository's deploy key?"
        ) from None
    except paramiko.IncompatiblePeer as error:
        raise (
            _changed(url) if "host key" in str(error) else RemoteUnsupported("the remote and we have no way to encrypt")
        ) from None
    except Git2EfsError:
        raise
    except Exception as error:
        raise _broken(error) from None


def _read_key(text: str) -> paramiko.PKey:
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException:
            raise SecretUnusable("the ssh_key has a passphrase: make one without") from None
        # A key of another type fails in many ways, by its length, by an assertion, by an index.
        except Exception:  # noqa: S112
            continue
    raise SecretUnusable("the ssh_key is no private key of the types ed25519, ecdsa and rsa")


def _changed(url: SshUrl) -> RemoteUntrusted:
    return RemoteUntrusted(
        f"{_name_of(url)} does not have the host key that is known; ours was not used. If it was changed, {_TO_DO}"
    )


def _name_of(url: SshUrl) -> str:
    return url.host if url.port == PORT else f"[{url.host}]:{url.port}"


def _broken(error: Exception) -> RemoteUnavailable:
    """Return the failure for what paramiko raised: its thread hands on whatever a server's bytes made it raise."""
    # Only the exception's type: its text may hold what the server wrote.
    return RemoteUnavailable(f"the remote's SSH connection broke off ({type(error).__name__})")
