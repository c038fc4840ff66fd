"""Read parameters: each environment has the caches of handler/network/aws, all share Parameter Store's limit. Pure."""

from collections.abc import Sequence

import simpy

from benchmarks.scale.engine import Bucket, Environment, Meter, Steps
from benchmarks.scale.model import Stack, Times

SECRET = -1
_NEVER = -1e9


class Parameters:
    """The parameters of all functions. A repository's number names its parameter, SECRET the secret."""

    def __init__(self, clock: simpy.Environment, stack: Stack, times: Times, listing_share: float) -> None:
        """`listing_share` is the part of the time in which a listing uses its part of the limit."""
        self._clock, self._stack, self._times = clock, stack, times
        self._bucket = Bucket(stack.ssm_rate - listing_share * stack.listing_rate, stack.ssm_rate)
        self.calls = Meter()

    def read(self, environment: Environment, names: Sequence[int]) -> Steps[bool]:
        """Read those of these that are not cached, one after the other; return whether all are known."""
        for name in names:
            is_cached = self._clock.now - environment.read_at.get(name, _NEVER) <= self._lifetime(name)
            if not (is_cached or (yield from self._read(environment, name))):
                return False
        return True

    def _read(self, environment: Environment, name: int) -> Steps[bool]:
        """Try twice; then a known value is good for another lifetime. Return whether there is one."""
        for attempt in range(2):
            if attempt:
                yield self._clock.timeout(self._times.parameter_pause)
            self.calls.add(self._clock.now, 1)
            if self._bucket.take(self._clock.now):
                environment.read_at[name] = self._clock.now
                yield self._clock.timeout(self._times.parameter)
                return True
        if name not in environment.read_at:
            return False
        environment.read_at[name] = self._clock.now
        return True

    def _lifetime(self, name: int) -> float:
        return self._stack.secret_cache_seconds if name == SECRET else self._stack.repository_cache_seconds
