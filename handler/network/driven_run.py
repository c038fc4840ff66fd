"""One run of one target, from the network side: guess, ask and fetch, let the mount side publish, fulfil what it needs.

The guess comes from the payload alone: a push most likely builds on what is published, and its commit is the tip. So
the ref is asked for and the commit is fetched at the same time, before anybody looks at the mount, and a normal push
takes one call of the mount side. A wrong guess costs a call more, and is never used (`exchange.answers`).
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from handler.errors import CommitNotFound, Git2EfsError, PublisherRefused, PublisherUnavailable
from handler.exchange.answers import FAILURES, Answers, Failure, Need, PackAnswer, RefsAnswer
from handler.exchange.events import PendingEvent
from handler.exchange.publisher import MAX_PACK_BYTES, MAX_ROUNDS, PublishAnswer, Publisher, PublishRequest
from handler.exchange.remote import FetchQuery, history_bytes
from handler.model import Outcome, OutcomeKind, PublishRule, Repository, Target, Tip
from handler.network.guess import Guess, KnownTarget, KnownTargets, Look
from handler.network.pack_sender import FetchRefused, PackSender
from handler.network.remote.client import HttpRemote
from handler.network.trigger import Trigger

_TRIES_BY_ID = 4
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class DrivenRun:
    """One run; see `Driver.reconcile`."""

    publisher: Publisher
    makes_spares: bool
    known: KnownTargets
    put_events: Callable[[tuple[PendingEvent, ...]], Outcome | None]
    max_pack_bytes: int
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    repository: Repository
    target: Target
    remote: HttpRemote
    trigger: Trigger
    begin: Callable[[str], None]
    waking: Future[Look] | None = None
    """A look that is under way already, at the path where the ref usually goes."""
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
        has_looked = self.waking is not None and self.waking.done()
        if has_looked or (not self.publisher.is_remote and self.known.get(self.target.path) is None):
            self._look()
        guess = Guess(self.repository, self.target, self.trigger, self.known.get(self.target.path))
        query, is_asleep = guess.of_push(), not self.publisher.is_warm()
        if query is None and not is_asleep:
            self._ask()
            return self._fetch_guess(guess.of_tip(self._tip()), lambda: None)
        with ThreadPoolExecutor(2, thread_name_prefix="ask") as pool:
            # A function that sleeps takes a second or more to wake: meanwhile the remote can be asked.
            looked = pool.submit(self._look) if is_asleep else None
            asked = pool.submit(self._ask)
            waits: list[Future[None]] = [each for each in (looked, asked) if each is not None]
            if query is None:
                _wait(waits)
                guess = replace(guess, known=self.known.get(self.target.path))
                query = guess.of_tip(self._tip())
            answer = self._fetch_guess(query, lambda: _wait(waits))
            _wait(waits)
            return answer

    def _look(self) -> None:
        path = self.target.path
        if self.waking is None:
            self.known.put_commit(path, self.publisher.look(self.repository.full_name, self.target).commit)
            return
        # A second call beside it would start a second environment. If it failed, this run's own call says why.
        found = self.waking.result() if self.waking.exception() is None else None
        if found is not None and found.path == path and not self.target.is_copy:
            self.known.put_commit(path, found.commit)

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

        sender = self._sender(query, is_needed=is_needed)
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
        ref, asked_at, started = self.target.ref, self.clock(), time.perf_counter()
        try:
            tip = self.remote.refs([ref]).tips.get(ref)
            answer = RefsAnswer(ref=ref, asked_at=asked_at, answered_at=self.clock(), tip=tip)
        except Git2EfsError as error:
            answer = RefsAnswer(ref=ref, asked_at=asked_at, failed=_failure(error))
        self.refs.append(answer)
        self.network_seconds += time.perf_counter() - started

    def _tip(self) -> Tip | None:
        return self.refs[-1].tip if self.refs else None

    def _sender(
        self, query: FetchQuery, *, is_needed: Callable[[], bool] | None = None, is_size_enough: bool = False
    ) -> PackSender:
        return PackSender(
            self.publisher,
            self.repository.full_name,
            max_bytes=self.max_pack_bytes,
            max_history_bytes=history_bytes(query, self.repository.depth),
            is_needed=is_needed,
            is_size_enough=is_size_enough,
        )

    def _fetch(self, query: FetchQuery, sender: PackSender) -> None:
        asked_at, started = self.clock(), time.perf_counter()
        try:
            changes = self.remote.fetch(query, sender.begin)
            self.packs.append(sender.answer(query, changes, asked_at=asked_at))
        finally:
            self.bytes_fetched += sender.size
            self.network_seconds += time.perf_counter() - started

    def _fulfil(self, need: Need) -> None:
        """Ask and fetch what the mount side needs. Raises PublisherRefused where that is none of this run's."""
        if need.after_seconds > 0:
            self.sleep(self.trigger.deadline.bound(min(need.after_seconds, _LONGEST_PAUSE_SECONDS)))
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
            sender, asked_at = self._sender(query, is_size_enough=is_size_enough), self.clock()
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
            self.sleep(_PAUSE_SECONDS)
        return None

    def _add_failed(self, query: FetchQuery, error: Git2EfsError, *, transfer: str | None) -> None:
        # At the time of the failure: a later answer of the remote's about its refs is what makes it out of date.
        self.packs.append(PackAnswer(query=query, asked_at=self.clock(), transfer=transfer, failed=_failure(error)))

    # -- the mount side ------------------------------------------------------------------------------------------------

    def _publish(self) -> PublishAnswer:
        """Hand the mount side all answers so far, and put the events that it gives out."""
        self._begin()
        answer = self.publisher.publish(
            PublishRequest(
                repository=self._sent_repository(),
                target=self.target,
                push=self.trigger.push,
                delivery=self.trigger.delivery,
                received_at=self.trigger.received_at,
                answers=Answers(tuple(self.refs), tuple(self._packs_that_fit()), self.bytes_fetched),
                deadline=self.trigger.deadline,
                makes_spares=self.makes_spares,
            )
        )
        retired = self.put_events(answer.events)
        self._remember(answer)
        if answer.outcome is None:
            return answer
        durations = answer.outcome.durations
        outcome = replace(
            answer.outcome,
            durations=replace(durations, fetch_ms=durations.fetch_ms + self.network_seconds * 1000),
        )
        if retired is not None and retired.path == outcome.path:  # and not of a target that had to go first
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
            self.known.put(path, KnownTarget(query.have, query.shallow))
        if answer.outcome is not None:
            is_failed = answer.outcome.kind is OutcomeKind.FAILED
            self.known.put(path, None if is_failed else KnownTarget(answer.outcome.commit, self._shallow_after()))

    def _wanted(self) -> str | None:
        tip = self._tip()
        return tip.object_id if tip is not None else None

    def _shallow_after(self) -> tuple[str, ...] | None:
        """Return where a working copy's history ends after what was fetched; None where that is not known."""
        known = self.known.get(self.target.path)
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
