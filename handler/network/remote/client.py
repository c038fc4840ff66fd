"""A repository's remote over smart HTTP: its refs, and one commit's objects. Connections are kept alive.

Requests use protocol version 2; a server that does not speak it is asked in version 0.

We do not use dulwich's client: it first asks for the advertisement of every ref, has no read timeout, retries GETs by
itself, and closes each response undrained. That costs three requests on three connections instead of one on one. (Its
object layer reads the packs.)
"""

import base64
import random
import re
import time
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, TypeVar

import urllib3

from handler.errors import Git2EfsError, RemoteRefused, RemoteUnavailable, RemoteUnsupported
from handler.exchange.remote import FetchQuery, RemoteRefs, ShallowChanges, Sink
from handler.network.remote import protocol, protocol_v0
from handler.settings import Settings

T = TypeVar("T")
Read = Callable[[int], bytes]

_USER_AGENT = "git/2.40 git2efs"
"""Some servers answer in another way unless the user agent starts with `git/`."""
_ADVERTISEMENT = "/info/refs?service=git-upload-pack"
_TYPES = ("application/x-git-upload-pack-result", "application/x-git-upload-pack-advertisement")
_FIRST_PAUSE_SECONDS = 0.2
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}(?=[\s;])")
_MAX_CHUNK_LINE_BYTES = 8192


class RemoteFailed(RemoteUnavailable):
    """The remote answered 500: a failure that passes, or how some old servers answer a request of version 2."""


