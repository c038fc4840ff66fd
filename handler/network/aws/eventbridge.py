"""EventBridge: put one event for each outcome. Whatever the bus does, a publish goes on."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from handler.exchange.events import PendingEvent, PutEvent
from handler.network.aws.client import AwsError, ClientOptions, LazyClient, call, make_client, shown_code

SOURCE = "git2efs"

OPTIONS = ClientOptions(connect_timeout_seconds=1, read_timeout_seconds=2, attempts=2)
"""Short, because GitHub waits for its answer while an event is put."""

SLOW_SECONDS = 0.9
PAUSE_SECONDS = 15.0
"""After an attempt that failed slowly, put no event for this long: a bus that cannot be reached (from a subnet without
a route to it, for example) must not cost every target of every delivery some seconds."""


class EventsClient(Protocol):
    """The part of boto3's EventBridge client that we use."""

    def put_events(self, *, Entries: list[dict[str, str]]) -> Mapping[str, Any]: ...


def make_put(bus: str, warn: Callable[[str], None]) -> PutEvent | None:
    """Return the function that puts events on the bus of that name; None without a name.

    `warn` is called with a sentence for each event that the bus did not take.
    """
    return EventBus(bus, warn).put if bus else None


class EventBus:
    """An event bus. Safe for threads."""

    def __init__(
        self,
        name: str,
        warn: Callable[[str], None],
        make: Callable[[], EventsClient] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """See `make_put`. The client is made with the first event."""
        self._name = name
        self._warn = warn
        self._client = LazyClient(make or make_events_client)
        self._clock = clock
        self._paused_until = float("-inf")

    def put(self, event: PendingEvent) -> bool:
        """Put the event; return whether the bus took it. Raises no Exception, and takes some seconds at most."""
        started = self._clock()
        if started < self._paused_until:
            return False
        problem = self._put(event)
        if problem is None:
            return True
        if self._clock() - started >= SLOW_SECONDS:
            self._paused_until = self._clock() + PAUSE_SECONDS
        self._warn(f"EventBridge did not take {event.kind} of {event.path}: {problem}")
        return False

    def _put(self, event: PendingEvent) -> str | None:
        """Return what went wrong: an error code or an exception's type. The text of either may quote the request."""
        try:
            entry = {
                "Source": SOURCE,
                "DetailType": str(event.kind),
                "Detail": event.detail,
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
