"""A remote for the tests: bare repositories below a directory, served by the real `git http-backend`.

Everything can be switched while requests are under way, from any thread. Faults are ordered ("the next two
requests"), taken in the order of their ordering, and can be bound to one kind of request.
"""

import base64
import contextlib
import os
import shutil
import socket
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from testing.origin_http import OriginServer
from testing.origin_records import Answer, Fault, RequestRecord
from testing.repositories import require_git

WAIT_SECONDS = 10.0
"""How long a test waits for something that should be there in milliseconds."""


class GitOrigin:
    """A loopback server for the repositories `<root>/<owner>/<name>.git`; a context manager.

    `speaks_v2` False makes it an old server, that knows no Git-Protocol header.
    """

    def __init__(self, root: Path, *, is_remembering: bool = False, tls: ssl.SSLContext | None = None) -> None:
        """Serve what is (or will be) below `root`; nothing listens before `start`.

        `is_remembering`: put the same question about the same refs and objects to git once in this process. `tls`: what
        to speak it with.
        """
        self.root = root
        self._tls = tls
        self.is_remembering = is_remembering
        self.speaks_v2 = True
        self.latency_seconds = 0.0
        self.stopping = threading.Event()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the origin
        self._changed = threading.Condition()
        self._records: list[RequestRecord] = []
        self._faults: list[Fault] = []
        self._tokens: dict[str | None, str] = {}
        self._paused: set[str] = set()
        self._held: list[RequestRecord] = []
        self._frozen: dict[str, _Frozen] = {}
        self._connections: set[socket.socket] = set()
        self._connection_count = 0
        self._server: OriginServer | None = None
        self._copies = Path(tempfile.mkdtemp(prefix="origin-frozen-"))

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> "GitOrigin":
        """Listen on a free loopback port; skip the test where there is no git."""
        require_git()
        self._server = OriginServer(self)
        if self._tls is not None:
            # The handshake is done by the connection's own thread, at its first read.
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, name="origin", daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Stop listening, let go of held and stalled requests, close every connection."""
        self.stopping.set()
        self.resume()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self._changed:
            open_connections = list(self._connections)
        for connection in open_connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        shutil.rmtree(self._copies, ignore_errors=True)

    def __enter__(self) -> "GitOrigin":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """`http://127.0.0.1:<port>`, with TLS `https`, without a slash at its end."""
        assert self._server, "the origin is not started"
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._server.server_port}"

    def url(self, repository: str) -> str:
        """Return the address of `<owner>/<name>`, whether or not it is there."""
        return f"{self.address}/{repository}.git"

    # -- what was asked ----------------------------------------------------------------------------------

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request so far, in the order of arrival, those under way among them."""
        with self._changed:
            return list(self._records)

    @property
    def counts(self) -> Counter[str]:
        """How many requests of each kind there were; a kind that was not asked counts 0."""
        return Counter(record.kind for record in self.requests)

    @property
    def connection_count(self) -> int:
        """How many TCP connections were accepted."""
        with self._changed:
            return self._connection_count

    def of_kind(self, kind: str) -> list[RequestRecord]:
        """Return the requests of one kind."""
        return [record for record in self.requests if record.kind == kind]

    def forget(self) -> None:
        """Forget the records (not the connections' numbers)."""
        with self._changed:
            self._records.clear()

    def wait_until(self, condition: Callable[["GitOrigin"], bool], timeout_seconds: float = WAIT_SECONDS) -> None:
        """Wait until `condition` holds; looked at whenever a request arrives or ends. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while not condition(self):
            with self._changed:
                self._changed.wait(0.02)
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so within {timeout_seconds} s; asked so far: {dict(self.counts)}")

    def log_text(self) -> str:
        """Return what git wrote to standard error."""
        return os.pread(self.log.fileno(), 1 << 20, 0).decode("utf-8", "replace")

    # -- what is to go wrong -----------------------------------------------------------------------------

    def require_token(self, token: str | None, repository: str | None = None) -> None:
        """Answer 401 to all but Basic `x-access-token:<token>`, for one repository or all; None opens."""
        with self._changed:
            if token is None:
                self._tokens.pop(repository, None)
            else:
                credentials = base64.b64encode(f"x-access-token:{token}".encode()).decode()
                self._tokens[repository] = f"Basic {credentials}"

    def fail_next(
        self,
        n: int = 1,
        status: int = 503,
        *,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the next `n` requests with `status` and a short text."""
        body = f"failed with {status}\n".encode()
        self.answer_next(n, status=status, kind=kind, headers=headers, body=body)

    def answer_next(
        self,
        n: int = 1,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        kind: str | None = None,
    ) -> None:
        """Answer the next `n` requests with this, whatever they ask (a redirect, a login page, rubbish)."""
        answer = Answer(status, {"Content-Type": "text/plain"} | dict(headers or {}), body)
        self._order(Fault(n, kind, answer=answer))

    def drop_next(self, n: int = 1, *, after: float = 0.5, kind: str | None = None) -> None:
        """Break the next `n` answers off after that part of the body; 0.0: before the status line."""
        self._order(Fault(n, kind, drop_after=after))

    def hang_next(self, n: int = 1, *, after: float = 0.5, kind: str | None = None) -> None:
        """Send that part of the next `n` answers, and then nothing, until the client goes."""
        self._order(Fault(n, kind, drop_after=after, hangs=True))

    def stall_next(self, seconds: float, n: int = 1, *, kind: str | None = None) -> None:
        """Answer the next `n` requests only after `seconds`."""
        self._order(Fault(n, kind, stall_seconds=seconds))

    def rewrite_next(self, rewrite: Callable[[bytes], bytes], n: int = 1, *, kind: str | None = None) -> None:
        """Pass the bodies of git's next `n` answers through `rewrite` (a damaged pack)."""
        self._order(Fault(n, kind, rewrite=rewrite))

    def no_v2(self, is_old: bool = True) -> None:
        """Be an old server that knows no protocol v2 (or be a new one again)."""
        self.speaks_v2 = not is_old

    def clear_faults(self) -> None:
        """Take back every fault that was ordered and did not happen yet."""
        with self._changed:
            self._faults.clear()

    def _order(self, fault: Fault) -> None:
        with self._changed:
            self._faults.append(fault)

    # -- holding a run inside a request ------------------------------------------------------------------

    def pause(self, kind: str = "fetch") -> None:
        """Hold requests of `kind` from now on, before git sees them, until `resume`."""
        with self._changed:
            self._paused.add(kind)

    def resume(self, kind: str | None = None) -> None:
        """Let requests of `kind` (None: of every kind) pass again."""
        with self._changed:
            self._paused -= {kind} if kind else set(self._paused)
            self._changed.notify_all()

    @contextlib.contextmanager
    def paused(self, kind: str = "fetch") -> Iterator[None]:
        """Hold requests of `kind` while the block runs."""
        self.pause(kind)
        try:
            yield
        finally:
            self.resume(kind)

    def wait_for_held(self, n: int = 1, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Wait until at least `n` requests are held. Raises TimeoutError."""
        self.wait_until(lambda origin: len(origin._held) >= n, timeout_seconds)

    # -- replicas that lag -------------------------------------------------------------------------------

    def freeze_refs(self, repository: str, answers: int | None = None) -> None:
        """Keep answering refs as they are now; fetches by id see every new object (GitHub's replica lag).

        `answers`: thaw by itself after that many answers about refs.
        """
        self._freeze(repository, answers, with_objects=False)

    def freeze_everything(self, repository: str, answers: int | None = None) -> None:
        """Keep serving the repository as it is now: neither new refs nor new objects are there.

        `answers`: thaw by itself after that many answers, of whatever kind.
        """
        self._freeze(repository, answers, with_objects=True)

    def thaw(self, repository: str) -> None:
        """Serve the repository as it is."""
        with self._changed:
            self._frozen.pop(repository, None)

    def _freeze(self, repository: str, answers: int | None, *, with_objects: bool) -> None:
        source = self.root / f"{repository}.git"
        root = Path(tempfile.mkdtemp(dir=self._copies))
        copy = root / f"{repository}.git"
        # Refs frozen alone: a copy of all but the objects, which it borrows. Real git answers either way.
        shutil.copytree(source, copy, ignore=None if with_objects else shutil.ignore_patterns("objects"))
        if not with_objects:
            (copy / "objects" / "info").mkdir(parents=True)
            (copy / "objects" / "info" / "alternates").write_text(os.fspath(source / "objects") + "\n")
        with self._changed:
            self._frozen[repository] = _Frozen(root, with_objects, answers)

    # -- for the connections' threads --------------------------------------------------------------------

    def connection_opened(self, connection: socket.socket) -> int:
        """Note a new connection; return its number."""
        with self._changed:
            self._connections.add(connection)
            self._connection_count += 1
            return self._connection_count

    def connection_closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._changed:
            self._connections.discard(connection)

    def request_started(self, record: RequestRecord) -> Fault | None:
        """Note a request, wait where its kind is held, and return the fault that it is to meet."""
        with self._changed:
            record.number = len(self._records) + 1
            self._records.append(record)
            fault = next((item for item in self._faults if item.kind in (None, record.kind)), None)
            if fault:
                fault.remaining -= 1
                if fault.remaining <= 0:
                    self._faults.remove(fault)
            self._changed.notify_all()
            if record.kind in self._paused:
                self._held.append(record)
                self._changed.wait_for(lambda: record.kind not in self._paused)
                self._held.remove(record)
        if self.latency_seconds:
            self.stopping.wait(self.latency_seconds)
        return fault

    def request_finished(self, record: RequestRecord) -> None:
        """Wake those who wait for a request to end."""
        with self._changed:
            self._changed.notify_all()

    def refusal(self, record: RequestRecord) -> Answer | None:
        """Return the 401 or 404 that git would not give by itself; None where git is to answer."""
        text = {"Content-Type": "text/plain"}
        with self._changed:
            token = self._tokens.get(record.repository, self._tokens.get(None))
        if token and record.authorization != token:
            text["WWW-Authenticate"] = 'Basic realm="GitHub"'
            return Answer(401, text, b"Repository not found.\n")
        if not record.repository or not (self.root / f"{record.repository}.git").is_dir():
            return Answer(404, text, b"Repository not found.\n")
        return None

    def directory_for(self, record: RequestRecord) -> Path:
        """Return the root that git is to serve this request from: the live one, or a frozen copy's."""
        with self._changed:
            frozen = self._frozen.get(record.repository or "")
            if not frozen or not (frozen.with_objects or record.kind in ("advertisement", "ls-refs")):
                return self.root
            # The v2 advertisement tells no ref: it does not use up an answer.
            if frozen.answers is not None and (frozen.with_objects or _tells_refs(record, self.speaks_v2)):
                frozen.answers -= 1
                if frozen.answers <= 0:
                    del self._frozen[record.repository or ""]
            return frozen.root


class _Frozen:
    """A repository as it was: its copy's root, and after how many answers it thaws."""

    def __init__(self, root: Path, with_objects: bool, answers: int | None) -> None:
        self.root = root
        self.with_objects = with_objects
        self.answers = answers


def _tells_refs(record: RequestRecord, speaks_v2: bool) -> bool:
    is_v2 = speaks_v2 and "version=2" in (record.protocol or "")
    return record.kind == "ls-refs" or (record.kind == "advertisement" and not is_v2)
