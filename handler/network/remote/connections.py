"""Connections to a remote and to its API, and the watchdog that ends what waits on one for too long."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

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


def make_pool(timeout: urllib3.Timeout, *, size: int) -> urllib3.PoolManager:
    """Return a pool for `size` hosts, with as many connections kept to each. It retries nothing, and is watched."""
    pool = urllib3.PoolManager(num_pools=size, maxsize=size, timeout=timeout, retries=False)
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool
