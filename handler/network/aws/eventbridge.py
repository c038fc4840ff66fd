"""EventBridge: one event an announcement. Whatever the bus does, a publish goes on."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from handler.exchange.events import Emit, Event, detail_of
from handler.network.aws.client import AwsError, ClientOptions, LazyClient, call, make_client, shown_code

SOURCE = "git2efs"

OPTIONS = ClientOptions(connect_timeout_seconds=1, read_timeout_seconds=2, attempts=2)
"""Short, because an event is put while the repository's lock is held and GitHub waits for its answer."""

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
        make: Callable[[], EventsClient] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`warn` is told what was not taken. Nothing is imported or connected yet."""
        self._name = name
        self._warn = warn
        self._client = LazyClient(make or make_events_client)
        self._clock = clock
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
            answer = call(self._client.get().put_events, Entries=[entry])
            return shown_code(answer["Entries"][0].get("ErrorCode")) if answer.get("FailedEntryCount", 0) else None
        except AwsError as error:
            return error.code
        except Exception as error:  # whatever it is, the release is published
            return type(error).__name__


def make_events_client() -> EventsClient:
    """Return boto3's client, with short timeouts. Raises AwsError."""
    return cast(EventsClient, make_client("events", OPTIONS))
