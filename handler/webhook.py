"""Entry point for API Gateway and function URLs: verify → read → route → deliver → answer.

The order is fixed: nothing of a body is looked at before its size is bounded and its signature verified, and what
cannot be verified costs neither a file operation nor a request to any remote.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from handler.aws.gateway import answer, read_request, url_repository
from handler.aws.parameters import Parameters
from handler.aws.telemetry import Telemetry
from handler.deliver import Deliverer, ignored
from handler.errors import Git2EfsError, Rejected
from handler.github.delivery import read_delivery
from handler.github.push import read_full_name, read_payload, read_push
from handler.github.signature import SignatureMismatch, verify_signature
from handler.model import Delivery, Outcome, OutcomeKind, PushEvent
from handler.outcome import answer_of, outcome_of, unexpected
from handler.publish import Request
from handler.routing import refuse_common_secret, refuse_other_repository
from handler.settings import Settings, read_settings

_UNREAD = Delivery(id="", event="", media_type="", body=b"")


class Door:
    """What one process keeps between requests. Safe for threads."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        """Connects to nothing yet."""
        self._settings = settings
        self._parameters = Parameters(settings)
        self._deliverer = Deliverer(settings, telemetry.progress, telemetry.warn)

    def close(self) -> None:
        """Close what is kept open."""
        self._deliverer.close()

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

    def deliver(self, delivery: Delivery, received_at: float) -> tuple[Outcome, ...]:
        """Do what a verified delivery asks for; one outcome a target. Raises Rejected."""
        if delivery.event == "ping":
            if delivery.url_repository is not None:
                refuse_other_repository(delivery.url_repository, read_full_name(read_payload(delivery)))
            return (Outcome(OutcomeKind.IGNORED, "pong"),)
        if delivery.event != "push":
            return (Outcome(OutcomeKind.IGNORED, "event_not_push"),)
        push = read_push(read_payload(delivery))
        refuse_other_repository(delivery.url_repository, push.repository)
        try:
            return self._push(push, Request(push, delivery.id, received_at), delivery.url_repository)
        except Rejected:
            raise
        except Git2EfsError as error:
            return (replace(outcome_of(error), repository=push.repository, ref=push.ref),)

    def _push(self, push: PushEvent, request: Request, named: str | None) -> tuple[Outcome, ...]:
        repository = self._parameters.repository(push.repository)
        refuse_common_secret(repository, named)
        if push.is_deleted:
            return (ignored(push, "ref_deleted"),)
        token = self._parameters.token(repository.credentials) if repository.credentials else None
        return self._deliverer.deliver(repository, token, request)

    def secret_problems(self) -> tuple[str, ...]:
        """Return what looks wrong with the stored secrets, without showing them."""
        return self._parameters.secret_problems()


class _Process:
    """Makes the door at the first request, so that a wrong environment is an answer and not a failed start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._door: Door | None = None
        self._telemetry: Telemetry | None = None
        self._said: set[str] = set()

    def telemetry(self) -> Telemetry:
        with self._lock:
            self._telemetry = self._telemetry or Telemetry()
            return self._telemetry

    def door(self) -> Door:
        telemetry = self.telemetry()
        with self._lock:
            if self._door is None:
                self._door = Door(read_settings(os.environ), telemetry)
                # Readers run as other users: modes are the tree's own, whatever this process inherited.
                os.umask(0o022)
            return self._door

    def say_once(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            if sentence not in self._said:
                self._said.add(sentence)
                self.telemetry().warn(sentence)

    def close(self) -> None:
        with self._lock:
            if self._door is not None:
                self._door.close()
            self._door = self._telemetry = None
            self._said.clear()


_process = _Process()


def handler(event: object, context: object) -> dict[str, object]:
    """Answer one webhook request; `event` is API Gateway's (payload 2.0 or 1.0) or a function URL's.

    Answers whatever comes, and never raises: 200 published, unchanged or ignored; 400, 401, 404, 413, 415 rejected;
    500 stalled; 503 transient.
    """
    received_at, started = time.time(), time.perf_counter()
    delivery = _UNREAD
    try:
        door = _process.door()
        try:
            delivery = door.verify(event)
            outcomes = door.deliver(delivery, received_at)
        finally:
            _process.say_once(door.secret_problems())
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
