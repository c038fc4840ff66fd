"""Ask the mount side which targets are behind: many repositories in one call, whoever asks at the same time."""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from handler.errors import PublisherUnavailable, Unexpected
from handler.exchange.codec import to_plain
from handler.exchange.drift import RepositoryDrift
from handler.exchange.publisher import MAX_SURVEYED, Publisher, SurveyItem
from handler.exchange.remote import RemoteRefs
from handler.model import Repository
from handler.outcome import failure_of

MAX_SURVEY_BYTES = 2_000_000
"""A survey's message with several repositories; its answer may be twice as long, and Lambda takes 6 MB."""
_BYTES_OF_REF = 120
"""What a ref takes in the message beside its name, which stands there twice: two object ids, and the JSON around."""

_Waiting = tuple[SurveyItem, int, Future[RepositoryDrift]]
"""What is asked, how many bytes that takes in a message, and who waits for the answer."""


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
        item = SurveyItem(repository, refs)
        size = bytes_of(item)
        with self._lock:
            self._waiting.append((item, size, answered))
            is_first, self._is_calling = not self._is_calling, True
        if is_first:
            self._call_until_nobody_waits()
        return answered.result()

    def _call_until_nobody_waits(self) -> None:
        while batch := self._next_batch():
            try:
                found = self._publisher.survey([item for item, _, _ in batch])
                if len(found) != len(batch):
                    raise PublisherUnavailable("the publisher did not answer for every repository")
            except BaseException as error:
                # Each of them fails with it, and the next batch is tried all the same.
                for _, _, answered in batch:
                    answered.set_exception(error)
                continue
            for (_, _, answered), each in zip(batch, found, strict=True):
                if each.drift is not None:
                    answered.set_result(each.drift)
                elif each.failed is not None:
                    answered.set_exception(failure_of(each.failed.reason, each.failed.message))
                else:
                    answered.set_exception(Unexpected("the publisher told neither drift nor failure"))

    def _next_batch(self) -> Sequence[_Waiting]:
        """Return whose turn it is; nobody, and end the calling, where nobody waits."""
        with self._lock:
            count = total = 0
            for _, size, _ in self._waiting[:MAX_SURVEYED]:
                total += size
                # By size, and not by number of refs: bots make thousands of branches, with names of a hundred letters.
                if count and total > MAX_SURVEY_BYTES:
                    break
                count += 1
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            self._is_calling = bool(batch)
            return batch


def bytes_of(item: SurveyItem) -> int:
    """Return how many bytes an item takes in a survey's message at most."""
    refs = sum(2 * len(json.dumps(name)) + _BYTES_OF_REF for name in item.refs.tips)
    return refs + len(json.dumps(to_plain(item.repository))) + len(json.dumps(item.refs.head)) + _BYTES_OF_REF