class RemotePool:
    """The connections of one process, shared by all repositories. Safe for threads."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        """Make the pool; connect to nothing."""
        self.attempts = settings.fetch_attempts
        self.sleep = sleep
        self.v0_urls: set[str] = set()
        timeout = urllib3.Timeout(connect=settings.connect_timeout_seconds, read=settings.read_timeout_seconds)
        # We retry ourselves: urllib3 only retries until it has the headers, and a pack can break off after them.
        self.pool = urllib3.PoolManager(num_pools=32, maxsize=32, timeout=timeout, retries=False)

    def at(self, url: str, token: str | None) -> "HttpRemote":
        """Return the remote at `url`; `token` only goes into the Authorization header."""
        return HttpRemote(self, url, token)

    def close(self) -> None:
        """Close the idle connections."""
        self.pool.clear()


class HttpRemote:
    """One repository at its URL."""

    def __init__(self, remotes: RemotePool, url: str, token: str | None) -> None:
        """See `RemotePool.at`."""
        self._remotes = remotes
        self._url = url.rstrip("/")
        self.date: str | None = None
        """The Date header of the last answer, to compare clocks."""
        self._headers = {
            "User-Agent": _USER_AGENT,
            "Content-Type": "application/x-git-upload-pack-request",
            "Accept": ", ".join(_TYPES),
        }
        if token is not None:
            basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"

    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """Return what `refs` (full names) and, with `with_head`, HEAD name now; one request.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported.
        """
        body = protocol.ls_refs_request(refs, with_head=with_head)
        return self._in_either_version(
            lambda: self._post(body, lambda read: protocol.read_refs(protocol.read_packets(read))),
            self._advertised_refs,
        )

    def fetch(self, query: FetchQuery, sink: Sink) -> ShallowChanges:
        """Fetch what the query asks for; each attempt hands the pack's bytes to a new `sink()`.

        Raises CommitNotFound where the remote does not know `want`, what `refs` raises, and what the sink raises.
        """
        body = protocol.fetch_request(query)

        def attempt() -> ShallowChanges:
            write = sink()
            return self._post(body, lambda read: protocol.read_fetch(protocol.read_packets(read), write))

        def attempt_old() -> ShallowChanges:
            write = sink()
            body_v0, is_deepened = protocol_v0.fetch_request(query), query.deepen > 0
            return self._post(body_v0, lambda read: protocol_v0.read_fetch(read, write, is_deepened=is_deepened))

        return self._in_either_version(attempt, attempt_old)

    def _in_either_version(self, attempt: Callable[[], T], attempt_v0: Callable[[], T]) -> T:
        """Attempt in version 2. If that gets no valid answer and the remote advertises version 0, attempt in that.

        This costs nothing on a server that speaks version 2: we ask for the advertisement only after a failure.
        """
        if self._url not in self._remotes.v0_urls:
            try:
                return self._with_retries(attempt)
            except (RemoteUnsupported, RemoteFailed) as error:
                if not self._speaks_v0():
                    raise error from None
                self._remotes.v0_urls.add(self._url)
        return self._with_retries(attempt_v0)

    def _speaks_v0(self) -> bool:
        # Asked in version 2: a server that speaks it says so. Otherwise an outage would make it look like an old one.
        try:
            return self._request("GET", _ADVERTISEMENT, None, lambda read: protocol_v0.is_advertisement(read(64)))
        except Git2EfsError:
            return False

    def _advertised_refs(self) -> RemoteRefs:
        return self._request("GET", _ADVERTISEMENT, None, protocol_v0.read_advertisement, version=0)

    def _with_retries(self, attempt: Callable[[], T]) -> T:
        """Retry transient failures, with jitter: the end of an outage wakes many Lambda functions at once."""
        for number in range(1, self._remotes.attempts + 1):
            try:
                return attempt()
            except RemoteUnavailable:
                if number == self._remotes.attempts:
                    raise
                self._remotes.sleep(random.uniform(0.5, 1) * _FIRST_PAUSE_SECONDS * 2**number)  # noqa: S311
        raise AssertionError("unreachable: the last try returns or raises")

    def _post(self, body: bytes, parse: Callable[[Read], T]) -> T:
        return self._request("POST", "/git-upload-pack", body, parse)

    def _request(
        self, method: str, path: str, body: bytes | None, parse: Callable[[Read], T], *, version: int = 2
    ) -> T:
        headers = self._headers | {"Git-Protocol": f"version={version}"}
        try:
            response = self._remotes.pool.request(
                method, self._url + path, body=body, headers=headers, preload_content=False, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            # Only the exception's type: its text holds the URL's host, and in other versions more than that.
            raise RemoteUnavailable(f"the remote cannot be reached ({type(error).__name__})") from None
        self.date = response.headers.get("Date")
        try:
            _check(response)
            _refuse_negative_chunks(response)
            answer = parse(_exact_reader(response))
            # Drained, so that the connection goes back to the pool; closing it with unread bytes would drop it.
            response.drain_conn()
            response.release_conn()
            return answer
        except urllib3.exceptions.HTTPError as error:
            response.close()
            raise RemoteUnavailable(f"the remote's answer broke off ({type(error).__name__})") from None
        except BaseException:
            response.close()
            raise


def _exact_reader(response: urllib3.BaseHTTPResponse) -> Read:
    """Return a function read(n) that returns n bytes, fewer only at the end of the response."""

    def read(count: int) -> bytes:
        content = response.read(count)
        while len(content) < count:
            more = response.read(count - len(content))
            if not more:
                break
            content += more
        return content

    return read


def _refuse_negative_chunks(response: urllib3.BaseHTTPResponse) -> None:
    """Let a chunk's size be hexadecimal digits alone, whatever the remote writes."""
    # http.client takes `-5` for a size, on which the read fails as if by a defect of ours; and on `-1` it reads all
    # that comes into memory. Not a response class of our own: it would be made for every request.
    raw = response._fp  # type: ignore[attr-defined]
    if response.chunked and raw.fp is not None:
        raw._read_next_chunk_size = partial(_read_chunk_size, raw.fp)


def _read_chunk_size(file: BinaryIO) -> int:
    line = file.readline(_MAX_CHUNK_LINE_BYTES)
    size = _CHUNK_SIZE.match(line)
    if size is None:
        raise ValueError("no chunk's size")  # http.client makes this an answer that broke off
    return int(size[0], 16)


def _check(response: urllib3.BaseHTTPResponse) -> None:
    status = response.status
    if status in (401, 403, 404, 410):
        raise RemoteRefused(f"the remote answered {status}: no such repository, or the credentials do not open it")
    if 300 <= status < 400:
        raise RemoteRefused(f"the remote answered {status}: it has moved, and the repository's `url` must follow")
    if status == 500:
        raise RemoteFailed("the remote answered 500")
    if status in (408, 425, 429) or status > 500:
        raise RemoteUnavailable(f"the remote answered {status}")
    if status != 200 or response.headers.get("Content-Type", "").partition(";")[0].strip() not in _TYPES:
        raise RemoteUnsupported(f"the remote answered {status}, and not as a git server does")
