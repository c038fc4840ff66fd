"""A repository's remote, whatever it is reached by: what it is asked, and how long and how often it is tried."""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from handler.deadline import Deadline
from handler.errors import RemoteUnavailable, RemoteUnsupported
from handler.exchange.remote import FetchQuery, RemoteRefs, ShallowChanges, Sink
from handler.network.remote.protocol import RequestOverrun, RetryLater
from handler.settings import Settings

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.2


class Remote(ABC):
    """One repository at its URL."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None], deadline: Deadline) -> None:
        """No request outlives `deadline`."""
        self.date: str | None = None  # the Date header of the last answer, to compare clocks; of HTTP alone
        self._settings = settings
        self._sleep = sleep
        self._deadline = deadline

    @abstractmethod
    def refs(self, refs: list[str], *, with_head: bool = False) -> RemoteRefs:
        """Return what `refs` (full names) and, with `with_head`, HEAD name now.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported, RemoteUntrusted, OutOfTime.
        """

    @abstractmethod
    def fetch(self, query: FetchQuery, sink: Sink) -> ShallowChanges:
        """Fetch what the query asks for; each attempt hands the pack's bytes to a new `sink()`.

        Raises CommitNotFound where the remote does not know `want`, what `refs` raises, and what the sink raises.
        """

    def _until(self) -> Deadline:
        """Return until when a request that begins now may take, all its tries together."""
        # By the monotonic clock, as the watchdog: a wall clock that is set must not end a request, or let it go on.
        return Deadline(time.monotonic() + self._deadline.bound(self._settings.request_seconds), time.monotonic)

    def _with_retries(self, attempt: Callable[[], T], until: Deadline) -> T:
        """Retry transient failures, with jitter: the end of an outage wakes many Lambda functions at once."""
        for number in range(1, self._settings.fetch_attempts + 1):
            pause = random.uniform(0.5, 1) * _FIRST_PAUSE_SECONDS * 2**number  # noqa: S311
            try:
                return attempt()
            except RequestOverrun:
                raise
            except RemoteUnavailable as error:
                pause += error.after_seconds if isinstance(error, RetryLater) else 0
                if number == self._settings.fetch_attempts or until.minus(pause).is_past():
                    raise
                self._sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    @contextmanager
    def _by(self, until: Deadline) -> Iterator[None]:
        """Let one request be made in the block. Raises RequestOverrun or OutOfTime where `until` is past."""
        self._check_time(until)
        try:
            yield
        except (RemoteUnavailable, RemoteUnsupported):
            # What the watchdog did looks like an answer that broke off.
            self._check_time(until)
            raise

    def _check_time(self, until: Deadline) -> None:
        if until.is_past():
            self._deadline.check("the remote had not answered when the run's time was up")
            seconds = self._settings.request_seconds
            raise RequestOverrun(f"the remote's answer was not complete after {seconds:g} seconds")
