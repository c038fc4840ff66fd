"""What the network side has asked a remote, and what the mount side still needs to know. Pure: no I/O, no clock.

An answer counts only for exactly the query that is asked: a wrong guess of the network side is wasted, and never used.
A remote's failure is an answer too, so that a run on the mount ends with it as if it had asked for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from handler.errors import (
    CommitNotFound,
    HistoryTooDeep,
    OutOfTime,
    PackTooLarge,
    RemoteRefused,
    RemoteUnavailable,
    RemoteUnsupported,
    RemoteUntrusted,
)
from handler.exchange.checks import MAX_SKEW_SECONDS
from handler.exchange.remote import FetchQuery, ShallowChanges
from handler.model import Tip
from handler.outcome import failure_of

FRESH_SECONDS = 60.0
"""An answer about refs that is older than this does not count."""

FAILURES = frozenset(
    each.reason
    for each in (
        CommitNotFound,
        HistoryTooDeep,
        OutOfTime,
        PackTooLarge,
        RemoteRefused,
        RemoteUnavailable,
        RemoteUnsupported,
        RemoteUntrusted,
    )
)
"""The reasons of a failed request to a remote."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that travels: its reason, and its message for the log."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefsAnswer:
    """What the remote's `ref` named some time from `asked_at` to `answered_at`, in seconds of the network side's clock.

    Without a `tip` there is no such ref. With `failed` the remote did not answer.
    """

    ref: str
    asked_at: float
    answered_at: float = 0.0
    tip: Tip | None = None
    failed: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackAnswer:
    """What the remote answered to `query` at `asked_at`: a pack of `size` bytes.

    The pack is `pack`, or the file of `transfer` that its parts were written to; neither, where only the size was
    asked for. With `failed` the remote did not answer; the file of `transfer` is then of no use.
    """

    query: FetchQuery
    asked_at: float
    size: int = 0
    shallow: tuple[str, ...] = ()
    unshallow: tuple[str, ...] = ()
    pack: bytes | None = None
    transfer: str | None = None
    failed: Failure | None = None

    @property
    def is_in_parts(self) -> bool:
        """Whether the pack is in the transfer's file."""
        return self.pack is None and self.transfer is not None and self.failed is None

    @property
    def changes(self) -> ShallowChanges:
        """How the fetch moves the shallow boundary."""
        return ShallowChanges(
            frozenset(each.encode() for each in self.shallow), frozenset(each.encode() for each in self.unshallow)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What the mount side needs to know before it writes anything: `ref`'s tip, or the pack of `fetch`.

    Ask `after_seconds` from now at the earliest. With `is_size_enough` the pack itself is not needed.
    """

    ref: str | None = None
    fetch: FetchQuery | None = None
    after_seconds: float = 0.0
    is_size_enough: bool = False


class Missing(Exception):  # no failure: the run ends, and goes on with more answers
    """Raised by `Answers`: the answer to `need` is not there."""

    def __init__(self, need: Need) -> None:
        super().__init__()
        self.need = need


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one run, by the queries that they answer. `bytes_fetched` is what all packs took together."""

    refs: Sequence[RefsAnswer] = ()
    packs: Sequence[PackAnswer] = ()
    bytes_fetched: int = 0

    def tip(self, ref: str, *, now: float, not_before: float) -> RefsAnswer:
        """Return the latest answer about `ref`.

        Raises Missing where no answer is fresh or asked since `not_before` (seconds, as `now`), or it was asked later
        than two sound clocks allow; and the failure of a remote that did not answer.
        """
        latest = max((each for each in self.refs if each.ref == ref), key=lambda each: each.asked_at, default=None)
        if latest is None or not now - FRESH_SECONDS <= latest.asked_at <= now + MAX_SKEW_SECONDS:
            raise Missing(Need(ref=ref))
        if latest.asked_at < not_before:
            # Two hosts' clocks may differ a little: then the next question must not come too early again.
            raise Missing(Need(ref=ref, after_seconds=not_before - latest.asked_at))
        _raise(latest.failed)
        return latest

    def first_asked_at(self, ref: str) -> float:
        """Return when `ref` was first asked for in this run; `tip` has answered before."""
        return min(each.asked_at for each in self.refs if each.ref == ref)

    def pack(self, query: FetchQuery, *, not_before: float = 0.0, is_size_enough: bool = False) -> PackAnswer:
        """Return the answer to `query`. Raises Missing, and the failure of a remote that did not answer.

        A failure counts only if it is not older than `not_before`: the remote may know by now what it did not know.
        """
        for answer in reversed(self.packs):
            is_usable = is_size_enough or answer.pack is not None or answer.is_in_parts
            if answer.query == query and (answer.asked_at >= not_before if answer.failed else is_usable):
                _raise(answer.failed)
                return answer
        raise Missing(Need(fetch=query, is_size_enough=is_size_enough))


def _raise(failed: Failure | None) -> None:
    if failed is not None:
        raise failure_of(failed.reason, failed.message)
