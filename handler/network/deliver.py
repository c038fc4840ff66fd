"""From a request to its outcomes: which targets publish the ref, each reconciled, each failure an outcome."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from handler.config.targets import needs_default_branch, ref_prefixes, targets_of
from handler.config.versions import newest
from handler.exchange.drift import RepositoryDrift
from handler.exchange.events import Emit, failed
from handler.exchange.publisher import Publisher
from handler.exchange.trigger import Trigger
from handler.model import BoundedMapping, Outcome, OutcomeKind, Repository, Target
from handler.network.forges.statuses import DeliveryStatuses, Statuses
from handler.network.remote.client import HttpRemote, RemotePool
from handler.outcome import as_failure, ignored
from handler.settings import Settings

_DEFAULT_BRANCH_SECONDS = 60
_MAX_DEFAULT_BRANCHES = 1000


class Deliverer:
    """Delivers requests; keeps connections, packs and default branches between deliveries. Safe for threads."""

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        *,
        emit: Emit | None,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`emit` takes an event (None: nobody is told), `warn` what an operator should mend. Opens nothing yet."""
        self._clock = clock
        self._remotes = RemotePool(settings, sleep)
        self._publisher = publisher
        self._emit = emit
        self._statuses = Statuses(warn)
        self._default_branches: BoundedMapping[str, tuple[str, float]] = BoundedMapping(_MAX_DEFAULT_BRANCHES)

    def close(self) -> None:
        """Close what is kept open, the publisher too."""
        self._remotes.close()
        self._publisher.close()
        self._statuses.close()

    def remote(self, repository: Repository, token: str | None) -> HttpRemote:
        """Return the repository's remote."""
        return self._remotes.at(repository.url, token)

    def drift(self, repository: Repository, token: str | None) -> RepositoryDrift:
        """Ask the remote what its refs name, and return which targets are behind.

        Raises RemoteUnavailable, RemoteRefused, RemoteUnsupported, and what `Publisher.drift` raises.
        """
        remote = self.remote(repository, token)
        refs = remote.refs(list(ref_prefixes(repository)), with_head=needs_default_branch(repository))
        return self._publisher.drift(repository, refs)

    def deliver(self, repository: Repository, token: str | None, request: Trigger) -> tuple[Outcome, ...]:
        """Bring every target that publishes the request's ref to what the remote says; one outcome a target.

        A target's failure is its outcome. Raises only what keeps the targets from being found: RemoteUnavailable,
        RemoteRefused, RemoteUnsupported, ConfigurationInvalid.
        """
        is_deleted = request.push is not None and request.push.is_deleted
        if is_deleted:
            # There is no commit to ask for by its id; what the ref says is asked as ever.
            request = replace(request, push=None)
        remote = self._remotes.at(repository.url, token)
        targets = targets_of(repository, request.ref, self._default_branch(repository, remote, request.ref))
        if not targets:
            return (ignored("ref_not_published", repository.full_name, request.ref),)
        if is_deleted and not any(target.is_retirable or target.is_latest for target in targets):
            return (ignored("ref_deleted", repository.full_name, request.ref),)
        statuses = self._statuses.of(repository, token, request.push)
        try:
            return tuple(self._reconcile(repository, target, remote, request, statuses) for target in targets)
        finally:
            statuses.close()

    def _default_branch(self, repository: Repository, remote: HttpRemote, ref: str) -> str | None:
        """Return the remote's default branch; remembered for a while, but only to go on: to ignore, it is asked."""
        if not needs_default_branch(repository):
            return None
        remembered, until = self._default_branches.get(repository.full_name) or (None, 0.0)
        if remembered == ref and self._clock() < until:
            return remembered
        head = remote.refs([], with_head=True).head
        if head is not None:
            self._default_branches.put(repository.full_name, (head, self._clock() + _DEFAULT_BRANCH_SECONDS))
        return head

    def _reconcile(
        self, repository: Repository, target: Target, remote: HttpRemote, request: Trigger, statuses: DeliveryStatuses
    ) -> Outcome:
        try:
            latest = _newest(target, remote, request) if target.is_latest else (target, request)
        except Exception as error:  # whatever it is: this target fails with it, the others do not
            outcome = self._publisher.failed(repository, target, as_failure(error))
        else:
            if latest is None:
                return replace(ignored("ref_gone", repository.full_name, target.ref), path=target.path)
            target, request = latest
            begin = partial(statuses.begin, target.path)
            outcome = self._publisher.reconcile(repository, target, remote, request, begin)
        statuses.conclude(target.path, outcome)
        if self._emit is not None and outcome.kind is OutcomeKind.FAILED:
            pushed_commit = request.push.after if request.push is not None else None
            self._emit(failed(outcome, target, request.delivery, self._clock(), pushed_commit))
        return outcome


def _newest(target: Target, remote: HttpRemote, request: Trigger) -> tuple[Target, Trigger] | None:
    """Return the target of the newest tag, and what is asked of it; None where no tag matches.

    The pushed tag counts even if the remote's answer lacks it: it may lag behind its webhook.
    """
    push = request.push
    names = set(remote.refs([target.ref.removesuffix("*")]).tips)
    ref = newest(names | ({push.ref} if push is not None else set()), target.ref, prereleases=target.prereleases)
    if ref is None:
        return None
    request = replace(request, ref=ref, push=push if push is not None and push.ref == ref else None)
    return replace(target, ref=ref, is_latest=False), request
