"""The messages of a batch while they are worked on: hidden from others for as long as somebody is at them.

The queue hides a received message for longer than a function may run, so that nobody else takes it meanwhile. Were
that all, a message whose worker was killed would be seen again only after a quarter of an hour, and with it its whole
group: so whoever works for long says again and again "a little longer", and what nobody speaks for comes back soon.
"""

import threading
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from handler.errors import Git2EfsError
from handler.network.queue.sqs import Queue

SPLIT_SECONDS = 0.5
"""Most batches are done by then, and cost no call; from then on each repository of a batch ends by itself."""
FIRST_SECONDS = 10.0
EVERY_SECONDS = 30.0
HIDDEN_SECONDS = 90
"""Three beats: one that is lost does no harm."""


class VisibilityHeartbeat:
    """Holds a batch's messages from `with` to its end. Safe between threads.

    What a call of the queue's says is passed over: the worst is that a message is seen, and looked at, twice.
    """

    def __init__(
        self,
        queue: Queue,
        receipts: Iterable[str],
        split_seconds: float = SPLIT_SECONDS,
        first_seconds: float = FIRST_SECONDS,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        """Calls nobody yet. The times count from the start of the batch, but for the last, which is between beats."""
        self._queue = queue
        self._held = dict.fromkeys(receipts)
        self._done: dict[str, None] = {}
        self._waits = (split_seconds, first_seconds - split_seconds, every_seconds)
        self._is_split = False
        self._ended = threading.Event()
        # Held through the calls too: a beat under way must not hide again what is given back at the same time.
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name="custody", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def ack(self, receipts: Iterable[str]) -> None:
        """These are done with.

        Lambda deletes them when the whole batch is through. Where that takes longer for others they are deleted
        before: as long as one message of a group is neither deleted nor seen again, no other of that group is handed
        out, and the slowest repository of a batch would hold up those that happen to be in it.
        """
        with self._lock:
            for receipt in receipts:
                self._held.pop(receipt, None)
                self._done[receipt] = None
            if self._is_split:
                self._delete_done()

    def nack(self, receipts: Iterable[str], seconds: int) -> None:
        """These are to be seen again, in so many seconds."""
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
            return  # the batch is through, and Lambda about to delete them
        done, self._done = tuple(self._done), {}
        with suppress(Git2EfsError):
            self._queue.delete(done)
