"""A token as a request's header, and how it is read afresh once a remote refuses it."""

import base64
import threading
from collections.abc import Callable
from typing import TypeVar

from handler.network.remote.protocol import TokenRefused

T = TypeVar("T")
Renew = Callable[[], str | None]
"""Read the token past the cache; return it, or None where it is the same or was read a moment ago."""
HeaderOf = Callable[[str], str]
"""Return the Authorization header with a token in it."""


def basic(token: str, user: str = "x-access-token") -> str:
    """Return the header with the token as a password: GitHub, GitLab and Gitea take any user beside it."""
    return f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}"


class Authorization:
    """The Authorization header of one remote. Safe for threads."""

    def __init__(self, token: str, renew: Renew | None, header_of: HeaderOf = basic) -> None:
        self._header_of = header_of
        self._lock = threading.Lock()
        self._renew = renew
        self.secrets: tuple[str, ...] = ()
        """What must not be told, in each spelling: of the token, and of the one before it."""
        self.header = ""
        self._use(token)

    def _use(self, token: str) -> None:
        self.header = self._header_of(token)
        encoded = self.header.rpartition(" ")[2]
        self.secrets = (*self.secrets, token, encoded.rstrip("="))

    def attempt(self, send: Callable[[str], T]) -> T:
        """Send a request with the header; once more where it is answered with 401, and another token can be read.

        Raises what `send` raises, and what reading the token raises.
        """
        refused = self.header
        try:
            return send(refused)
        except TokenRefused:
            # It may have been replaced since it was read. Of an answer with 401 nothing was parsed.
            if not self._has_other_than(refused):
                raise
        return send(self.header)

    def _has_other_than(self, refused: str) -> bool:
        with self._lock:
            # The ref and the commit are asked for at the same time: both are refused, and the first to come renews.
            if self.header != refused:
                return True
            renew, self._renew = self._renew, None
            token = renew() if renew is not None else None
            if token is None:
                return False
            self._use(token)
            return True
