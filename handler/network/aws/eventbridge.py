"""EventBridge: one event an announcement. Whatever the bus does, a publish goes on."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from handler.exchange.events import Emit, Event, detail_of

SOURCE = "git2efs"

CONNECT_TIMEOUT_SECONDS = 1
READ_TIMEOUT_SECONDS = 2
ATTEMPTS = 2
"""An event waits under the repository's lock, and GitHub for the answer behind it."""

SLOW_SECONDS = 0.9
PAUSE_SECONDS = 15.0
"""After a try that failed slowly the bus is left alone for this long: a bus that cannot be reached (a subnet without a
way there, say) must not cost every target of every delivery some seconds under a lock."""


class EventsClient(Protocol):
    """What is used of boto3's EventBridge client; tests bring their own."""

    def put_events(self, *, Entries: list[dict[str, str]]) -> Mapping[str, Any]: ...


def make_emit(bus: str, warn: Callable[[str], None]) -> Emit | None:
    """Return what puts events on the bus of that name; None without a name. `warn` is told what was not taken."""
    return EventBus(bus, warn).emit if bus else None


class EventBus:
    """The bus of that name. Safe for threads."""

    def __init__(
        self,
        name: str,
        warn: Callable[[str], None],
        make_client: Callable[[], EventsClient] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`warn` is told what was not taken. Nothing is imported or connected yet."""
        self._name = name
        self._warn = warn
        self._make_client = make_client or make_events_client
        self._clock = clock
        self._lock = threading.Lock()
        self._client: EventsClient | None = None
        self._paused_until = float("-inf")

    def emit(self, announcement: Event) -> bool:
        """Put the event; whether the bus took it. Never raises, and takes some seconds at the very most."""
        started = self._clock()
        if started < self._paused_until:
            return False
        problem = self._put(announcement)
        if problem is None:
            return True
        if self._clock() - started >= SLOW_SECONDS:
            self._paused_until = self._clock() + PAUSE_SECONDS
        self._warn(f"EventBridge did not take {announcement.kind} of {announcement.path}: {problem}")
        return False

    def _put(self, announcement: Event) -> str | None:
        """Return what was wrong: a code or an exception's kind. The text of either may quote the request."""
        try:
            entry = {
                "Source": SOURCE,
                "DetailType": str(announcement.kind),
                "Detail": detail_of(announcement),
                "EventBusName": self._name,
            }
            answer = self._ready().put_events(Entries=[entry])
            if not answer.get("FailedEntryCount", 0):
                return None
            return _code(answer["Entries"][0].get("ErrorCode"))
        except Exception as error:  # whatever it is, the release is published
            response = getattr(error, "response", None)
            code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
            return _code(code) if code else type(error).__name__

    def _ready(self) -> EventsClient:
        with self._lock:
            self._client = self._client or self._make_client()
            return self._client


def make_events_client() -> EventsClient:
    """Return boto3's client, with short time-outs. Raises what botocore raises without a region."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    return cast(EventsClient, boto3.client("events", config=config))


def _code(code: object) -> str:
    """Return a service's error code, bounded: it comes over the network and goes into a log line."""
    return ascii(str(code)[:60])[1:-1]
