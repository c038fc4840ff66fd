"""Ask the mount side which targets are behind: many repositories in one call, whoever asks at the same time."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from handler.errors import PublisherUnavailable, Unexpected
from handler.exchange.drift import RepositoryDrift
from handler.exchange.publisher import MAX_SURVEYED, Publisher, SurveyItem
from handler.exchange.remote import RemoteRefs
from handler.model import Repository
from handler.outcome import failure_of

MAX_REFS = 20_000
"""Refs in one survey: some 250 bytes each, in a message of 6 MB."""

_Waiting = tuple[SurveyItem, Future[RepositoryDrift]]


class Surveyor:
    """Collects what threads ask while a call is under way, and asks it in the next one. Safe for threads.

    Nobody waits for others to come: a lone repository is surveyed at once, and a run over thousands in few calls.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._is_calling = False

    def drift(self, repository: Repository, refs: RemoteRefs) -> RepositoryDrift:
        """Return which targets are behind `refs`, which the remote just answered. Raises Git2EfsError."""
        answered: Future[RepositoryDrift] = Future()
        with self._lock:
            self._waiting.append((SurveyItem(repository, refs), answered))
            is_first, self._is_calling = not self._is_calling, True
        if is_first:
            self._call_until_nobody_waits()
        return answered.result()

    def _call_until_nobody_waits(self) -> None:
        while batch := self._next_batch():
            try:
                found = self._publisher.survey([item for item, _ in batch])
                if len(found) != len(batch):
                    raise PublisherUnavailable("the publisher did not answer for every repository")
            except BaseException as error:
                # Each of them fails with it, and the next batch is tried all the same.
                for _, answered in batch:
                    answered.set_exception(error)
                continue
            for (_, answered), each in zip(batch, found, strict=True):
                if each.drift is not None:
                    answered.set_result(each.drift)
                elif each.failed is not None:
                    answered.set_exception(failure_of(each.failed.reason, each.failed.message))
                else:
                    answered.set_exception(Unexpected("the publisher told neither drift nor failure"))

    def _next_batch(self) -> Sequence[_Waiting]:
        """Return whose turn it is; nobody, and end the calling, where nobody waits."""
        with self._lock:
            count = refs = 0
            for item, _ in self._waiting[:MAX_SURVEYED]:
                refs += len(item.refs.tips)
                if count and refs > MAX_REFS:
                    break
                count += 1
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            self._is_calling = bool(batch)
            return batch
