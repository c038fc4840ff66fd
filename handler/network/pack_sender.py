"""Hand a pack to the mount side: whole in the request if it is small, in parts while it is fetched if it is large.

So the memory of this side does not grow with the pack.
"""

import secrets
from collections.abc import Callable

from handler.errors import HistoryTooDeep, PackTooLarge
from handler.exchange.answers import PackAnswer
from handler.exchange.publisher import MAX_PACK_BYTES, PART_BYTES, Publisher
from handler.exchange.remote import EMPTY_PACK_BYTES, FetchQuery, ShallowChanges

UNASKED_BYTES = 256 * 1024
"""So much of a guess is fetched before the mount side is asked whether it needs it."""


class FetchRefused(Exception):  # no failure: nobody needs the rest
    """Raised into a fetch, to break it off."""


class PackSender:
    """Takes one fetch's pack, from as many attempts as it takes. Not safe for threads."""

    def __init__(
        self,
        publisher: Publisher,
        repository: str,
        *,
        max_bytes: int,
        max_history_bytes: int | None = None,
        is_needed: Callable[[], bool] | None = None,
        is_size_enough: bool = False,
    ) -> None:
        """Past `max_history_bytes` the fetch is broken off as HistoryTooDeep; None: only past `max_bytes`.

        `is_needed` is called before more than UNASKED_BYTES are fetched of a guess; None: it is needed.

        With `is_size_enough` the fetch is broken off as soon as the pack is known to hold an object.
        """
        self._publisher = publisher
        self._repository = repository
        self._max_bytes = max_bytes
        self._max_history_bytes = max_history_bytes
        self._is_needed = is_needed
        self._is_size_enough = is_size_enough
        self._buffer = bytearray()
        self._sent = 0
        self.transfer: str | None = None
        """The transfer that parts were sent under."""
        self.size = 0
        """The bytes of the pack so far."""

    def begin(self) -> Callable[[bytes], None]:
        """Begin with an attempt; return the function that takes the pack's bytes from the start."""
        # A transfer that broke off keeps its name: its first part makes the file anew.
        self._buffer, self._sent, self.size = bytearray(), 0, 0
        return self._take

    def _take(self, content: bytes) -> None:
        """Raises FetchRefused, HistoryTooDeep, PackTooLarge, and what the mount side raises."""
        self.size += len(content)
        if self._is_size_enough:
            if self.size > EMPTY_PACK_BYTES:
                raise FetchRefused
            return
        if self._max_history_bytes is not None and self.size > min(self._max_history_bytes, self._max_bytes):
            raise HistoryTooDeep(f"more than {self._max_history_bytes} bytes of history would come")
        if self.size > self._max_bytes:
            raise PackTooLarge(f"the fetch brings more than {self._max_bytes} bytes (GIT2EFS_MAX_PACK_BYTES)")
        if self._is_needed is not None and self.size > UNASKED_BYTES:
            is_needed, self._is_needed = self._is_needed, None
            if not is_needed():
                raise FetchRefused
        self._buffer += content
        if self.size > MAX_PACK_BYTES:
            self._send(PART_BYTES)

    def _send(self, at_least: int) -> None:
        """Send the buffer in parts, while it has `at_least` bytes."""
        self.transfer = self.transfer or secrets.token_hex(16)
        while len(self._buffer) >= at_least and self._buffer:
            part = bytes(self._buffer[:PART_BYTES])
            self._publisher.receive(self._repository, transfer=self.transfer, offset=self._sent, content=part)
            self._sent += len(part)
            del self._buffer[:PART_BYTES]

    def answer(self, query: FetchQuery, changes: ShallowChanges, *, asked_at: float) -> PackAnswer:
        """Return the answer, the pack's last part sent. Raises what the mount side raises."""
        # A second attempt may bring a pack that is small, where the first one sent parts.
        is_in_parts = self._sent > 0
        if is_in_parts:
            self._send(1)
        return PackAnswer(
            query=query,
            asked_at=asked_at,
            size=self.size,
            shallow=tuple(sorted(each.decode() for each in changes.shallow)),
            unshallow=tuple(sorted(each.decode() for each in changes.unshallow)),
            pack=None if is_in_parts or self._is_size_enough else bytes(self._buffer),
            transfer=self.transfer,
        )
