"""Decide which commit to publish for a ref, and bring its objects into the store.

The payload is a hint; the remote's ref is the truth. GitHub's replicas can lag behind GitHub's own webhook: then the
ref still names the old commit, though the push is newer than every push that was confirmed. So it is asked again for a
while. A commit that no ref confirms is not published: GitHub hands out any fork's commit by its id, so that whoever has
the webhook's secret could publish anything. A repository can opt in (`trust_payload`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from handler.errors import CommitNotFound, Git2EfsError, PackInvalid, RefLags
from handler.exchange.remote import FetchQuery, Remote
from handler.model import NULL_OID, PushEvent, Tip
from handler.mount.fs.parallel import Executor
from handler.mount.git.ingest import EMPTY_PACK_BYTES, PackSpool
from handler.mount.git.pack_store import PackStore

_LAG_PAUSE_SECONDS = 0.5
_TRIES_BY_ID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The commit to publish (None: the remote has no such ref), when the remote was asked, and what came.

    `object_id` is what the ref names itself: an annotated tag, else the commit. `is_confirmed` is False where a signed
    payload was trusted over a ref that lags.
    """

    commit: str | None
    asked_at: float
    bytes_fetched: int
    is_confirmed: bool = True
    object_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Fetcher:
    """Fetches from a remote into a store, a mirror's or a working copy's.

    `have` is the commit to claim, if the store holds it; `confirmed_pushed_at` the latest `pushed_at` of all deliveries
    that the remote confirmed. `is_payload_trusted` publishes a push that no ref confirms within `lag_seconds`.
    `check_time` raises once time is up.
    """

    remote: Remote
    store: PackStore
    have: str | None
    confirmed_pushed_at: int | None
    depth: int
    max_pack_bytes: int
    lag_seconds: float
    is_payload_trusted: bool
    check_time: Callable[[], None]
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    bytes_fetched: int = 0

    def fetch(self, ref: str, push: PushEvent | None, *, is_side_by_side: bool = True) -> Fetched:
        """Return the commit to publish for `ref`, with its objects in the store.

        `is_side_by_side` fetches the pushed commit while it asks for the ref: for a push that is most likely the tip.
        Raises RefLags, CommitNotFound, RemoteUnavailable, RemoteRefused, RemoteUnsupported, PackInvalid, PackTooLarge,
        MirrorDamaged, and TreeUnsafe where the ref names no commit.
        """
        asked_at = self.clock()
        expected = None
        # A push that does not start from the published commit was overtaken, or has overtaken others. Then the ref most
        # likely names another commit, and fetching the pushed one would be in vain.
        is_likely_tip = push is not None and self.have in (None, push.before)
        if push is not None and is_side_by_side and is_likely_tip and push.after not in self.store:
            expected = push.after
        is_next = push is not None and push.is_single and push.before == self.have
        tip, received = self._ask(ref, expected, is_next=is_next)
        try:
            wanted, is_confirmed = self._decide(ref, tip, push, asked_at + self.lag_seconds)
        except BaseException:
            self._drop(received)
            raise
        if wanted is not None and wanted == expected and received is not None:
            self.store.ingest(received)
        else:
            self._drop(received)
            if wanted is None:
                return Fetched(commit=None, asked_at=asked_at, bytes_fetched=self.bytes_fetched)
            self._fetch_commit(wanted)
        return Fetched(
            commit=self._peel(wanted),
            asked_at=asked_at,
            bytes_fetched=self.bytes_fetched,
            is_confirmed=is_confirmed,
            object_id=wanted,
        )

    def _decide(self, ref: str, tip: Tip | None, push: PushEvent | None, deadline: float) -> tuple[str | None, bool]:
        """Return the object to publish (None: the remote has no such ref), and whether the ref confirms it.

        Raises RefLags, or CommitNotFound where the remote does not know the pushed commit by its id either.
        """
        while push is not None and self._may_lag(tip, push):
            lag: Git2EfsError = RefLags(f"{ref} does not name the pushed commit {push.after}")
            try:
                if self._is_ahead(tip, push):
                    break
            except CommitNotFound as error:
                lag = error
            if self.clock() >= deadline:
                if self.is_payload_trusted:
                    return push.after, False
                raise lag
            self.sleep(_LAG_PAUSE_SECONDS)
            tip = self.remote.refs([ref]).tips.get(ref)
        return (tip.object_id if tip is not None else None), True

    def _may_lag(self, tip: Tip | None, push: PushEvent) -> bool:
        """Whether the ref may be older than the push: it names what was there before, and the push is the newest known.

        The same payload redelivered after a forced push back is not newer by `pushed_at`, and so changes nothing.
        """
        named = tip.object_id if tip is not None else NULL_OID
        if named == push.after or push.pushed_at is None:
            return False
        names_the_past = named in (self.have, push.before) or (tip is not None and tip.commit == self.have)
        return names_the_past and (self.confirmed_pushed_at is None or push.pushed_at > self.confirmed_pushed_at)

    def _is_ahead(self, tip: Tip | None, push: PushEvent) -> bool:
        """Whether the ref has moved beyond the push, rather than lagging behind it.

        In a burst a delivery can arrive after the commit that the ref moved to was published for an earlier delivery.
        Raises CommitNotFound where the remote does not know the pushed commit.
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
        received = self._receive(FetchQuery(push.after, tip.commit, 0))
        try:
            return received.size <= EMPTY_PACK_BYTES
        finally:
            self._drop(received)

    def _peel(self, object_id: str) -> str:
        try:
            return self.store.peel(object_id)
        except KeyError:
            raise PackInvalid("the remote sent a sound pack without the object that was asked for") from None

    def _ask(self, ref: str, expected: str | None, *, is_next: bool) -> tuple[Tip | None, PackSpool | None]:
        """Ask for the ref, and fetch the expected commit by its id at the same time: two requests, one round trip."""
        if expected is None:
            return self.remote.refs([ref]).tips.get(ref), None
        with Executor() as executor:
            asked = executor.submit(partial(self.remote.refs, [ref]))
            try:
                received = self._download(expected, is_next=is_next)
            except CommitNotFound:
                received = None
            try:
                return asked.result().tips.get(ref), received
            except BaseException:
                self._drop(received)
                raise

    def _drop(self, received: PackSpool | None) -> None:
        if received is not None:
            self.store.drop(received)

    def _fetch_commit(self, wanted: str) -> None:
        """Bring `wanted` into the store. Raises CommitNotFound after a few tries."""
        for number in range(1, _TRIES_BY_ID + 1):
            if wanted in self.store:
                break
            try:
                self.store.ingest(self._download(wanted))
                break
            except CommitNotFound:
                # The replica that answers may lag behind the one that named the commit.
                if number == _TRIES_BY_ID:
                    raise
            self.sleep(_LAG_PAUSE_SECONDS)

    def _download(self, wanted: str, *, is_next: bool = False) -> PackSpool:
        # A commit that the store lost must not be claimed: the remote would leave out what builds on it.
        claimed = self.have if self.have is not None and self.store.holds(self.have) else None
        history = self.store.history(claimed, self.depth, is_next=is_next and claimed is not None)
        received = self._receive(FetchQuery(wanted, claimed, *history))
        self.bytes_fetched += received.size
        return received

    def _receive(self, query: FetchQuery) -> PackSpool:
        return self.store.download(self.max_pack_bytes, self.check_time, partial(self.remote.fetch, query))
