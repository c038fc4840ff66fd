"""The HTTP side of an origin: keep-alive, chunked answers, and `git http-backend` run as a CGI programme."""

import contextlib
import gzip
import io
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from testing.loopback import LoopbackHandler, LoopbackServer
from testing.origin_records import Answer, Fault, RequestRecord, request_kind

if TYPE_CHECKING:
    from testing.origin import GitOrigin

_PIPE_BYTES = 32 * 1024
"""What certainly fits into a pipe that nobody reads yet; a larger request goes through a file."""

_REMEMBERED_BYTES = 256 * 1024
"""No larger answer is remembered."""

_REPOSITORY_PATH = re.compile(r"/((?:[^/]+/)+?[^/]+?)(?:\.git)?/((?:info|git-|objects|HEAD).*)")


_Stream = io.BufferedReader | io.BytesIO


@dataclass(slots=True)
class _Known:
    """What git answered to a question."""

    status: int
    headers: dict[str, str]
    parts: list[bytes] = field(default_factory=list)

    @contextlib.contextmanager
    def replay(self) -> Iterator[tuple[int, dict[str, str], _Stream]]:
        """Answer again, as `cgi_answer` does."""
        yield self.status, dict(self.headers), io.BytesIO(b"".join(self.parts))


_known: dict[Hashable, _Known] = {}


def repository_state(repository: Path) -> Hashable:
    """Return what git's answers hang on: the names of all objects and packs, and what every other file holds."""
    state = []
    for directory, names, files in os.walk(repository):
        names.sort()
        is_objects = "/objects" in directory[len(os.fspath(repository)) :] and not directory.endswith("/info")
        for name in sorted(files):
            path = os.path.join(directory, name)
            state.append((path[len(os.fspath(repository)) :], b"" if is_objects else Path(path).read_bytes()))
    return tuple(state)


class OriginServer(LoopbackServer):
    """The listening socket of a GitOrigin."""

    def __init__(self, origin: "GitOrigin") -> None:
        self.origin = origin
        super().__init__(("127.0.0.1", 0), OriginHandler)


