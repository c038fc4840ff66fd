"""All repositories' parameters, page by page, at a pace that leaves Parameter Store room for deliveries."""

import time
from collections.abc import Callable, Iterator

from handler.errors import ConfigurationInvalid
from handler.network.aws.ssm import ParameterNotFound, SSMClient, read_page, read_version

PAGES_PER_SECOND = 20.0
"""Half of what Parameter Store gives an account by default, 40 requests a second, all functions together."""

Text = str | ConfigurationInvalid
"""A parameter's text, or why it cannot be read."""


class RateLimiter:
    """Lets through `per_second` calls a second at most, evenly. For one thread."""

    def __init__(
        self,
        per_second: float = PAGES_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """The first call need not wait."""
        self._interval = 1 / per_second
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()

    def wait(self) -> None:
        """Return when the next call may be made."""
        now = self._clock()
        if now < self._next_at:
            self._sleep(self._next_at - now)
        # From now on and not from the last time: a call that took long is not made up for by a burst.
        self._next_at = max(now, self._next_at) + self._interval


def list_texts(
    client: SSMClient, path: str, pace: RateLimiter, read_at: Callable[[], float]
) -> Iterator[tuple[str, Text, float]]:
    """Yield every parameter below `path`: its name without that, its text, and when it was asked for.

    A SecureString is read by itself: where its key is closed, its own text is the failure, and the rest is there. One
    that is deleted meanwhile is left out. Raises ParametersUnavailable, and ConfigurationInvalid for the whole.
    """
    token: str | None = None
    while True:
        pace.wait()
        asked_at = read_at()
        page, token = read_page(client, path, token)
        for found in page:
            name = found.name.removeprefix(f"{path}/")
            if not found.is_secure:
                yield name, found.value, asked_at
                continue
            pace.wait()
            try:
                yield name, read_version(client, found.name).value, read_at()
            except ParameterNotFound:
                continue
            except ConfigurationInvalid as error:
                yield name, error, read_at()
        if token is None:
            return
