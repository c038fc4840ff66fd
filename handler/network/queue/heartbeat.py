"""Extend the visibility timeout of a batch's messages while they are worked on.

The queue's visibility timeout is longer than a function may run, so that no other worker receives a message meanwhile.
With that alone, SQS would show the messages of a killed worker, and their whole group, only after a quarter of an hour.
So a worker that takes long sets short timeouts and renews them: without a renewal the messages are soon shown again.
"""

import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from handler.errors import Git2EfsError
from handler.network.queue.sqs import Queue

SPLIT_SECONDS = 0.5
"""Most batches end before this, and cost no call. After this, messages are deleted as soon as they are acked."""
FIRST_SECONDS = 10.0
EVERY_SECONDS = 30.0
HIDDEN_SECONDS = 90
"""Three heartbeats: one that fails does no harm."""


class VisibilityHeartbeat:
    """Hides a batch's messages until the end of a `with` block. Safe for threads.

    Failures of the queue's calls are ignored: at worst a message is received, and its ref reconciled, twice.
    """

    def __init__(
        self,
        queue: Queue,
        receipts: Iterable[str],
        *,
        split_seconds: float = SPLIT_SECONDS,
        first_seconds: float = FIRST_SECONDS,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        """Times count from the start of the block, but `every_seconds` is the time between heartbeats."""
        self._queue = queue
        self._held = dict.fromkeys(receipts)
        self._done: dict[str, None] = {}
        self._waits = (split_seconds, first_seconds - split_seconds, every_seconds)
        self._is_split = False
        self._ended = threading.Event()
        # Held during the calls too: a heartbeat in progress must not hide again a message that is nacked meanwhile.
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def ack(self, receipts: Iterable[str]) -> None:
        """Mark messages as done.

        Lambda deletes them when the whole batch ends. If that takes longer than SPLIT_SECONDS we delete them earlier:
        SQS hands out no other message of a group until this one is deleted or visible again, and the slowest
        repository would hold up all others in its batch.
        """
        with self._lock:
            for receipt in receipts:
                self._held.pop(receipt, None)
                self._done[receipt] = None
            if self._is_split:
                self._delete_done()

    def nack(self, receipts: Iterable[str], seconds: int) -> None:
        """Make messages visible again in so many seconds."""
        given = tuple(receipts)
        with self._lock:
            for receipt in given:
                self._held.pop(receipt, None)
            with suppress(Git2EfsError):
                self._queue.change_visibility(given, seconds)

    def _beat(self) -> None:
        split, first, every = self._waits
        if self._ended.wait(split):
            return
        with self._lock:
            self._is_split = True
            self._delete_done()
        wait = first
        while not self._ended.wait(wait):
            wait = every
            with self._lock:
                self._hide()

    def _hide(self) -> None:
        with suppress(Git2EfsError):
            self._queue.change_visibility(tuple(self._held), HIDDEN_SECONDS)

    def _delete_done(self) -> None:
        if not self._held:
            return  # the batch is about to end, and Lambda deletes them
        done, self._done = tuple(self._done), {}
        with suppress(Git2EfsError):
            self._queue.delete(done)
