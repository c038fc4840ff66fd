"""One run of one target, from the network side: guess, ask and fetch, let the mount side publish, fulfil what it needs.

The guess comes from the payload alone: a push most likely builds on what is published, and its commit is the tip. So
the ref is asked for and the commit is fetched at the same time, before anybody looks at the mount, and a normal push
takes one call of the mount side. A wrong guess costs a call more, and is never used (`exchange.answers`).
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from handler.errors import CommitNotFound, Git2EfsError, PublisherRefused, PublisherUnavailable
from handler.exchange.answers import FAILURES, Answers, Failure, Need, PackAnswer, RefsAnswer
from handler.exchange.publisher import MAX_PACK_BYTES, MAX_ROUNDS, PublishAnswer, PublishRequest
from handler.exchange.remote import FetchQuery, copy_history, mirror_history
from handler.model import NULL_OID, Outcome, OutcomeKind, PublishRule, PushEvent, Repository, Target, Tip
from handler.network.pack_sender import FetchRefused, PackSender
from handler.network.remote.client import HttpRemote
from handler.network.trigger import Trigger

if TYPE_CHECKING:
    from handler.network.driver import Driver

_TRIES_BY_ID = 4
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class KnownTarget:
    """What the mount side last said of a target: what is published, and where a working copy's history ends."""

    commit: str | None
    shallow: tuple[str, ...] | None = None


