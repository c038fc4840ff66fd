"""A webhook's delivery: verify → read → route → deliver or queue.

The order is fixed: nothing of a body is read before its size is bounded and its signature verified, and what cannot be
verified costs neither a file operation nor a request to any remote.

With a queue the work is a worker's, and nothing of git or of the mount is loaded here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from handler.config.targets import refuse_common_secret, refuse_other_repository, targets_of
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import Git2EfsError, Rejected
from handler.model import Delivery, Outcome, OutcomeKind, PushEvent, Repository
from handler.network.aws.api_gateway import read_request, url_repository
from handler.network.aws.parameters import Parameters
from handler.network.forges.github import (
    SignatureMismatch,
    read_delivery,
    read_full_name,
    read_payload,
    read_push,
    verify_signature,
    without_future,
)
from handler.network.queue.message import Cause, Message
from handler.network.queue.sqs import Queue
from handler.network.trigger import Trigger
from handler.outcome import failed_push, ignored
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
        named = url_repository(request.path)
        try:
            self._verify(request.headers, request.body, self._parameters.webhook_secrets(named))
        except SignatureMismatch:
            # The secret may have been replaced since it was read.
            fresh = self._parameters.refresh_webhook_secrets(named)
            if fresh is None:
                raise
            self._verify(request.headers, request.body, fresh)
        self._parameters.note_verified(named)
        return replace(read_delivery(request.headers, request.body), url_repository=named)

    def _verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes]) -> None:
        verify_signature(body, headers, secrets, allow_sha1=self._settings.allow_sha1)

    def deliver(self, delivery: Delivery, received_at: float, deadline: Deadline = NO_DEADLINE) -> tuple[Outcome, ...]:
        """Do what a verified delivery asks for; return one outcome a target. Raises Rejected.

        `received_at` is in seconds of our clock.
        """
        if delivery.event == "ping":
            if delivery.url_repository is not None:
                refuse_other_repository(delivery.url_repository, read_full_name(read_payload(delivery)))
            return (Outcome(kind=OutcomeKind.IGNORED, reason="pong"),)
        if delivery.event != "push":
            return (Outcome(kind=OutcomeKind.IGNORED, reason="event_not_push"),)
        push = without_future(read_push(read_payload(delivery)), received_at)
        refuse_other_repository(delivery.url_repository, push.repository)
        try:
            trigger = Trigger(ref=push.ref, push=push, delivery=delivery.id, received_at=received_at, deadline=deadline)
            return self._deliver_push(push, trigger, delivery.url_repository)
        except Rejected:
            raise
        except Git2EfsError as error:
            return (failed_push(error, push),)

    def _deliver_push(self, push: PushEvent, trigger: Trigger, named: str | None) -> tuple[Outcome, ...]:
        if self._queue is not None:
            repository = self._read_repository(push, named)
            return (self._send(self._queue, repository, push, trigger),)
        assert self._deliverer is not None
        # Only now: what could not be verified must not cost an invocation. And before Parameter Store is asked.
        with self._deliverer.waking(push.repository, push.ref, trigger.deadline):
            repository = self._read_repository(push, named)
            return self._deliverer.deliver(repository, self._parameters.token_of(repository), trigger)

    def _read_repository(self, push: PushEvent, named: str | None) -> Repository:
        repository = self._parameters.repository(push.repository)
        refuse_common_secret(repository, named)
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
