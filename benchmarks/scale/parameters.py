"""Reading parameters: the caches of handler/network/aws for each environment, Parameter Store's limit for all. Pure."""

from collections.abc import Callable, Sequence

from benchmarks.scale.engine import Bucket, Environment, Loop, Meter
from benchmarks.scale.model import Stack, Times

SECRET = -1
_NEVER = -1e9


class Parameters:
    """What all functions read. A repository's parameter has its number for a name, the secret SECRET."""

    def __init__(self, loop: Loop, stack: Stack, times: Times, listing_share: float) -> None:
        """`listing_share` is which part of the time a listing takes its part of the limit."""
        self._loop, self._stack, self._times = loop, stack, times
        self._bucket = Bucket(stack.ssm_rate - listing_share * stack.listing_rate, stack.ssm_rate)
        self.calls = Meter()

    def read(self, environment: Environment, names: Sequence[int], then: Callable[[bool], None]) -> None:
        """Read what of these is not cached, one after the other; `then` is told whether all is known.

        A read that is throttled is tried once more; after that, what was known goes on for an hour.
        """
        now = self._loop.now
        missing = [name for name in names if now - environment.read_at.get(name, _NEVER) > self._lifetime(name)]
        if not missing:
            then(True)
            return
        name = missing[0]

        def attempt(is_last: bool) -> None:
            at = self._loop.now
            self.calls.add(at, 1)
            if self._bucket.take(at):
                environment.read_at[name] = at
                self._loop.at(at + self._times.parameter, lambda: self.read(environment, names, then))
            elif not is_last:
                self._loop.at(at + self._times.parameter_pause, lambda: attempt(True))
            elif name in environment.read_at:
                environment.read_at[name] = at
                self.read(environment, names, then)
            else:
                then(False)

        attempt(False)

    def _lifetime(self, name: int) -> float:
        return self._stack.secret_cache_seconds if name == SECRET else self._stack.repository_cache_seconds
