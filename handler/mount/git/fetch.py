"""Decide which commit to publish for a ref, and bring its objects into the store, by what the network side has asked.

The payload is a hint; the remote's ref is the truth. GitHub's replicas can lag behind GitHub's own webhook: then the
ref still names the old commit, though the push is newer than every push that was confirmed. So it is asked again for a
while. A commit that no ref confirms is not published: GitHub hands out any fork's commit by its id, so that whoever has
the webhook's secret could publish anything. A repository can opt in (`trust_payload`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO

from handler.errors import CommitNotFound, Git2EfsError, HistoryTooDeep, PackInvalid, RefLags
from handler.exchange.answers import Answers, Missing, Need, PackAnswer
from handler.exchange.remote import EMPTY_PACK_BYTES, LEAST_DEEPEN, MAX_BASES, FetchQuery
from handler.model import NULL_OID, PushEvent, Tip
from handler.mount.git.pack_store import PackStore

_LAG_PAUSE_SECONDS = 0.5
_WHAT_TO_DO = "Run `git fetch --unshallow` in the working copy, or push or drop its local commits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The commit to publish (None: the remote has no such ref), when the remote was asked and answered, and what came.

    `object_id` is what the ref names itself: an annotated tag, else the commit. `is_confirmed` is False where a signed
    payload was trusted over a ref that lags.
    """

    commit: str | None
    asked_at: float
    answered_at: float
    bytes_fetched: int
    is_confirmed: bool = True
    object_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Fetcher:
    """Brings a commit into a store, a mirror's or a working copy's.

    `have` is the commit to claim, if the store holds it. What `answers` say of a ref counts if it was asked for since
    `not_before`. `confirmed_pushed_at` is the latest `pushed_at` of all deliveries that the remote confirmed.
    `is_payload_trusted` publishes a push that no ref confirms within `lag_seconds`. `open_transfer` gives the file that
    a large pack's parts were written to, and its path. `bases` returns the commits that other targets have published.
    `on_decided` is called with the object to publish, before it is fetched. `deepening` returns the fetch that brings
    more of a commit's history, deeper than the number of commits that it is given; None where there is enough.
    """

    answers: Answers
    store: PackStore
    have: str | None
    not_before: float
    confirmed_pushed_at: int | None
    depth: int
    max_pack_bytes: int
    lag_seconds: float
    is_payload_trusted: bool
    open_transfer: Callable[[str], tuple[BinaryIO, str]]
    on_decided: Callable[[str], None]
    bases: Callable[[], Iterable[str]]
    deepening: Callable[[str, int], FetchQuery | None]
    clock: Callable[[], float]

    def fetch(self, ref: str, push: PushEvent | None) -> Fetched | Need:
        """Return the commit to publish for `ref`, with its objects in the store; or what has to be asked first.

        Raises RefLags, CommitNotFound, RemoteUnavailable, RemoteRefused, RemoteUnsupported, OutOfTime, PackInvalid,
        PackTooLarge, HistoryTooDeep, ObjectTooLarge, MirrorDamaged, and NotACommit.
        """
        try:
            answer = self.answers.tip(ref, now=self.clock(), not_before=self.not_before)
            wanted, is_confirmed = self._decide(ref, answer.tip, answer.asked_at, push)
            commit = None
            if wanted is not None:
                self.on_decided(wanted)
                if wanted not in self.store:
                    self._ingest(self._pack_of(wanted, push, answer.asked_at))
                commit = self._peel(wanted)
                self._deepen(commit, answer.asked_at)
        except Missing as missing:
            return missing.need
        return Fetched(
            commit=commit,
            asked_at=answer.asked_at,
            answered_at=answer.answered_at,
            bytes_fetched=self.answers.bytes_fetched,
            is_confirmed=is_confirmed,
            object_id=wanted,
        )

    def _decide(self, ref: str, tip: Tip | None, asked_at: float, push: PushEvent | None) -> tuple[str | None, bool]:
        """Return the object to publish (None: the remote has no such ref), and whether the ref confirms it.

        Raises Missing; RefLags, or CommitNotFound where the remote does not know the pushed commit by its id either.
        """
        named = tip.object_id if tip is not None else None
        if push is None or not self._may_lag(tip, push):
            return named, True
        lag: Git2EfsError = RefLags(f"{ref} does not name the pushed commit {push.after}")
        try:
            if self._is_ahead(tip, asked_at, push):
                return named, True
        except CommitNotFound as error:
            lag = error
        # The pauses grow with the time since the first question, so that each costs few calls of this side.
        lagged = asked_at - self.answers.first_asked_at(ref)
        if lagged < self.lag_seconds:
            pause = min(max(_LAG_PAUSE_SECONDS, lagged), self.lag_seconds - lagged)
            raise Missing(Need(ref=ref, after_seconds=pause))
        if self.is_payload_trusted:
            return push.after, False
        raise lag

    def _may_lag(self, tip: Tip | None, push: PushEvent) -> bool:
        """Whether the ref may be older than the push: it names what was there before, and the push is the newest known.

        The same payload redelivered after a forced push back is not newer by `pushed_at`, and so changes nothing.
        """
        named = tip.object_id if tip is not None else NULL_OID
        if named == push.after or push.pushed_at is None:
            return False
        names_the_past = named in (self.have, push.before) or (tip is not None and tip.commit == self.have)
        return names_the_past and (self.confirmed_pushed_at is None or push.pushed_at > self.confirmed_pushed_at)

    def _is_ahead(self, tip: Tip | None, asked_at: float, push: PushEvent) -> bool:
        """Whether the ref has moved beyond the push, rather than lagging behind it.

        In a burst a delivery can arrive after the commit that the ref moved to was published for an earlier delivery.
        Raises Missing, and CommitNotFound where the remote does not know the pushed commit.
        """
        if tip is None:
            return False
        # A ref's commit that is here and dated after the pushed one is taken for newer. Anybody can write any date into
        # a commit, but gains nothing: a lagging ref is then believed, and looked at again later.
        is_dated = push.committed_at is not None and tip.commit in self.store
        if is_dated and self.store.committed_at(tip.commit) > (push.committed_at or 0):
            return True
        # Claim to have the ref's commit and its history, and ask for the pushed commit: if that is part of the history,
        # the pack is empty.
        query = FetchQuery(push.after, tip.commit, 0)
        return self.answers.pack(query, not_before=asked_at, is_size_enough=True).size <= EMPTY_PACK_BYTES

    def _peel(self, object_id: str) -> str:
        try:
            return self.store.peel(object_id)
        except KeyError:
            raise PackInvalid("the remote sent a sound pack without the object that was asked for") from None

    def _pack_of(self, wanted: str, push: PushEvent | None, asked_at: float) -> PackAnswer:
        """Return the answer that brings `wanted`. Raises Missing."""
        # A commit that the store lost must not be claimed: the remote would leave out what builds on it.
        claimed = self.have if self.have is not None and self.store.holds(self.have) else None
        query = self._query(wanted, claimed)
        is_next = push is not None and push.is_single and push.after == wanted and push.before == claimed
        guess = replace(query, deepen=self.store.history(claimed, self.depth, is_next=True)[0]) if is_next else query
        try:
            return self.answers.pack(guess, not_before=asked_at)
        except Missing:
            # Without a depth only where that was fetched already. The payload calls a merge one commit too, and with it
            # all the history of the merged branch would come.
            return self.answers.pack(query, not_before=asked_at)
        except HistoryTooDeep:
            # Into a copy whose history is cut all came, down to the first commit: now as little as there can be.
            return self.answers.pack(replace(query, deepen=max(self.depth, LEAST_DEEPEN)), not_before=asked_at)

    def _deepen(self, commit: str, asked_at: float) -> None:
        """Bring more of the commit's history, until there is enough. Raises Missing, HistoryTooDeep."""
        try:
            query = self.deepening(commit, 0)
            while query is not None:
                self._ingest(self.answers.pack(query, not_before=asked_at))
                query = self.deepening(commit, query.deepen)
        except HistoryTooDeep as error:
            raise HistoryTooDeep(f"{error}. {_WHAT_TO_DO}") from None

    def _ingest(self, answer: PackAnswer) -> None:
        """Bring a pack into the store. Raises Missing where its parts are gone."""
        try:
            received = self.store.receive(answer, self.max_pack_bytes, self.open_transfer)
        except FileNotFoundError:
            # The file of its parts was swept, or another run took it.
            raise Missing(Need(fetch=answer.query)) from None
        self.store.ingest(received)

    def _query(self, wanted: str, claimed: str | None) -> FetchQuery:
        """Return the fetch of `wanted` where `claimed` is here. A first one claims what other targets published."""
        bases: tuple[str, ...] = ()
        if claimed is None:
            bases = tuple(islice((each for each in self.bases() if self.store.holds(each)), MAX_BASES))
        deepen, shallow = self.store.history(claimed, self.depth, is_next=False)
        if deepen:
            # As little history is claimed for them as for what the target itself has.
            shallow = (*shallow, *(each for each in bases if each not in shallow))
        return FetchQuery(wanted, claimed, deepen, shallow, bases)
