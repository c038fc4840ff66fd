"""A webhook's delivery: verify → read → route → deliver or queue.

The order is fixed: nothing of a body is read before its size is bounded and its signature verified, and what cannot be
verified costs neither a file operation nor a request to any remote.

With a queue the work is a worker's, and nothing of git or of the mount is loaded here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from handler.config.targets import refuse_common_secret, refuse_other_forge, refuse_other_repository, targets_of
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import Git2EfsError, Rejected, RepositoryUnknown
from handler.model import Delivery, Forge, Outcome, OutcomeKind, PushEvent, Repository
from handler.network.aws.api_gateway import HttpRequest, read_request, read_route
from handler.network.aws.parameters import Parameters
from handler.network.forges import Receives, github, receiver_of
from handler.network.forges.github import SignatureMismatch, without_future
from handler.network.queue.message import Cause, Message
from handler.network.queue.sqs import Queue
from handler.network.trigger import Trigger
from handler.outcome import failed_push, ignored, outcome_of
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.network.deliver import Deliverer


class Receiver:
    """What one process keeps between deliveries. Safe for threads."""

    def __init__(self, settings: Settings, deliverer: "Deliverer | None") -> None:
        """`deliverer` is None where `settings` name a queue. Connects to nothing."""
        self._settings = settings
        self._parameters = Parameters(settings)
        self._queue = Queue(settings.queue_url) if settings.queue_url else None
        self._deliverer = deliverer

    def close(self) -> None:
        """Close what is kept open."""
        if self._deliverer is not None:
            self._deliverer.close()
        self._parameters.close()

    def prepare(self) -> None:
        """Make the clients now, and connect to nothing. Raises ConfigurationInvalid."""
        self._parameters.prepare()
        if self._queue is not None:
            self._queue.prepare()

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored secrets, without showing them."""
        return self._parameters.secret_problems()

    def verify(self, event: object) -> Delivery:
        """Return the delivery that the event carries, its signature verified. Raises Git2EfsError."""
        request = read_request(event, max_body_bytes=self._settings.max_body_bytes)
        forge, named = read_route(request.path)
        # The common secret (None) is GitHub's; each other forge has its own.
        whose = named or (None if forge is Forge.GITHUB else str(forge))
        try:
            self._verify(forge, request, self._parameters.webhook_secrets(whose))
        except SignatureMismatch:
            # The secret may have been replaced since it was read.
            fresh = self._parameters.refresh_webhook_secrets(whose)
            if fresh is None:
                raise
            self._verify(forge, request, fresh)
        self._parameters.note_verified(named)
        delivery = _module_of(forge).read_delivery(request.headers, request.body)
        return replace(delivery, forge=forge, url_repository=named)

    def _verify(self, forge: Forge, request: HttpRequest, secrets: Sequence[bytes]) -> None:
        if forge is Forge.GITHUB:
            allow_sha1 = self._settings.allow_sha1
            github.verify_signature(request.body, request.headers, secrets, allow_sha1=allow_sha1)
        else:
            receiver_of(forge).verify_signature(request.body, request.headers, secrets)

    def deliver(self, delivery: Delivery, received_at: float, deadline: Deadline = NO_DEADLINE) -> tuple[Outcome, ...]:
        """Do what a verified delivery asks for; return one outcome a target. Raises Rejected.

        `received_at` is in seconds of our clock.
        """
        forge = _module_of(delivery.forge)
        try:
            if delivery.event in forge.PING_EVENTS:
                return (self._answer_ping(delivery),)
            if delivery.event not in forge.PUSH_EVENTS:
                return (Outcome(kind=OutcomeKind.IGNORED, reason="event_not_push"),)
            path, events = forge.read_pushed(delivery)
            outcomes: list[Outcome] = []
            for event in events:
                push = without_future(event, received_at)
                refuse_other_repository(delivery.url_repository, push.repository)
                trigger = Trigger(
                    ref=push.ref, push=push, delivery=delivery.id, received_at=received_at, deadline=deadline
                )
                outcomes += self._deliver_push(delivery, path, push, trigger)
        except RepositoryUnknown as error:
            if error.status == forge.UNKNOWN_STATUS:
                raise
            # Some forges switch a webhook off that is answered so, also for the repositories that are known.
            return (replace(outcome_of(error), status=forge.UNKNOWN_STATUS),)
        return tuple(outcomes) or (Outcome(kind=OutcomeKind.IGNORED, reason="ref_not_published"),)

    def _answer_ping(self, delivery: Delivery) -> Outcome:
        if delivery.url_repository is not None:
            full_name = _module_of(delivery.forge).read_pinged(delivery)
            if full_name is not None:
                refuse_other_repository(delivery.url_repository, full_name)
        return Outcome(kind=OutcomeKind.IGNORED, reason="pong")

    def _deliver_push(
        self, delivery: Delivery, path: str | None, push: PushEvent, trigger: Trigger
    ) -> tuple[Outcome, ...]:
        try:
            if self._queue is not None:
                return (self._send(self._queue, self._read_repository(delivery, path, push), push, trigger),)
            assert self._deliverer is not None
            # Only now: what could not be verified must not cost an invocation. And before Parameter Store is asked.
            with self._deliverer.waking(push.repository, push.ref, trigger.deadline):
                repository = self._read_repository(delivery, path, push)
                return self._deliverer.deliver(repository, self._parameters.token_of(repository), trigger)
        except Rejected:
            raise
        except Git2EfsError as error:
            return (failed_push(error, push),)

    def _read_repository(self, delivery: Delivery, path: str | None, push: PushEvent) -> Repository:
        repository = self._parameters.repository(push.repository)
        refuse_other_forge(repository, delivery.forge, path)
        refuse_common_secret(repository, delivery.url_repository)
        return repository

    def _send(self, queue: Queue, repository: Repository, push: PushEvent, trigger: Trigger) -> Outcome:
        """Queue the push, unless no target can publish its ref."""
        # The signed payload's word for the default branch is enough to ignore a push by, and saves a request to the
        # remote; were it outdated, the schedule would find what is behind. Without its word, every branch may be it.
        default_branch_ref = push.default_branch_ref or push.ref
        if not targets_of(repository, push.ref, default_branch_ref):
            return ignored("ref_not_published", push.repository, push.ref)
        queue.send(
            Message(
                cause=Cause.PUSH,
                repository=push.repository,
                ref=push.ref,
                delivery=trigger.delivery,
                received_at=trigger.received_at,
                push=push,
            )
        )
        return Outcome(kind=OutcomeKind.ACCEPTED, reason="queued", status=202, repository=push.repository, ref=push.ref)


def _module_of(forge: Forge) -> Receives:
    return github if forge is Forge.GITHUB else receiver_of(forge)
