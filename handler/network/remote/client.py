"""A repository's remote over smart HTTP: its refs, and one commit's objects. Connections are kept alive.

Requests use protocol version 2; a server that does not speak it is asked in version 0.
"""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import Git2EfsError, RemoteUnavailable, RemoteUnsupported
from handler.exchange.remote import FetchQuery, RemoteRefs, ShallowChanges, Sink
from handler.network.remote import protocol, protocol_v0, refusals
from handler.network.remote.authorization import Authorization
from handler.settings import Settings

T = TypeVar("T")
Parse = Callable[[protocol.Read], T]

_SERVICE = "/git-upload-pack"
_ADVERTISEMENT = "/info/refs?service=git-upload-pack"
_FIRST_PAUSE_SECONDS = 0.2
_MAX_DRAIN_BYTES = 64 * 1024
_DRAIN_SECONDS = 1.0
"""What is read after an answer, to use the connection again, and for how long. What comes after is not waited for."""
_TICK_SECONDS = 0.25
_thread = threading.local()
"""`watch`: called with the socket from which this thread is about to read an answer."""


class _Watched(HTTPConnection):
    """A connection whose socket is watched from the first byte of an answer's head on."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        # Not only once urllib3 returns the response: `100 Continue` and header lines may come for ever too.
        _thread.watch(self.sock)
        return super().getresponse()


class _WatchedTls(_Watched, HTTPSConnection):
    """The same over TLS, whose handshake `connect_timeout_seconds` bounds as a whole."""


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Watched


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class Watchdog:
    """Shuts sockets down at their time: who waits in a read for the next byte looks at no clock.

    A read timeout does not serve: each byte of a drip begins it anew. Safe for threads; its own starts with the first
    socket, and looks every _TICK_SECONDS while there is any.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: dict[int, tuple[socket.socket, float]] = {}  # by the reading thread's ident
        self._is_idle = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, at: float) -> Iterator[None]:
        """Shut down at `at` (time.monotonic) what this thread reads an answer from within the block.

        The reader then sees the end of the answer, and has to look at the clock to know why.
        """
        _thread.watch = partial(self._watch, at)
        try:
            yield
        finally:
            del _thread.watch
            with self._changed:
                self._watched.pop(threading.get_ident(), None)

    def hurry(self, seconds: float) -> None:
        """Within the block, leave about `seconds` from now, or less."""
        with self._changed:
            found = self._watched.get(threading.get_ident())
            if found is not None:
                self._watch(min(found[1], time.monotonic() + seconds), found[0])

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._thread = None
            self._changed.notify()

    def _watch(self, at: float, found: socket.socket) -> None:
        with self._changed:
            self._watched[threading.get_ident()] = found, at
            # After a fork the thread is not there.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            elif self._is_idle:
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while self._thread is threading.current_thread():
                now = time.monotonic()
                # Under the lock: a socket whose request has ended may serve another one.
                for reader, (found, _) in [each for each in self._watched.items() if each[1][1] <= now]:
                    del self._watched[reader]
                    with suppress(OSError):
                        # Not `SSLSocket.shutdown`: it changes what another thread reads from.
                        socket.socket.shutdown(found, socket.SHUT_RDWR)
                self._is_idle = not self._watched
                # Not woken whenever a time changes: that would cost each request a fourth of its own time.
                next_at = min([now + _TICK_SECONDS, *[at for _, at in self._watched.values()]])
                self._changed.wait(None if self._is_idle else next_at - now)


