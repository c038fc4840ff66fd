"""Entry point for API Gateway and function URLs: verify → read → route → deliver or queue → answer.

The order is fixed: nothing of a body is looked at before its size is bounded and its signature verified, and what
cannot be verified costs neither a file operation nor a request to any remote.

With a queue the work is a worker's, and nothing of git or of the mount is loaded here.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from handler.config.targets import refuse_common_secret, refuse_other_repository, targets_of
from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import Git2EfsError, Rejected
from handler.exchange.trigger import Trigger
from handler.model import Delivery, Outcome, OutcomeKind, PushEvent, Repository
from handler.network.aws.api_gateway import answer, read_request, url_repository
from handler.network.aws.parameters import Parameters
from handler.network.aws.telemetry import Telemetry
from handler.network.forges.delivery import read_delivery
from handler.network.forges.push import read_full_name, read_payload, read_push
from handler.network.forges.signature import SignatureMismatch, verify_signature
from handler.network.queue.message import Cause, Message
from handler.network.queue.sqs import Queue
from handler.outcome import answer_of, ignored, outcome_of, unexpected
from handler.runtime import Runtime, make_sides
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.network.deliver import Deliverer

_UNREAD = Delivery(id="", event="", media_type="", body=b"")


class Webhook:
    """What one process keeps between requests. Safe for threads."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        """Connects to nothing yet."""
        self._settings = settings
        self._parameters = Parameters(settings)
        self._queue = Queue(settings.queue_url) if settings.queue_url else None
        self._deliverer: Deliverer | None = None
        if self._queue is None:
            _, self._deliverer = make_sides(settings, progress=telemetry.progress, warn=telemetry.warn)

    def close(self) -> None:
        """Close what is kept open."""
        if self._deliverer is not None:
            self._deliverer.close()

    def prepare(self) -> None:
        """Make the clients now, and connect to nothing. Raises ConfigurationInvalid."""
        self._parameters.prepare()
        if self._queue is not None:
            self._queue.prepare()

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
        self._parameters.verified(named)
        return replace(read_delivery(request.headers, request.body), url_repository=named)

    def _verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes]) -> None:
        verify_signature(body, headers, secrets, allow_sha1=self._settings.allow_sha1)

    def deliver(self, delivery: Delivery, received_at: float, deadline: Deadline = NO_DEADLINE) -> tuple[Outcome, ...]:
        """Do what a verified delivery asks for; one outcome a target. Raises Rejected.

        `received_at` is in seconds of our clock.
        """
        if delivery.event == "ping":
            if delivery.url_repository is not None:
                refuse_other_repository(delivery.url_repository, read_full_name(read_payload(delivery)))
            return (Outcome(OutcomeKind.IGNORED, "pong"),)
        if delivery.event != "push":
            return (Outcome(OutcomeKind.IGNORED, "event_not_push"),)
        push = read_push(read_payload(delivery))
        refuse_other_repository(delivery.url_repository, push.repository)
        try:
            request = Trigger(push.ref, push, delivery.id, received_at, deadline=deadline)
            return self._push(push, request, delivery.url_repository)
        except Rejected:
            raise
        except Git2EfsError as error:
            return (replace(outcome_of(error), repository=push.repository, ref=push.ref),)

    def _push(self, push: PushEvent, request: Trigger, named: str | None) -> tuple[Outcome, ...]:
        repository = self._parameters.repository(push.repository)
        refuse_common_secret(repository, named)
        if self._queue is not None:
            return (self._send(self._queue, repository, push, request),)
        token = self._parameters.token_of(repository)
        assert self._deliverer is not None
        return self._deliverer.deliver(repository, token, request)

    def _send(self, queue: Queue, repository: Repository, push: PushEvent, request: Trigger) -> Outcome:
        """Queue the push, unless no target can publish its ref."""
        # The signed payload's word for the default branch is enough to ignore a push by, and spares this side the
        # remote; were it outdated, the schedule would find what is behind. Without its word, every branch may be it.
        default_branch_ref = push.default_branch_ref or push.ref
        if not targets_of(repository, push.ref, default_branch_ref):
            return ignored("ref_not_published", push.repository, push.ref)
        queue.send(Message(Cause.PUSH, push.repository, push.ref, request.delivery, request.received_at, push))
        return Outcome(OutcomeKind.ACCEPTED, "queued", 202, repository=push.repository, ref=push.ref)

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored secrets, without showing them."""
        return self._parameters.secret_problems()


def _start(environment: Mapping[str, str]) -> Runtime[Webhook]:
    """Return the process's keeper; in Lambda, with what the first request needs loaded and made already.

    Lambda initialises with a whole processor, whatever the memory; with SnapStart it takes a picture of the process
    afterwards, and restores any number of processes from that one, days later. So nothing goes into it that must not
    be the same in all of them, or grows old: no connection is opened, no parameter read (the secret in it may have
    been replaced by then), no id drawn, no time noted. Clients may be made: botocore resolves credentials again when
    they are about to expire, by the clock of the restored process.

    What fails here is left to the first request, which tells it in an answer.
    """
    process = Runtime(Webhook)
    kind = environment.get("AWS_LAMBDA_INITIALIZATION_TYPE")
    if kind is not None:
        with suppress(Exception):
            door = process.app(environment)
            if kind == "snap-start":
                door.prepare()
    return process


_process = _start(os.environ)


def handler(event: object, context: object) -> dict[str, object]:
    """Answer one webhook request; `event` is API Gateway's (payload 2.0 or 1.0) or a function URL's.

    Answers whatever comes, and never raises: 200 published, unchanged or ignored; 202 queued; 400, 401, 404, 413, 415
    rejected; 500 stalled; 503 transient.
    """
    received_at, started = time.time(), time.perf_counter()
    delivery = _UNREAD
    try:
        door = _process.app(os.environ)
        try:
            delivery = door.verify(event)
            outcomes = door.deliver(delivery, received_at, Deadline.of_context(context))
        finally:
            _process.warn_once(door.secret_problems())
    except Git2EfsError as error:
        outcomes = (outcome_of(error),)
    except Exception as error:  # a defect is told as one; it must not become API Gateway's bare 502
        outcomes = (outcome_of(unexpected(error)),)
    duration_ms = (time.perf_counter() - started) * 1000
    for outcome in outcomes:
        _process.telemetry().record(
            outcome,
            delivery=delivery.id,
            event=delivery.event,
            request_id=str(getattr(context, "aws_request_id", "")),
            duration_ms=duration_ms,
        )
    return answer(*answer_of(outcomes, duration_ms))


def reset() -> None:
    """Forget everything that the process keeps: settings, parameters, connections, packs. For tests and tools."""
    _process.close()