@dataclass(slots=True, kw_only=True)
class DrivenRun:
    """One run; see `Driver.reconcile`."""

    driver: "Driver"
    repository: Repository
    target: Target
    remote: HttpRemote
    trigger: Trigger
    begin: Callable[[str], None]
    refs: list[RefsAnswer] = field(default_factory=list)
    packs: list[PackAnswer] = field(default_factory=list)
    bytes_fetched: int = 0
    network_seconds: float = 0.0
    has_begun: bool = False

    def drive(self, *, is_probably_done: bool) -> Outcome:
        """Drive the run to its outcome. `is_probably_done` asks the mount side before the remote.

        Raises PublisherUnavailable, PublisherRefused.
        """
        answer = self._publish() if is_probably_done else None
        if answer is None or answer.need is not None:
            answer = self._guess() or self._publish()
        for _ in range(MAX_ROUNDS):
            if answer.outcome is not None:
                return answer.outcome
            assert answer.need is not None
            self._fulfil(answer.need)
            answer = self._publish()
        raise PublisherUnavailable(f"{self.target.path} is not published after {MAX_ROUNDS} rounds")

    # -- the guess ---------------------------------------------------------------------------------------------------

    def _guess(self) -> PublishAnswer | None:
        """Ask for the ref, and fetch what is most likely needed; both at once where the payload says enough.

        Returns what the mount side said of a large guess that it does not need.
        """
        publisher = self.driver.publisher
        if not publisher.is_remote and self.driver.known(self.target.path) is None:
            self._look()
        query, is_asleep = self._query_of_push(), not publisher.is_warm()
        if query is None and not is_asleep:
            self._ask()
            return self._fetch_guess(self._query_of_tip(), lambda: None)
        with ThreadPoolExecutor(2, thread_name_prefix="ask") as pool:
            # A function that sleeps takes a second or more to wake: meanwhile the remote can be asked.
            looked = pool.submit(self._look) if is_asleep else None
            asked = pool.submit(self._ask)
            waits: list[Future[None]] = [each for each in (looked, asked) if each is not None]
            if query is None:
                _wait(waits)
                query = self._query_of_tip()
            answer = self._fetch_guess(query, lambda: _wait(waits))
            _wait(waits)
            return answer

    def _look(self) -> None:
        found = self.driver.publisher.look(self.repository.full_name, self.target)
        known = self.driver.known(self.target.path)
        if known is None or known.commit != found.commit:
            self.driver.know(self.target.path, KnownTarget(found.commit))

    def _query_of_push(self) -> FetchQuery | None:
        """Return the fetch that the payload makes likely; None where the ref should be asked for first."""
        push, have = self._push_to_guess_by(), self._have()
        # A push that does not start from what is published was overtaken, or has overtaken others, or is delivered
        # again: then the ref most likely names another commit, or one that is here. In a burst most pushes find their
        # work done.
        if push is None or have is None or have != push.before or self.trigger.is_late:
            return None
        return self._query(push.after, have, is_next=push.is_single)

    def _query_of_tip(self) -> FetchQuery | None:
        """Return the fetch that the ref's answer makes likely for a push that has waited; None where none is."""
        push, have, tip = self._push_to_guess_by(), self._have(), self._tip()
        if push is None or have is None or tip is None or have == tip.commit or not self.trigger.is_late:
            return None
        is_next = push.is_single and push.after == tip.object_id and push.before == have
        return self._query(tip.object_id, have, is_next=is_next)

    def _push_to_guess_by(self) -> PushEvent | None:
        """Return the push; None where a guess would most likely be in vain."""
        # A timer and an operator know nothing of what is there; and for a second target the first one's run has fetched
        # into the mirror.
        return self.trigger.push if self.trigger.is_first or self.target.is_copy else None

    def _have(self) -> str | None:
        """Return what is most likely published; None where nothing is."""
        # A first publish is not guessed: it is large, and a run that was killed may have fetched it.
        known, push = self.driver.known(self.target.path), self.trigger.push
        if known is not None:
            return known.commit
        return push.before if push is not None and push.before != NULL_OID else None

    def _query(self, want: str, have: str | None, *, is_next: bool) -> FetchQuery | None:
        """Return the query that the mount side is going to ask; None where that depends on what only it knows."""
        depth = self.repository.depth
        if not self.target.is_copy:
            return FetchQuery(want, have, *mirror_history(have, depth, is_next=is_next and have is not None))
        known = self.driver.known(self.target.path)
        shallow = known.shallow if known is not None else None
        if shallow is None and have is not None and depth != 0:
            return None
        return FetchQuery(want, have, *copy_history(have, depth, shallow or ()))

    def _fetch_guess(self, query: FetchQuery | None, wait: Callable[[], None]) -> PublishAnswer | None:
        """Fetch; return what the mount side said of a pack that it does not need. `wait()` ends what goes on beside."""
        if query is None:
            return None
        said: list[PublishAnswer] = []

        def is_needed() -> bool:
            wait()
            said[:] = [self._publish()]
            need = said[0].need
            return need is not None and need.fetch == query and not need.is_size_enough

        sender = self._sender(is_needed=is_needed)
        try:
            self._fetch(query, sender)
        except FetchRefused:
            return said[0]
        except CommitNotFound:
            # The replica that answers may lag behind the one that named the commit: it is asked again if need be.
            pass
        except Git2EfsError as error:
            self._add_failed(query, error, transfer=sender.transfer)
        return None

    # -- asking and fetching -------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Ask the remote what the target's ref names; a failure is an answer too."""
        ref, asked_at, started = self.target.ref, self.driver.clock(), time.perf_counter()
        try:
            answer = RefsAnswer(ref=ref, asked_at=asked_at, tip=self.remote.refs([ref]).tips.get(ref))
        except Git2EfsError as error:
            answer = RefsAnswer(ref=ref, asked_at=asked_at, failed=_failure(error))
        self.refs.append(answer)
        self.network_seconds += time.perf_counter() - started

    def _tip(self) -> Tip | None:
        return self.refs[-1].tip if self.refs else None

    def _sender(self, *, is_needed: Callable[[], bool] | None = None, is_size_enough: bool = False) -> PackSender:
        return PackSender(
            self.driver.publisher,
            self.repository.full_name,
            max_bytes=self.driver.max_pack_bytes,
            is_needed=is_needed,
            is_size_enough=is_size_enough,
        )

    def _fetch(self, query: FetchQuery, sender: PackSender) -> None:
        asked_at, started = self.driver.clock(), time.perf_counter()
        try:
            changes = self.remote.fetch(query, sender.begin)
            self.packs.append(sender.answer(query, changes, asked_at=asked_at))
        finally:
            self.bytes_fetched += sender.size
            self.network_seconds += time.perf_counter() - started

    def _fulfil(self, need: Need) -> None:
        """Ask and fetch what the mount side needs. Raises PublisherRefused where that is none of this run's."""
        if need.after_seconds > 0:
            self.driver.sleep(self.trigger.deadline.bound(min(need.after_seconds, _LONGEST_PAUSE_SECONDS)))
        if need.ref is not None:
            self._ask()
        if need.fetch is not None:
            self._refuse_foreign(need.fetch)
            self._fetch_needed(need.fetch, is_size_enough=need.is_size_enough)

    def _refuse_foreign(self, query: FetchQuery) -> None:
        # Whoever has taken over the mount side must not read other branches of the repository with our token.
        push = self.trigger.push
        own = {each.tip.object_id for each in self.refs if each.tip is not None} | ({push.after} if push else set())
        if query.want not in own:
            raise PublisherRefused(f"the publisher asks for {query.want}, which this run is not about")

    def _fetch_needed(self, query: FetchQuery, *, is_size_enough: bool) -> None:
        """Fetch; a failure is an answer too. A commit that the remote does not know is asked for a few times."""
        for number in range(1, _TRIES_BY_ID + 1):
            sender = self._sender(is_size_enough=is_size_enough)
            asked_at = self.driver.clock()
            try:
                return self._fetch(query, sender)
            except FetchRefused:
                self.packs.append(PackAnswer(query=query, asked_at=asked_at, size=sender.size))
                return None
            except Git2EfsError as error:
                # The replica that answers may lag behind the one that named the commit.
                if not isinstance(error, CommitNotFound) or number == _TRIES_BY_ID or is_size_enough:
                    self._add_failed(query, error, transfer=sender.transfer)
                    return None
            self.driver.sleep(_PAUSE_SECONDS)
        return None

    def _add_failed(self, query: FetchQuery, error: Git2EfsError, *, transfer: str | None) -> None:
        # At the time of the failure: a later answer of the remote's about its refs is what makes it out of date.
        self.packs.append(
            PackAnswer(query=query, asked_at=self.driver.clock(), transfer=transfer, failed=_failure(error))
        )

    # -- the mount side ------------------------------------------------------------------------------------------------

    def _publish(self) -> PublishAnswer:
        """Hand the mount side all answers so far, and put the events that it gives out."""
        self._begin()
        answer = self.driver.publisher.publish(
            PublishRequest(
                repository=self._sent_repository(),
                target=self.target,
                push=self.trigger.push,
                delivery=self.trigger.delivery,
                received_at=self.trigger.received_at,
                answers=Answers(tuple(self.refs), tuple(self._packs_that_fit()), self.bytes_fetched),
                deadline=self.trigger.deadline,
            )
        )
        retired = self.driver.put_events(answer.events)
        self._remember(answer)
        if answer.outcome is None:
            return answer
        durations = answer.outcome.durations
        outcome = replace(
            answer.outcome,
            durations=replace(durations, fetch_ms=durations.fetch_ms + self.network_seconds * 1000),
        )
        if retired is not None:
            outcome = replace(
                outcome, kind=retired.kind, reason=retired.reason, commit=None, last_success_age_seconds=None
            )
        return replace(answer, outcome=outcome)

    def _sent_repository(self) -> Repository:
        """Return what the mount side may know: a working copy's `.git/config` names the url, and nothing the token."""
        return replace(
            self.repository,
            url=self.repository.url if self.target.is_copy else "",
            credentials=None,
            commit_status=False,
            own_secret=False,
            publish=(PublishRule(),),
        )

    def _packs_that_fit(self) -> list[PackAnswer]:
        """Return the answers to send, without the oldest packs where all together would be too large a message."""
        sent: list[PackAnswer] = []
        room = MAX_PACK_BYTES
        for answer in reversed(self.packs):
            room -= len(answer.pack or b"")
            if answer.pack is None or room >= 0:
                sent.append(answer)
        return sent[::-1]

    def _begin(self) -> None:
        """Tell that the run most likely publishes the ref's commit now, once, when its objects are there."""
        tip = self._tip()
        # Not of a tag: what it names may be no commit.
        if self.has_begun or tip is None or not tip.ref.startswith("refs/heads/"):
            return
        if self.packs and self.packs[-1].query.want == tip.object_id:
            self.has_begun = True
            self.begin(tip.commit)

    def _remember(self, answer: PublishAnswer) -> None:
        path, query = self.target.path, answer.need.fetch if answer.need is not None else None
        if query is not None and query.want == self._wanted():
            self.driver.know(path, KnownTarget(query.have, query.shallow))
        if answer.outcome is None:
            return
        if answer.outcome.kind is OutcomeKind.FAILED:
            self.driver.know(path, None)
        else:
            self.driver.know(path, KnownTarget(answer.outcome.commit, self._shallow_after()))

    def _wanted(self) -> str | None:
        tip = self._tip()
        return tip.object_id if tip is not None else None

    def _shallow_after(self) -> tuple[str, ...] | None:
        """Return where a working copy's history ends after what was fetched; None where that is not known."""
        known = self.driver.known(self.target.path)
        if not self.target.is_copy or not self.packs or self.packs[-1].query.want != self._wanted():
            return known.shallow if known is not None else None
        last = self.packs[-1]
        return tuple(sorted({*last.query.shallow, *last.shallow} - set(last.unshallow)))


def _wait(futures: list[Future[None]]) -> None:
    for each in futures:
        each.result()


def _failure(error: Git2EfsError) -> Failure:
    """Return a remote's failure as an answer. Raises the error itself where it is no remote's."""
    if error.reason not in FAILURES:
        raise error
    return Failure(error.reason, str(error))
