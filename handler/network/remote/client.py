"""A repository's remote over smart HTTP: its refs, and one commit's objects. Connections are kept alive.

Requests are of protocol version 2; a server that does not speak it is asked in the old way.

dulwich's own client is not used here: it asks for the advertisement of every ref first, reads no timeout, retries
GETs by itself, and closes each response undrained, which costs three requests on three connections where one of
each does (its object layer is what reads the packs).
"""

import base64
import random
import time
from collections.abc import Callable
from typing import TypeVar

import urllib3

from handler.errors import Git2EfsError, RemoteRefused, RemoteUnavailable, RemoteUnsupported
from handler.exchange.remote import FetchQuery, RemoteRefs, ShallowChanges, Sink
from handler.network.remote import protocol, protocol_v0
from handler.settings import Settings

T = TypeVar("T")
Read = Callable[[int], bytes]

_USER_AGENT = "git/2.40 git2efs"
"""Some servers choose what they answer by a user agent that starts with `git/`."""
_ADVERTISEMENT = "/info/refs?service=git-upload-pack"
_TYPES = ("application/x-git-upload-pack-result", "application/x-git-upload-pack-advertisement")
_FIRST_PAUSE_SECONDS = 0.2


class RemoteFailed(RemoteUnavailable):
    """The remote answered 500: a fault that passes, or what some old servers do with a request of version 2."""


class RemotePool:
    """The connections of one process, shared by all repositories; safe for threads."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        """Make the pool; nothing is connected yet."""
        self.attempts = settings.fetch_attempts
        self.sleep = sleep
        self.old: set[str] = set()
        timeout = urllib3.Timeout(connect=settings.connect_timeout_seconds, read=settings.read_timeout_seconds)
        # Retries are ours: urllib3's end when the headers are there, and a pack breaks off after them.
        self.pool = urllib3.PoolManager(num_pools=32, maxsize=32, timeout=timeout, retries=False)

    def at(self, url: str, token: str | None) -> "HttpRemote":
        """Return the remote at `url`; `token` goes into the Authorization header alone."""
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
        """The Date header of the last answer, for who compares clocks."""
        self._headers = {
            "User-Agent": _USER_AGENT,
            "Content-Type": "application/x-git-upload-pack-request",
            "Accept": ", ".join(_TYPES),
        }
        if token is not None:
            basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"

    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """Ask what `refs` name now, in one request.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported.
        """
        body = protocol.ls_refs_request(refs, with_head=with_head)
        return self._in_either_version(
            lambda: self._post(body, lambda read: protocol.read_refs(protocol.read_packets(read))),
            self._advertised,
        )

    def fetch(self, query: FetchQuery, sink: Sink) -> ShallowChanges:
        """Fetch what the query asks for; the pack's bytes go to what `sink()` returns, anew a try.

        Raises CommitNotFound where the remote does not know it, else what `refs` raises and what the sink raises.
        """
        body, old_body = protocol.fetch_request(query), protocol_v0.fetch_request(query)

        def attempt() -> ShallowChanges:
            write = sink()
            return self._post(body, lambda read: protocol.read_fetch(protocol.read_packets(read), write))

        def attempt_old() -> ShallowChanges:
            write = sink()
            is_deepened = query.deepen > 0
            return self._post(old_body, lambda read: protocol_v0.read_fetch(read, write, is_deepened=is_deepened))

        return self._in_either_version(attempt, attempt_old)

    def _in_either_version(self, ask: Callable[[], T], ask_old: Callable[[], T]) -> T:
        """Ask in version 2, and once that got no sensible answer, in the old one if the remote advertises so.

        Nobody who speaks version 2 pays for this: the advertisement is only asked for after a failure.
        """
        if self._url not in self._remotes.old:
            try:
                return self._with_retries(ask)
            except (RemoteUnsupported, RemoteFailed) as error:
                if not self._is_old():
                    raise error from None
                self._remotes.old.add(self._url)
        return self._with_retries(ask_old)

    def _is_old(self) -> bool:
        # Asked for version 2: whoever speaks it says so, and else it would be taken for old after an outage.
        try:
            return self._request("GET", _ADVERTISEMENT, None, lambda read: protocol_v0.is_advertisement(read(64)))
        except Git2EfsError:
            return False

    def _advertised(self) -> RemoteRefs:
        return self._request("GET", _ADVERTISEMENT, None, protocol_v0.read_advertisement, version=0)

    def _with_retries(self, attempt: Callable[[], T]) -> T:
        """Try again what is transient, with full jitter: many Lambdas are woken by the same outage's end."""
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
            # Only the exception's kind: its text holds the URL's host, and in other versions more than that.
            raise RemoteUnavailable(f"the remote cannot be reached ({type(error).__name__})") from None
        self.date = response.headers.get("Date")
        try:
            _check(response)
            answer = parse(_exactly(response))
            # Drained, the connection goes back to the pool; closed with bytes unread it would be thrown away.
            response.drain_conn()
            response.release_conn()
            return answer
        except urllib3.exceptions.HTTPError as error:
            response.close()
            raise RemoteUnavailable(f"the remote's answer broke off ({type(error).__name__})") from None
        except BaseException:
            response.close()
            raise


def _exactly(response: urllib3.BaseHTTPResponse) -> Read:
    """Return read(n) that gives n bytes, fewer only at the end."""

    def read(count: int) -> bytes:
        content = response.read(count)
        while len(content) < count:
            more = response.read(count - len(content))
            if not more:
                break
            content += more
        return content

    return read


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
