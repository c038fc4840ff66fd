"""What was read from AWS, remembered for a while. Pure: the clock comes in.

A value is trusted while it is fresh, and beyond that as long as its source does not answer. A failure that
needs a person is remembered too: a flood of requests for a name that is not there then costs one call, not
one each. Requests that miss the same name at the same time share one read.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from handler.errors import Git2EfsError, ParametersUnavailable
from handler.model import BoundedMapping

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """In seconds: how long a value is fresh, a failure is believed, a value outlives its source's silence."""

    fresh_seconds: float
    failure_seconds: float
    stale_seconds: float
    retry_seconds: float
    """While the source is silent, it is asked again this often; waiting for it costs each time."""


@dataclass(frozen=True, slots=True)
class _Known(Generic[Value]):
    value: Value
    read_at: float
    fresh_until: float


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Git2EfsError
    read_at: float
    until: float


class _Flight(Generic[Value]):
    """A read under way, for those who wait for it: `values` gets one, or `error` is set, before `is_done`."""

    def __init__(self) -> None:
        self.is_done = threading.Event()
        self.values: list[Value] = []
        self.error: Git2EfsError | None = None


class Cache(Generic[Value]):
    """Values by name; safe between threads; bounded: the name that was read longest ago makes room.

    Values and failures have each their own room, so that names nobody knows do not drive out those in use.
    The lock guards memory only and is never held while a value is read, so that one slow answer does not stop
    requests for other names.
    """

    def __init__(self, lifetimes: Lifetimes, *, max_entries: int, clock: Callable[[], float]) -> None:
        self._lifetimes = lifetimes
        self._clock = clock
        self._lock = threading.Lock()
        self._known: BoundedMapping[str, _Known[Value]] = BoundedMapping(max_entries)
        self._failed: BoundedMapping[str, _Failed] = BoundedMapping(max_entries)
        self._flights: dict[str, _Flight[Value]] = {}

    def get(self, name: str, read: Callable[[], Value]) -> Value:
        """Return the value of `name`, from memory while it is fresh, else from `read`.

        Raises what `read` raises, or raised lately; ParametersUnavailable only where no value is left that is
        young enough.
        """
        while True:
            now = self._clock()
            with self._lock:
                known, failed = self._known.get(name), self._failed.get(name)
                if known is not None and now < known.fresh_until:
                    return known.value
                if failed is not None and now < failed.until:
                    raise _again(failed.error)
                flight = self._flights.get(name)
                if flight is None:
                    ours = self._flights[name] = _Flight[Value]()
                    break
            flight.is_done.wait()
            if flight.values:
                return flight.values[0]
            if flight.error is not None:
                raise _again(flight.error)
            # Neither: whoever read was ended by something that says nothing about the name.
        try:
            ours.values.append(self._read_patiently(name, read, known, now))
            return ours.values[0]
        except Git2EfsError as error:
            ours.error = _again(error)
            raise
        finally:
            with self._lock:
                del self._flights[name]
            ours.is_done.set()

    def _read_patiently(self, name: str, read: Callable[[], Value], known: _Known[Value] | None, now: float) -> Value:
        try:
            return self.read(name, read)
        except ParametersUnavailable:
            if known is None or now >= known.read_at + self._lifetimes.stale_seconds:
                raise
            with self._lock:
                self._known.put(name, replace(known, fresh_until=now + self._lifetimes.retry_seconds))
            return known.value

    def read(self, name: str, read: Callable[[], Value]) -> Value:
        """Return the value from `read`, whatever is in memory, and remember it. Raises what `read` raises.

        A failure other than ParametersUnavailable forgets the value: what was deleted or closed must not come
        back in the next outage.
        """
        now = self._clock()
        try:
            value = read()
        except ParametersUnavailable:
            raise
        except Git2EfsError as error:
            with self._lock:
                self._known.pop(name)
                failed = _Failed(_again(error), now, now + self._lifetimes.failure_seconds)
                self._failed.put(name, failed)
            raise
        with self._lock:
            self._failed.pop(name)
            self._known.put(name, _Known(value, now, now + self._lifetimes.fresh_seconds))
        return value

    def learn(self, name: str, value: Value, read_at: float) -> None:
        """Remember a value that was read otherwise, as of `read_at`, unless something newer is known."""
        with self._lock:
            known, failed = self._known.get(name), self._failed.get(name)
            if (known is not None and known.read_at >= read_at) or (failed is not None and failed.read_at >= read_at):
                return
            self._failed.pop(name)
            self._known.put(name, _Known(value, read_at, read_at + self._lifetimes.fresh_seconds))


def _again(error: Git2EfsError) -> Git2EfsError:
    """Return a copy: one that is raised again and again grows its traceback, which keeps a request's frames alive."""
    return type(error)(*error.args)
