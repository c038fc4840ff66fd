"""From a trigger to its outcomes: find the targets that publish its ref, and reconcile each of them."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from handler.config.targets import needs_default_branch, ref_prefixes, targets_of
from handler.config.versions import newest
from handler.deadline import Deadline
from handler.errors import Git2EfsError, PublisherRefused, PublisherUnavailable
from handler.exchange.events import PendingEvent, PutEvent, failed_event, pending
from handler.model import Forge, Outcome, OutcomeKind, Repository, Target
from handler.network.aws.cache import BoundedMapping
from handler.network.driver import Driver
from handler.network.forges import git_header_of
from handler.network.forges.statuses import DeliveryStatuses, Statuses
from handler.network.remote.authorization import Authorization, basic
from handler.network.remote.client import HttpRemote, RemotePool
from handler.network.survey import Surveyor
from handler.network.trigger import Trigger
from handler.outcome import RunFailed, as_failure, ignored, outcome_of
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.exchange.drift import RepositoryDrift
    from handler.exchange.publisher import Publisher
    from handler.exchange.remote import RemoteRefs
    from handler.network.aws.credentials import Token

_DEFAULT_BRANCH_SECONDS = 60
_MAX_DEFAULT_BRANCHES = 1000


class Deliverer:
    """Delivers triggers; keeps connections and default branches between deliveries. Safe for threads."""

    def __init__(
        self,
        settings: Settings,
        publisher: "Publisher",
        *,
        put: PutEvent | None,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`put` puts an event (None: no events); `warn` is called with what an operator should mend."""
        self._clock = clock
        self._remotes = RemotePool(settings, sleep)
        self._publisher = publisher
        self._put = put
        self._driver = Driver(
            publisher,
            put=put,
            settings=settings,
            clock=clock,
            sleep=sleep,
        )
        self._surveyor = Surveyor(publisher)
        self._statuses = Statuses(warn, self._remotes.pool_at)
        self._default_branches: BoundedMapping[str, tuple[str, float]] = BoundedMapping(_MAX_DEFAULT_BRANCHES)

    def close(self) -> None:
        """Close what is kept open, the publisher too."""
        self._remotes.close()
        self._driver.close()
        self._publisher.close()
        self._statuses.close()

    def remote(self, repository: Repository, token: "Token | None", deadline: Deadline) -> HttpRemote:
        """Return the repository's remote; no request to it outlives `deadline`."""
        if token is None:
            return self._remotes.at(repository.url, None, deadline)
        authorization = None
        if token.value is not None:
            header_of = basic if repository.forge is Forge.GITHUB else git_header_of(repository)
            authorization = Authorization(token.value, token.renew, header_of)
        remote = self._remotes.at(repository.url, authorization, deadline)
        remote.ca = token.ca
        return remote

    def drift(self, repository: Repository, token: "Token | None", deadline: Deadline) -> "RepositoryDrift":
        """Ask the remote by `deadline` what its refs name, and return which targets are behind.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported, RemoteUntrusted, OutOfTime, ConfigurationInvalid,
        and the mount side's failures.
        """
        remote = self.remote(repository, token, deadline)
        refs = remote.refs(list(ref_prefixes(repository)), with_head=needs_default_branch(repository))
        return self.compare(repository, refs)

    def compare(self, repository: Repository, refs: "RemoteRefs") -> "RepositoryDrift":
        """Return which targets are behind `refs`, which the remote just answered. Raises the mount side's failures."""
        return self._surveyor.drift(repository, refs)

    def waking(self, repository: str, ref: str, deadline: Deadline) -> AbstractContextManager[None]:
        """Within the block, have a mount side that sleeps wake up. For verified requests alone; see `Driver.waking`."""
        return self._driver.waking(repository, ref, deadline)

    def put_events(self, events: tuple[PendingEvent, ...]) -> None:
        """Put events that an operator's command gave out. Raises nothing: the next run puts what was not put."""
        self._driver.put_events(events)

    def deliver(self, repository: Repository, token: "Token | None", trigger: Trigger) -> tuple[Outcome, ...]:
        """Reconcile every target that publishes the trigger's ref; return one outcome a target.

        A target's failure is its outcome. Raises only where the targets cannot be found: RemoteUnavailable,
        RemoteRefused, RemoteUnsupported, RemoteUntrusted, OutOfTime, ConfigurationInvalid, and what reading the token
        afresh raises.
        """
        is_deleted = trigger.push is not None and trigger.push.is_deleted
        if is_deleted:
            # There is no commit to fetch by its id; the ref is asked for as ever.
            trigger = replace(trigger, push=None)
        remote = self.remote(repository, token, trigger.deadline)
        targets = targets_of(repository, trigger.ref, self._default_branch(repository, remote, trigger.ref))
        if not targets:
            return (ignored("ref_not_published", repository.full_name, trigger.ref),)
        if is_deleted and not any(target.is_retirable or target.is_latest for target in targets):
            return (ignored("ref_deleted", repository.full_name, trigger.ref),)
        statuses = (
            self._statuses.of(repository, token.value if token else None, trigger.push, token.ca if token else None)
            if repository.commit_status
            else None
        )
        try:
            outcomes = [
                # What the first target's run has fetched is in the mirror then: no later one fetches it on a guess.
                self._reconcile(repository, target, remote, replace(trigger, is_first=number == 0), statuses)
                for number, target in enumerate(targets)
            ]
        finally:
            if statuses is not None:
                statuses.close()
        return tuple(outcomes)

    def _default_branch(self, repository: Repository, remote: HttpRemote, ref: str) -> str | None:
        """Return the remote's default branch; None where no rule needs it.

        A cached one only serves to publish: before a push is ignored, the remote is asked.
        """
        if not needs_default_branch(repository):
            return None
        cached, until = self._default_branches.get(repository.full_name) or (None, 0.0)
        if cached == ref and self._clock() < until:
            return cached
        head = remote.refs([], with_head=True).head
        if head is not None:
            self._default_branches.put(repository.full_name, (head, self._clock() + _DEFAULT_BRANCH_SECONDS))
        return head

    def _reconcile(
        self,
        repository: Repository,
        target: Target,
        remote: HttpRemote,
        trigger: Trigger,
        statuses: DeliveryStatuses | None,
    ) -> Outcome:
        try:
            latest = _newest_tag(target, remote, trigger) if target.is_latest else (target, trigger)
            if latest is None:
                return replace(ignored("ref_gone", repository.full_name, target.ref), path=target.path)
            target, trigger = latest
            begin = partial(statuses.begin, target.path) if statuses is not None else _begin_silently
            outcome = self._driver.reconcile(repository, target, remote, trigger, begin=begin)
        except RunFailed as failed:
            outcome = self._failed(repository, target, trigger, failed)
        except Exception as error:  # also a defect: this target fails with it, the others do not
            outcome = self._failed(repository, target, trigger, RunFailed(as_failure(error)))
        if statuses is not None:
            statuses.conclude(target.path, outcome)
        if self._put is not None and outcome.kind is OutcomeKind.FAILED:
            pushed_commit = trigger.push.after if trigger.push is not None else None
            event = failed_event(
                outcome, target, delivery=trigger.delivery, at=self._clock(), pushed_commit=pushed_commit
            )
            self._put(pending(event))
        return outcome

    def _failed(self, repository: Repository, target: Target, trigger: Trigger, failed: RunFailed) -> Outcome:
        """Return the outcome of a failure, with what readers of the target have meanwhile, if that can be told."""
        pushed = trigger.push.after if trigger.push is not None else None
        outcome = replace(
            outcome_of(failed.error),
            repository=repository.full_name,
            ref=target.ref,
            path=target.path,
            refused_commit=failed.refused_commit or pushed,
            counts=failed.counts,
            durations=failed.durations,
        )
        if isinstance(failed.error, PublisherUnavailable | PublisherRefused):
            return outcome
        try:
            seen = self._publisher.look(repository.full_name, target)
        except Git2EfsError:
            return outcome  # the first failure is the one to tell
        return replace(outcome, commit=seen.commit, last_success_age_seconds=seen.last_success_age_seconds)


def _begin_silently(commit: str) -> None:
    """Post no status."""


def _newest_tag(target: Target, remote: HttpRemote, trigger: Trigger) -> tuple[Target, Trigger] | None:
    """Return the target and the trigger for the newest tag; None where no tag matches.

    The pushed tag counts even if the remote's answer lacks it: that may lag behind its webhook.
    """
    push = trigger.push
    names = set(remote.refs([target.ref.removesuffix("*")]).tips)
    ref = newest(names | ({push.ref} if push is not None else set()), target.ref, prereleases=target.prereleases)
    if ref is None:
        return None
    trigger = replace(trigger, ref=ref, push=push if push is not None and push.ref == ref else None)
    return replace(target, ref=ref, is_latest=False), trigger
