"""A remote that never comes to an end: each of BEHAVIOURS is one way to keep a client busy for ever.

What a behaviour leaves alone is a real origin's answer, passed on.
"""

import itertools
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from threading import Thread
from types import MappingProxyType, TracebackType

from testing.loopback import LoopbackHandler, LoopbackServer
from testing.origin import GitOrigin
from testing.origin_records import request_kind

MOST_SECONDS = 15.0
"""For ever, as tests have it: a client that is still there then has failed."""

_LINE = b"HTTP/1.1 200 OK\r\n"
_TYPE = b"Content-Type: application/x-git-upload-pack-result\r\n"
_HEAD = _LINE + _TYPE + b"Connection: close\r\n\r\n"
_CHUNKED = _LINE + _TYPE + b"Transfer-Encoding: chunked\r\n\r\n"
_ID = b"1" * 40
_DRIP_SECONDS = 0.05


def packet(line: bytes) -> bytes:
    """Return `line` as a pkt-line."""
    return b"%04x%s" % (len(line) + 4, line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What is done to requests of `kind`: `answer(honest body)` yields what goes over the wire, the head included.

    `pause_seconds` lie between two parts. `is_whole`: the honest answer is in it, and what follows is superfluous.
    """

    kind: str
    answer: Callable[[bytes], Iterator[bytes]]
    pause_seconds: float = 0.0
    is_whole: bool = False


def _endless(start: bytes, *parts: bytes) -> Callable[[bytes], Iterator[bytes]]:
    """Send `start` and then the parts over and over."""
    return lambda honest: itertools.chain([start], itertools.cycle(parts))


def _refs() -> Iterator[bytes]:
    for number in itertools.count():
        yield packet(b"%s refs/heads/%d\n" % (_ID, number))


def _shallow() -> Iterator[bytes]:
    for number in itertools.count():
        yield packet(b"shallow %040x\n" % number)


def _many(lines: Callable[[], Iterator[bytes]], start: bytes = b"") -> Callable[[bytes], Iterator[bytes]]:
    """Send lines that are all different, a few hundred at a time."""

    def answer(honest: bytes) -> Iterator[bytes]:
        endless = lines()
        yield _HEAD + start
        while True:
            yield b"".join(itertools.islice(endless, 500))

    return answer


def _dripped(lines: Callable[[], Iterator[bytes]], start: bytes = b"") -> Callable[[bytes], Iterator[bytes]]:
    """Send lines byte by byte."""

    def answer(honest: bytes) -> Iterator[bytes]:
        yield _HEAD + start
        for line in lines():
            yield from (line[at : at + 1] for at in range(len(line)))

    return answer


def _after(tail: bytes) -> Callable[[bytes], Iterator[bytes]]:
    """Send the honest answer in a chunk of its own, and `tail` in chunks for ever."""

    def answer(honest: bytes) -> Iterator[bytes]:
        yield _CHUNKED + b"%x\r\n%b\r\n" % (len(honest), honest)
        yield from itertools.repeat(b"%x\r\n%b\r\n" % (len(tail), tail))

    return answer


def _trailers(honest: bytes) -> Iterator[bytes]:
    yield _CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(honest), honest)
    yield from itertools.repeat(b"X-Trailer: more\r\n")


_SHALLOW_INFO = packet(b"shallow-info\n")
_PACKFILE = packet(b"packfile\n")
_PROGRESS = packet(b"\2Counting objects, and counting them again\r")

BEHAVIOURS: Mapping[str, Behaviour] = MappingProxyType(
    {
        "silence": Behaviour(kind="ls-refs", answer=_endless(b"", b""), pause_seconds=0.5),
        "continue": Behaviour(kind="ls-refs", answer=_endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50)),
        "continue-dripped": Behaviour(
            kind="ls-refs", answer=_endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), pause_seconds=_DRIP_SECONDS
        ),
        "continue-before-a-pack": Behaviour(
            kind="fetch", answer=_endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), pause_seconds=_DRIP_SECONDS
        ),
        "header-dripped": Behaviour(
            kind="ls-refs", answer=_endless(_LINE + b"X-Header: ", b"a"), pause_seconds=_DRIP_SECONDS
        ),
        "chunk-size-dripped": Behaviour(kind="ls-refs", answer=_endless(_CHUNKED, b"0"), pause_seconds=_DRIP_SECONDS),
        "refs-dripped": Behaviour(kind="ls-refs", answer=_dripped(_refs), pause_seconds=_DRIP_SECONDS),
        "refs-unbounded": Behaviour(kind="ls-refs", answer=_many(_refs)),
        "refs-one-after-the-other": Behaviour(
            kind="ls-refs", answer=_endless(_HEAD, packet(_ID + b" refs/heads/x\n")), pause_seconds=_DRIP_SECONDS
        ),
        "shallow-unbounded": Behaviour(kind="fetch", answer=_many(_shallow, _SHALLOW_INFO)),
        "shallow-dripped": Behaviour(
            kind="fetch", answer=_dripped(_shallow, _SHALLOW_INFO), pause_seconds=_DRIP_SECONDS
        ),
        "sections-unbounded": Behaviour(kind="fetch", answer=_endless(_HEAD, (_SHALLOW_INFO + b"0001") * 500)),
        "progress": Behaviour(kind="fetch", answer=_endless(_HEAD + _PACKFILE, _PROGRESS * 500)),
        "progress-dripped": Behaviour(
            kind="fetch", answer=_endless(_HEAD + _PACKFILE, _PROGRESS), pause_seconds=_DRIP_SECONDS
        ),
        "empty-packets": Behaviour(kind="fetch", answer=_endless(_HEAD + _PACKFILE, packet(b"\1") * 5000)),
        "keep-alives": Behaviour(
            kind="fetch", answer=_endless(_HEAD + _PACKFILE, packet(b"\2")), pause_seconds=_DRIP_SECONDS
        ),
        "pack-dripped": Behaviour(
            kind="fetch",
            answer=_endless(_HEAD + _PACKFILE + packet(b"\1PACK\0\0\0\2\0\0\0\1"), packet(b"\1x")),
            pause_seconds=_DRIP_SECONDS,
        ),
        "after-refs": Behaviour(kind="ls-refs", answer=_after(b"x" * 4000), is_whole=True),
        "after-refs-dripped": Behaviour(
            kind="ls-refs", answer=_after(b"x"), pause_seconds=_DRIP_SECONDS, is_whole=True
        ),
        "after-the-pack": Behaviour(kind="fetch", answer=_after(b"x" * 4000), is_whole=True),
        "after-the-pack-dripped": Behaviour(
            kind="fetch", answer=_after(b"x"), pause_seconds=_DRIP_SECONDS, is_whole=True
        ),
        "trailers": Behaviour(kind="fetch", answer=_trailers, pause_seconds=_DRIP_SECONDS, is_whole=True),
    }
)


class HostileRemote:
    """A loopback server that behaves so in front of an origin; a context manager."""

    def __init__(self, origin: GitOrigin, behaviour: Behaviour) -> None:
        """Listen to nothing before the block."""
        self.origin = origin
        self.behaviour = behaviour
        self._server = _Server(self)

    def url(self, repository: str) -> str:
        """Return the address of `<owner>/<name>`."""
        return f"http://127.0.0.1:{self._server.server_port}/{repository}.git"

    def __enter__(self) -> "HostileRemote":
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="hostile", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(LoopbackServer):
    def __init__(self, remote: HostileRemote) -> None:
        self.remote = remote
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(LoopbackHandler):
    server: _Server

    def do_GET(self) -> None:
        """Pass an advertisement on."""
        self._serve(None)

    def do_POST(self) -> None:
        """Pass a request on, or answer it as the behaviour has it."""
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self, body: bytes | None) -> None:
        behaviour = self.server.remote.behaviour
        status, content_type, honest = self._honest(body)
        if body is None or request_kind("POST", "git-upload-pack", "", body) != behaviour.kind:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(honest)))
            self.end_headers()
            self.wfile.write(honest)
            return
        self.close_connection = True
        until = time.monotonic() + MOST_SECONDS
        for part in behaviour.answer(honest):
            if time.monotonic() > until:
                return
            self.wfile.write(part)  # ends with the client
            if behaviour.pause_seconds:
                time.sleep(behaviour.pause_seconds)

    def _honest(self, body: bytes | None) -> tuple[int, str, bytes]:
        names = ("Content-Type", "Accept", "Git-Protocol")
        headers = {name: self.headers[name] for name in names if name in self.headers}
        request = urllib.request.Request(self.server.remote.origin.address + self.path, body, headers)
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
