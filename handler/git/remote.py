"""A repository's remote over smart HTTP: its refs, and one commit's objects. Connections are kept alive.

dulwich's own client is not used here: it asks for the advertisement of every ref first, reads no timeout, retries
GETs by itself, and closes each response undrained, which costs three requests on three connections where one of
each does (its object layer is what reads the packs).
"""

import base64
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import urllib3

from handler.errors import RemoteRefused, RemoteUnavailable, RemoteUnsupported
from handler.git import protocol
from handler.git.protocol import RemoteRefs, ShallowChanges
from handler.settings import Settings

T = TypeVar("T")

_USER_AGENT = "git/2.40 git2efs"
"""Some servers choose what they answer by a user agent that starts with `git/`."""
_RESULT_TYPE = "application/x-git-upload-pack-result"
_FIRST_PAUSE_SECONDS = 0.2


class Remotes:
    """The connections of one process, shared by all repositories; safe for threads."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep) -> None:
        """Make the pool; nothing is connected yet."""
        self.attempts = settings.fetch_attempts
        self.sleep = sleep
        timeout = urllib3.Timeout(connect=settings.connect_timeout_seconds, read=settings.read_timeout_seconds)
        # Retries are ours: urllib3's end when the headers are there, and a pack breaks off after them.
        self.pool = urllib3.PoolManager(num_pools=32, maxsize=8, timeout=timeout, retries=False)

    def at(self, url: str, token: str | None) -> "Remote":
        """Return the remote at `url`; `token` goes into the Authorization header alone."""
        return Remote(self, url, token)

    def close(self) -> None:
        """Close the idle connections."""
        self.pool.clear()


class Remote:
    """One repository at its URL."""

    def __init__(self, remotes: Remotes, url: str, token: str | None) -> None:
        """See `Remotes.at`."""
        self._remotes = remotes
        self._url = url.rstrip("/") + "/git-upload-pack"
        self._headers = {
            "User-Agent": _USER_AGENT,
            "Git-Protocol": "version=2",
            "Content-Type": "application/x-git-upload-pack-request",
            "Accept": _RESULT_TYPE,
        }
        if token is not None:
            basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"

    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """Ask what `refs` name now, in one request.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported.
        """
        body = protocol.ls_refs_request(refs, with_head=with_head)
        return self._patiently(lambda: self._post(body, protocol.read_refs))

    def fetch(
        self,
        want: str,
        have: str | None,
        depth: int,
        *,
        is_mirror_shallow: bool,
        sink: Callable[[], Callable[[bytes], object]],
    ) -> ShallowChanges:
        """Fetch what `want` needs beyond `have`; the pack's bytes go to what `sink()` returns, anew a try.

        Raises CommitNotThere where the remote does not know `want`, else what `refs` raises and what the sink raises.
        """
        body = protocol.fetch_request(want, have, depth, is_mirror_shallow=is_mirror_shallow)

        def attempt() -> ShallowChanges:
            write = sink()
            return self._post(body, lambda packets: protocol.read_fetch(packets, write))

        return self._patiently(attempt)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Try again what is transient, with full jitter: many Lambdas are woken by the same outage's end."""
        for number in range(1, self._remotes.attempts + 1):
            try:
                return attempt()
            except RemoteUnavailable:
                if number == self._remotes.attempts:
                    raise
                self._remotes.sleep(random.uniform(0.5, 1) * _FIRST_PAUSE_SECONDS * 2**number)  # noqa: S311
        raise AssertionError("unreachable: the last try returns or raises")

    def _post(self, body: bytes, parse: Callable[[Iterator[bytes]], T]) -> T:
        try:
            response = self._remotes.pool.request(
                "POST", self._url, body=body, headers=self._headers, preload_content=False, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            # Only the exception's kind: its text holds the URL's host, and in other versions more than that.
            raise RemoteUnavailable(f"the remote cannot be reached ({type(error).__name__})") from None
        try:
            _check(response)
            answer = parse(protocol.read_packets(_exactly(response)))
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


def _exactly(response: urllib3.BaseHTTPResponse) -> Callable[[int], bytes]:
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
    if status in (408, 425, 429) or status >= 500:
        raise RemoteUnavailable(f"the remote answered {status}")
    if status != 200 or response.headers.get("Content-Type", "").partition(";")[0].strip() != _RESULT_TYPE:
        raise RemoteUnsupported(f"the remote answered {status}, and not as a git server does")