class OriginHandler(LoopbackHandler):
    """One connection."""

    server_version = "GitOrigin"
    wbufsize = 64 * 1024
    server: OriginServer
    connection: socket.socket

    def setup(self) -> None:
        """Number the connection and let the origin know it."""
        super().setup()
        self.connection_number = self.server.origin.connection_opened(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.server.origin.connection_closed(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        """Serve an advertisement, or a file as the dumb protocol asks for it."""
        self._serve(b"")

    def do_POST(self) -> None:
        """Serve an upload-pack request."""
        self._serve(self._read_body())

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts: list[bytes] = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _serve(self, wire_body: bytes) -> None:
        origin = self.server.origin
        record = self._record(wire_body)
        fault = origin.request_started(record)
        try:
            self._answer(record, fault, wire_body)
        except OSError:
            record.is_dropped = True
            self.close_connection = True
        finally:
            record.finished = time.monotonic()
            origin.request_finished(record)

    def _record(self, wire_body: bytes) -> RequestRecord:
        path, _, query = self.path.partition("?")
        path = unquote(path)
        match = _REPOSITORY_PATH.fullmatch(path)
        body = wire_body
        if "gzip" in self.headers.get("Content-Encoding", ""):
            body = gzip.decompress(wire_body)
        return RequestRecord(
            number=0,
            connection=self.connection_number,
            method=self.command,
            path=path,
            query=query,
            kind=request_kind(self.command, match[2] if match else "", query, body),
            protocol=self.headers.get("Git-Protocol"),
            authorization=self.headers.get("Authorization"),
            user_agent=self.headers.get("User-Agent"),
            body=body,
            request_bytes=len(wire_body),
            started=time.monotonic(),
            repository=match[1] if match else None,
        )

    def _answer(self, record: RequestRecord, fault: Fault | None, wire_body: bytes) -> None:
        origin = self.server.origin
        if fault and fault.stall_seconds:
            origin.stopping.wait(fault.stall_seconds)
        answer = fault.answer if fault and fault.answer else origin.refusal(record)
        if answer:
            self._send_whole(record, answer, fault)
            return
        rest = record.path.removeprefix(f"/{record.repository}").removeprefix(".git").lstrip("/")
        root = origin.directory_for(record)
        environment = self._cgi_environment(record, root, f"/{record.repository}.git/{rest}", len(wire_body))
        question = self._question(record, root, rest)
        known = _known.get(question)
        with known.replay() if known else cgi_answer(environment, wire_body, origin.log) as (status, headers, stream):
            if fault and (fault.rewrite or fault.drop_after is not None):
                body = stream.read()
                body = fault.rewrite(body) if fault.rewrite else body
                headers.pop("Content-Length", None)
                self._send_whole(record, Answer(status, headers, body), fault, chunked=True)
            else:
                new = _Known(status, dict(headers))
                if self._send_stream(record, status, headers, stream, new.parts) and question and not known:
                    _known[question] = new

    def _question(self, record: RequestRecord, root: Path, rest: str) -> Hashable:
        """Return what git's answer hangs on; None where it is to be asked each time.

        Tests make the same few commits, and git answers them alike.
        """
        origin = self.server.origin
        if not origin.is_remembering:
            return None
        protocol = record.protocol if origin.speaks_v2 else None
        state = repository_state(root / f"{record.repository}.git")
        return record.method, rest, record.query, protocol, record.body, state

    def _cgi_environment(self, record: RequestRecord, root: Path, path_info: str, length: int) -> dict[str, str]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.fspath(root),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            # As GitHub has it: any object id may be wanted, and filters are understood.
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "uploadpack.allowAnySHA1InWant",
            "GIT_CONFIG_VALUE_0": "true",
            "GIT_CONFIG_KEY_1": "uploadpack.allowFilter",
            "GIT_CONFIG_VALUE_1": "true",
            "GIT_PROJECT_ROOT": os.fspath(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": record.method,
            "PATH_INFO": path_info,
            "QUERY_STRING": record.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": self.client_address[0],
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
        if record.protocol and self.server.origin.speaks_v2:
            environment |= {"HTTP_GIT_PROTOCOL": record.protocol, "GIT_PROTOCOL": record.protocol}
        if record.authorization:
            environment["REMOTE_USER"] = "x-access-token"
        return environment

    def _send_head(self, record: RequestRecord, status: int, headers: Mapping[str, str]) -> None:
        record.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_whole(self, record: RequestRecord, answer: Answer, fault: Fault | None, *, chunked: bool = False) -> None:
        dropped = fault.drop_after if fault else None
        if dropped == 0:
            self._drop(record)
            return
        length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(answer.body))}
        self._send_head(record, answer.status, answer.headers | length)
        sent = answer.body if dropped is None else answer.body[: int(len(answer.body) * dropped)]
        if chunked and answer.body:
            self.wfile.write(b"%x\r\n" % len(answer.body))
        self.wfile.write(sent)
        record.response_bytes += len(sent)
        if dropped is not None:
            self.wfile.flush()
            if fault and fault.hangs:
                self.connection.recv(1)  # nothing comes any more but the client's end, or the origin's
            self._drop(record)
            return
        if chunked:
            self.wfile.write((b"\r\n" if answer.body else b"") + b"0\r\n\r\n")
        self.wfile.flush()

    def _send_stream(
        self, record: RequestRecord, status: int, headers: dict[str, str], stream: _Stream, sent: list[bytes]
    ) -> bool:
        """Send an answer as it comes; return whether it is small, and all of it in `sent`."""
        is_chunked = "Content-Length" not in headers and self.request_version != "HTTP/1.0"
        if is_chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif "Content-Length" not in headers:
            self.close_connection = True
        self._send_head(record, status, headers)
        while part := stream.read1(64 * 1024):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
            record.response_bytes += len(part)
            if record.response_bytes <= _REMEMBERED_BYTES:
                sent.append(part)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
        return record.response_bytes <= _REMEMBERED_BYTES

    def _drop(self, record: RequestRecord) -> None:
        record.is_dropped = True
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cgi_answer(
    environment: Mapping[str, str], body: bytes, log: BinaryIO
) -> Iterator[tuple[int, dict[str, str], _Stream]]:
    """Run `git http-backend`; yield its status, its headers and its body. The process ends with the block."""
    with tempfile.TemporaryFile() as spool:
        is_large = len(body) > _PIPE_BYTES
        if is_large:
            spool.write(body)
            spool.seek(0)
        process = subprocess.Popen(
            ["git", "http-backend"],
            env=dict(environment),
            stdin=spool if is_large else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert isinstance(process.stdout, io.BufferedReader)
        try:
            if process.stdin:
                with contextlib.suppress(BrokenPipeError), process.stdin:
                    process.stdin.write(body)
            status, headers = 200, {}
            while line := process.stdout.readline().strip():
                name, _, value = line.decode("latin-1").partition(":")
                if name == "Status":
                    status = int(value.split()[0])
                else:
                    headers[name] = value.strip()
            yield status, headers, process.stdout
        finally:
            process.stdout.close()
            process.wait()