class RemotePool:
    """The connections of one process, shared by all repositories. Safe for threads. Connects at the first request."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self.sleep = sleep
        self.v0_urls: set[str] = set()
        timeout = urllib3.Timeout(connect=settings.connect_timeout_seconds, read=settings.read_timeout_seconds)
        # We retry ourselves: urllib3 only retries until it has the headers, and a pack can break off after them.
        self.pool = urllib3.PoolManager(num_pools=32, maxsize=32, timeout=timeout, retries=False)
        self.pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        self.watchdog = Watchdog()

    def pool_at(self, url: str, ca: str | None, public: urllib3.PoolManager) -> urllib3.PoolManager:
        """Return `public`, or its like for what `url` or `ca` (as in HttpRemote) need. Raises ConfigurationInvalid."""
        if ca is None and not self.settings.https_proxy:
            return public
        # Imported when it is used: most remotes are on the public internet.
        from handler.network.remote.private import private_pool

        return private_pool(url, self.settings, ca, public)

    def at(self, url: str, token: str | Authorization | None, deadline: Deadline = NO_DEADLINE) -> "HttpRemote":
        """Return the remote at `url`, for requests that end by `deadline`; `token` goes into a header alone.

        An `Authorization` says how, and how a token that is refused is read afresh.
        """
        authorization = Authorization(token, None) if isinstance(token, str) else token
        return HttpRemote(self, url, authorization, deadline)

    def close(self) -> None:
        """Close the idle connections, and end the watchdog."""
        self.pool.clear()
        self.watchdog.close()


class HttpRemote:
    """One repository at its URL."""

    def __init__(self, remotes: RemotePool, url: str, authorization: Authorization | None, deadline: Deadline) -> None:
        self._remotes = remotes
        self.ca: str | None = None  # certificates (PEM) of authorities who may sign the remote's, beside public ones
        self._deadline = deadline
        self._url = url.rstrip("/")
        self.date: str | None = None  # the Date header of the last answer, to compare clocks
        self._authorization = authorization

    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """Return what `refs` (full names) and, with `with_head`, HEAD name now; one request.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported, RemoteUntrusted, OutOfTime.
        """
        body = protocol.ls_refs_request(refs, with_head=with_head)
        until = self._until()
        answer = self._in_either_version(
            lambda: self._request(_SERVICE, body, lambda read: protocol.read_refs(protocol.read_packets(read)), until),
            lambda: self._request(_ADVERTISEMENT, None, protocol_v0.read_advertisement, until, version=0),
            until,
        )
        return protocol.without_secrets(answer, self._authorization.secrets if self._authorization else ())

    def fetch(self, query: FetchQuery, sink: Sink) -> ShallowChanges:
        """Fetch what the query asks for; each attempt hands the pack's bytes to a new `sink()`.

        Raises CommitNotFound where the remote does not know `want`, what `refs` raises, and what the sink raises.
        """
        body = protocol.fetch_request(query)
        until = self._until()

        def attempt() -> ShallowChanges:
            parse = partial(protocol.read_fetch, write=sink())
            return self._request(_SERVICE, body, lambda read: parse(protocol.read_packets(read)), until)

        def attempt_old() -> ShallowChanges:
            parse = partial(protocol_v0.read_fetch, write=sink(), is_deepened=query.deepen > 0)
            return self._request(_SERVICE, protocol_v0.fetch_request(query), parse, until)

        return self._in_either_version(attempt, attempt_old, until)

    def _until(self) -> Deadline:
        """Return until when a request that begins now may take, all its tries together."""
        # By the monotonic clock, as the watchdog: a wall clock that is set must not end a request, or let it go on.
        return Deadline(time.monotonic() + self._deadline.bound(self._remotes.settings.request_seconds), time.monotonic)

    def _in_either_version(self, attempt: Callable[[], T], attempt_v0: Callable[[], T], until: Deadline) -> T:
        """Attempt in version 2. If that gets no valid answer and only then advertises version 0, attempt in that."""
        if self._url not in self._remotes.v0_urls:
            try:
                return self._with_retries(attempt, until)
            except (RemoteUnsupported, protocol.RemoteFailed) as error:
                if not self._speaks_v0(until):
                    raise error from None
                self._remotes.v0_urls.add(self._url)
        return self._with_retries(attempt_v0, until)

    def _speaks_v0(self, until: Deadline) -> bool:
        # Asked in version 2: a server that speaks it says so. Otherwise an outage would make it look like an old one.
        try:
            return self._request(_ADVERTISEMENT, None, lambda read: protocol_v0.is_advertisement(read(64)), until)
        except Git2EfsError:
            return False

    def _with_retries(self, attempt: Callable[[], T], until: Deadline) -> T:
        """Retry transient failures, with jitter: the end of an outage wakes many Lambda functions at once."""
        for number in range(1, self._remotes.settings.fetch_attempts + 1):
            pause = random.uniform(0.5, 1) * _FIRST_PAUSE_SECONDS * 2**number  # noqa: S311
            try:
                return attempt()
            except protocol.RequestOverrun:
                raise
            except RemoteUnavailable as error:
                pause += error.after_seconds if isinstance(error, protocol.RetryLater) else 0
                if number == self._remotes.settings.fetch_attempts or until.minus(pause).is_past():
                    raise
                self._remotes.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    def _request(self, path: str, body: bytes | None, parse: Parse[T], until: Deadline, *, version: int = 2) -> T:
        """Make one request; return what `parse` makes of its answer. Raises RequestOverrun or OutOfTime at `until`."""
        self._check_time(until)
        exchange = partial(self._exchange, path, body, parse, until)
        headers = {**protocol.HEADERS, "Git-Protocol": f"version={version}"}
        try:
            if self._authorization is None:
                return exchange(headers)
            return self._authorization.attempt(lambda token: exchange(headers | {"Authorization": token}))
        except (RemoteUnavailable, RemoteUnsupported):
            # What the watchdog did looks like an answer that broke off.
            self._check_time(until)
            raise

    def _check_time(self, until: Deadline) -> None:
        if until.is_past():
            self._deadline.check("the remote had not answered when the run's time was up")
            seconds = self._remotes.settings.request_seconds
            raise protocol.RequestOverrun(f"the remote's answer was not complete after {seconds:g} seconds")

    def _exchange(self, path: str, body: bytes | None, parse: Parse[T], until: Deadline, headers: dict[str, str]) -> T:
        remotes, method = self._remotes, "GET" if body is None else "POST"
        assert until.at is not None
        with remotes.watchdog.watching(until.at):
            try:
                response = remotes.pool_at(self._url, self.ca, remotes.pool).request(
                    method, self._url + path, body=body, headers=headers, preload_content=False, redirect=False
                )
            except urllib3.exceptions.HTTPError as error:
                raise refusals.failure_to_connect(error) from None
            self.date = response.headers.get("Date")
            try:
                protocol.refuse_negative_chunks(response)
                if not protocol.is_gits(response.status, response.headers.get("Content-Type", "")):
                    remotes.watchdog.hurry(_DRAIN_SECONDS)
                    raise refusals.failure_of(response, self._url + path, self._authorization, time.time())
                answer = parse(protocol.exact_reader(response.read, partial(self._check_time, until)))
            except (protocol.RemoteSays, urllib3.exceptions.HTTPError) as error:
                response.close()
                raise refusals.failure_within(error, is_token_sent=self._authorization is not None) from None
            except BaseException:
                response.close()
                raise
            remotes.watchdog.hurry(_DRAIN_SECONDS)
            _give_back(response)
            return answer


def _give_back(response: urllib3.BaseHTTPResponse) -> None:
    """Give the connection back to the pool where the answer ends soon; else close it. The answer itself is whole."""
    with suppress(urllib3.exceptions.HTTPError):
        if len(response.read(_MAX_DRAIN_BYTES)) < _MAX_DRAIN_BYTES:
            response.release_conn()
            return
    response.close()
