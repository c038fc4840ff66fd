"""A cache of what was read from AWS. Pure: the clock is a parameter.

A value is used while it is fresh, and longer while its source does not answer. A failure that needs a person is cached
too: a flood of requests for a name that does not exist then costs one call, not one each. Requests that miss the same
name at the same time share one read.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from handler.errors import Git2EfsError, ParametersUnavailable

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedMapping(Generic[Key, Value]):
    """A mapping of at most `max_entries`: the entry that was put longest ago makes room. Not safe for threads."""

    def __init__(self, max_entries: int) -> None:
        """`max_entries` is at least 1."""
        self._max_entries = max_entries
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return the key's value, None where there is none. An entry that is only read grows old all the same."""
        return self._entries.get(key)

    def pop(self, key: Key) -> Value | None:
        """Remove the key's entry and return its value, None where there is none."""
        return self._entries.pop(key, None)

    def put(self, key: Key, value: Value) -> Value | None:
        """Set the key's value; return the value that had to make room, for a caller that has to close it."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        return self._entries.popitem(last=False)[1] if len(self._entries) > self._max_entries else None


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """In seconds: how long a value is fresh, a failure is cached, and a value is used while its source is silent."""

    fresh_seconds: float
    failure_seconds: float
    stale_seconds: float
    retry_seconds: float
    """How often a silent source is asked again; each time costs a timeout."""


@dataclass(frozen=True, slots=True)
class _CachedValue(Generic[Value]):
    value: Value
    read_at: float
    fresh_until: float


@dataclass(frozen=True, slots=True)
class _CachedFailure:
    error: Git2EfsError
    read_at: float
    until: float


class _Flight(Generic[Value]):
    """A read in progress, for the threads that wait for it: `values` gets one, or `error` is set, before `is_done`."""

    def __init__(self) -> None:
        self.is_done = threading.Event()
        self.values: list[Value] = []
        self.error: Git2EfsError | None = None


class Cache(Generic[Value]):
    """Values by name. Safe for threads, and bounded: the name that was read longest ago makes room.

    Values and failures are bounded separately, so that unknown names do not evict those in use. The lock is never held
    during a read, so that one slow answer does not stop requests for other names.
    """

    def __init__(self, lifetimes: Lifetimes, *, max_entries: int, clock: Callable[[], float]) -> None:
        self._lifetimes = lifetimes
        self._clock = clock
        self._lock = threading.Lock()
        self._values: BoundedMapping[str, _CachedValue[Value]] = BoundedMapping(max_entries)
        self._failures: BoundedMapping[str, _CachedFailure] = BoundedMapping(max_entries)
        self._flights: dict[str, _Flight[Value]] = {}

    def get(self, name: str, read: Callable[[], Value]) -> Value:
        """Return the value of `name`, from memory while it is fresh, else from `read`.

        Raises what `read` raises, or what it raised within `failure_seconds`; ParametersUnavailable only where no value
        is younger than `stale_seconds`.
        """
        while True:
            now = self._clock()
            with self._lock:
                known, failed = self._values.get(name), self._failures.get(name)
                if known is not None and now < known.fresh_until:
                    return known.value
                if failed is not None and now < failed.until:
                    raise _copy_of(failed.error)
                flight = self._flights.get(name)
                if flight is None:
                    ours = self._flights[name] = _Flight[Value]()
                    break
            flight.is_done.wait()
            if flight.values:
                return flight.values[0]
            if flight.error is not None:
                raise _copy_of(flight.error)
            # Neither: an exception that is no failure of the read (an interrupt, say) ended the other thread's read.
        try:
            ours.values.append(self._read_or_stale(name, read, known, now))
            return ours.values[0]
        except Git2EfsError as error:
            ours.error = _copy_of(error)
            raise
        finally:
            with self._lock:
                del self._flights[name]
            ours.is_done.set()

    def _read_or_stale(
        self, name: str, read: Callable[[], Value], known: _CachedValue[Value] | None, now: float
    ) -> Value:
        try:
            return self.read(name, read)
        except ParametersUnavailable:
            if known is None or now >= known.read_at + self._lifetimes.stale_seconds:
                raise
            with self._lock:
                self._values.put(name, replace(known, fresh_until=now + self._lifetimes.retry_seconds))
            return known.value

    def read(self, name: str, read: Callable[[], Value]) -> Value:
        """Return the value from `read`, whatever is in memory, and cache it. Raises what `read` raises.

        A failure other than ParametersUnavailable drops the cached value: a parameter that was deleted, or that we may
        not read any more, must not be used again in the next outage.
        """
        now = self._clock()
        try:
            value = read()
        except ParametersUnavailable:
            raise
        except Git2EfsError as error:
            with self._lock:
                self._values.pop(name)
                failed = _CachedFailure(_copy_of(error), now, now + self._lifetimes.failure_seconds)
                self._failures.put(name, failed)
            raise
        with self._lock:
            self._failures.pop(name)
            self._values.put(name, _CachedValue(value, now, now + self._lifetimes.fresh_seconds))
        return value

    def put(self, name: str, value: Value, read_at: float) -> None:
        """Cache a value that was read in another way at `read_at`, unless something newer is cached."""
        with self._lock:
            known, failed = self._values.get(name), self._failures.get(name)
            if (known is not None and known.read_at >= read_at) or (failed is not None and failed.read_at >= read_at):
                return
            self._failures.pop(name)
            self._values.put(name, _CachedValue(value, read_at, read_at + self._lifetimes.fresh_seconds))


def _copy_of(error: Git2EfsError) -> Git2EfsError:
    # A copy, because each raise of one exception grows its traceback, which keeps the frames of requests alive.
    return type(error)(*error.args)
