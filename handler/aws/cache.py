"""What was read from AWS, remembered for a while. Pure: the clock comes in.

A value is trusted while it is fresh, and beyond that as long as its source does not answer. A failure that
needs a person is remembered too: a flood of requests for a name that is not there then costs one call, not
one each.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from handler.errors import Git2EfsError, ParametersUnavailable

Value = TypeVar("Value")
Entry = TypeVar("Entry")


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
    until: float


class Cache(Generic[Value]):
    """Values by name; safe between threads; bounded: the name that was read longest ago makes room.

    Values and failures have each their own room, so that names nobody knows do not drive out those in use.
    The lock guards memory only and is never held while a value is read, so that one slow answer does not stop
    requests for other names; two threads may then read the same name at once, which is harmless.
    """

    def __init__(self, lifetimes: Lifetimes, *, max_entries: int, clock: Callable[[], float]) -> None:
        self._lifetimes = lifetimes
        self._max_entries = max_entries
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known[Value]] = OrderedDict()
        self._failed: OrderedDict[str, _Failed] = OrderedDict()

    def get(self, name: str, read: Callable[[], Value]) -> Value:
        """Return the value of `name`, from memory while it is fresh, else from `read`.

        Raises what `read` raises, or raised lately; ParametersUnavailable only where no value is left that is
        young enough.
        """
        now = self._clock()
        with self._lock:
            known, failed = self._known.get(name), self._failed.get(name)
        if known is not None and now < known.fresh_until:
            return known.value
        if failed is not None and now < failed.until:
            # A new one each time: an exception that is raised again and again grows its traceback.
            raise type(failed.error)(*failed.error.args)
        try:
            return self.read(name, read)
        except ParametersUnavailable:
            if known is None or now >= known.read_at + self._lifetimes.stale_seconds:
                raise
            with self._lock:
                self._put(self._known, name, replace(known, fresh_until=now + self._lifetimes.retry_seconds))
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
                self._known.pop(name, None)
                # A copy, without the traceback, which would keep the frames of this request alive.
                copy = type(error)(*error.args)
                self._put(self._failed, name, _Failed(copy, now + self._lifetimes.failure_seconds))
            raise
        with self._lock:
            self._failed.pop(name, None)
            self._put(self._known, name, _Known(value, now, now + self._lifetimes.fresh_seconds))
        return value

    def _put(self, room: OrderedDict[str, Entry], name: str, entry: Entry) -> None:
        room[name] = entry
        room.move_to_end(name)
        if len(room) > self._max_entries:
            room.popitem(last=False)
