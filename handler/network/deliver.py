"""From a request to its outcomes: which targets publish the ref, each reconciled, each failure an outcome."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from handler.config.targets import needs_default_branch, targets_of
from handler.config.versions import newest
from handler.errors import Git2EfsError
from handler.exchange.events import failed
from handler.exchange.trigger import Trigger
from handler.model import Outcome, OutcomeKind, Repository, Target
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.generation_cache import GenerationCache
from handler.mount.git.store_pool import StorePool
from handler.mount.reconcile import Reconciler
from handler.mount.target.notify import Emit
from handler.network.forges.statuses import DeliveryStatuses, Statuses
from handler.network.remote.client import HttpRemote, RemotePool
from handler.outcome import ignored, outcome_of
from handler.settings import Settings

_DEFAULT_BRANCH_SECONDS = 60
_MAX_DEFAULT_BRANCHES = 1000


class Deliverer:
    """Delivers requests; keeps connections, packs and default branches between deliveries. Safe for threads."""

    def __init__(
        self,
        settings: Settings,
        progress: Callable[[str, int, int], None],
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`progress` is told about long check-outs (see `Reconciler`), `warn` what an operator should mend.

        Nothing is opened yet.
        """
        self._clock = clock
        self._remotes = RemotePool(settings, sleep)
        self._mirrors = StorePool()
        self.emit = _announcer(settings, warn)
        self._reconciler = Reconciler(settings, self._mirrors, GenerationCache(), clock, sleep, progress, self.emit)
        self._statuses = Statuses(warn)
        self._default_branches: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def close(self) -> None:
        """Close what is kept open."""
        self._remotes.close()
        self._mirrors.close()
        self._statuses.close()

    def remote(self, repository: Repository, token: str | None) -> HttpRemote:
        """Return the repository's remote."""
        return self._remotes.at(repository.url, token)

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
        remembered, until = self._default_branches.get(repository.full_name, (None, 0.0))
        if remembered == ref and self._clock() < until:
            return remembered
        head = remote.refs([], with_head=True).head
        if head is not None:
            self._default_branches[repository.full_name] = (head, self._clock() + _DEFAULT_BRANCH_SECONDS)
            if len(self._default_branches) > _MAX_DEFAULT_BRANCHES:
                self._default_branches.popitem(last=False)
        return head

    def _reconcile(
        self, repository: Repository, target: Target, remote: HttpRemote, request: Trigger, statuses: DeliveryStatuses
    ) -> Outcome:
        begin = partial(statuses.begin, target.path)
        try:
            if target.is_latest:
                latest = _newest(target, remote, request)
                if latest is None:
                    return replace(ignored("ref_gone", repository.full_name, target.ref), path=target.path)
                target, request = latest
            outcome = self._reconciler.reconcile(repository, target, remote, request, begin)
        except Exception as error:  # whatever it is: this target fails with it, the others do not
            outcome = self._failed(repository, target, as_failure(error))
        statuses.conclude(target.path, outcome)
        if self.emit is not None and outcome.kind is OutcomeKind.FAILED:
            pushed_commit = request.push.after if request.push is not None else None
            self.emit(failed(outcome, target, request.delivery, self._clock(), pushed_commit))
        return outcome

    def _failed(self, repository: Repository, target: Target, error: Git2EfsError) -> Outcome:
        outcome = replace(outcome_of(error), repository=repository.full_name, ref=target.ref, path=target.path)
        try:
            found = self._reconciler.directory(target).read_published()
        except (Git2EfsError, OSError):
            return outcome  # the first failure is the one to tell
        age = max(0.0, self._clock() - found.record.asked_at) if found.record else None
        return replace(outcome, commit=found.commit, last_success_age_seconds=age)


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


def _announcer(settings: Settings, warn: Callable[[str], None]) -> Emit | None:
    if not settings.event_bus:
        return None
    from handler.network.aws.eventbridge import EventBus  # who tells nobody does not pay for it

    return EventBus(settings.event_bus, warn).emit
