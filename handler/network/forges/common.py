"""What the forges' deliveries have in common: signed bytes, a JSON payload, names, times. Pure: no I/O, no clock.

A forge's module reads its own headers and its own payload, and gives the same `Delivery` and `PushEvent` as the others.
"""

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from handler.config.fields import FieldInvalid, parse_object, text
from handler.config.names import is_object_id, ref_problem
from handler.errors import Malformed, MediaTypeUnsupported, SecretUnusable, SignatureInvalid
from handler.model import MAX_AHEAD_SECONDS, Delivery, PushEvent

MAX_FORM_FIELDS = 16
JSON, FORM = "application/json", "application/x-www-form-urlencoded"

_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_SHA256_COMMIT = re.compile(r"[0-9a-f]{64}")


class SignatureMismatch(SignatureInvalid):
    """The signature is well formed, but of another secret or other bytes. Only here a fresh secret may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What one delivery says was pushed: one or more refs of one repository.

    `full_name` is the repository's name here. `path` is what the forge calls it: the end of its url; None where the
    url may lead elsewhere.
    """

    full_name: str
    path: str | None
    events: tuple[PushEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request to a forge's API, whose body is `fields` as JSON; None: it has none. The headers hold the token."""

    method: str
    url: str
    headers: Mapping[str, str]
    fields: Mapping[str, object] | None = None


def refuse_unusable(secrets: Sequence[bytes]) -> None:
    """Raise SecretUnusable where there is no secret, or a blank one: anybody could sign with that."""
    if not secrets or not all(secret.strip() for secret in secrets):
        raise SecretUnusable("there is no webhook secret, or it is empty")


def refuse_mismatch(body: bytes, signature: bytes, secrets: Sequence[bytes], algorithm: str) -> None:
    """Return if one of `secrets` made the HMAC `signature` of `body`. Raises SignatureMismatch."""
    # Bytes, because compare_digest raises TypeError for text that is not ASCII. A list, so that the time does not tell
    # which secret matched.
    matches = [hmac.compare_digest(hmac.digest(secret, body, algorithm), signature) for secret in secrets]
    if not any(matches):
        raise SignatureMismatch("the signature does not match the body and the secret")


def make_delivery(headers: Mapping[str, str], body: bytes, *, event: str, delivery_id: str) -> Delivery:
    """Return the delivery. An id that is missing or invalid is '': it goes into log lines as it is."""
    return Delivery(
        id=delivery_id if _ID.fullmatch(delivery_id) else "",
        event=event,
        media_type=headers.get("content-type", "").partition(";")[0].strip().lower(),
        body=body,
    )


def read_event(headers: Mapping[str, str], header: str, form: re.Pattern[str]) -> str:
    """Return the event's name in the header of this name, whatever its letter case. Raises Malformed."""
    event = headers.get(header.lower())
    if event is None:
        raise Malformed(f"the {header} header is missing")
    if not form.fullmatch(event):
        raise Malformed(f"the {header} header is not an event's name")
    return event


def read_payload(delivery: Delivery) -> dict[str, object]:
    """Return the payload, a JSON object, sent as JSON or as a form's one `payload` field (GitHub's default).

    Raises MediaTypeUnsupported, and Malformed for anything that is not such an object in UTF-8.
    """
    if delivery.media_type not in (JSON, FORM):
        raise MediaTypeUnsupported("the Content-Type is neither application/json nor a form")
    try:
        content = delivery.body.decode()
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    if delivery.media_type != JSON:
        content = _payload_field(content)
    try:
        return parse_object(content)
    except ValueError as error:
        raise Malformed(f"the payload {error}") from None


def _payload_field(form: str) -> str:
    try:
        from urllib.parse import parse_qs  # a webhook that sends JSON does not pay for it

        fields = parse_qs(form, keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError:  # too many fields, or percent-encoded bytes that are not UTF-8
        raise Malformed("the form is not readable") from None
    payloads = fields.get("payload", [])
    if len(payloads) != 1:
        raise Malformed("the form has not exactly one payload field")
    return payloads[0]


def without_future(push: PushEvent, now: float) -> PushEvent:
    """Return the push without a `pushed_at` that is ahead of `now`, our clock, by more than clocks differ.

    Once recorded, such a time would make every later push look older than itself, for as long as it lies ahead.
    """
    is_ahead = push.pushed_at is not None and push.pushed_at > now + MAX_AHEAD_SECONDS
    return replace(push, pushed_at=None) if is_ahead else push


@contextmanager
def reading() -> Iterator[None]:
    """Within the block, a field that is missing or wrong raises Malformed, which names it."""
    try:
        yield
    except FieldInvalid as error:
        raise Malformed(str(error)) from None


def default_branch_ref(name: object) -> str | None:
    """Return the default branch's full name. It is a hint, so None where it is missing or invalid."""
    if not isinstance(name, str) or ref_problem(f"refs/heads/{name}"):
        return None
    return f"refs/heads/{name}"


def commit(value: object) -> str:
    """Return a sha1 commit id, of zeros too."""
    found = text(value)
    if _SHA256_COMMIT.fullmatch(found):
        raise ValueError("is a sha256 commit id: repositories with sha256 objects are not supported")
    if not is_object_id(found):
        raise ValueError("is not a commit id (40 lower-case hex digits)")
    return found


def epoch_seconds(iso_time: str) -> float | None:
    """Return the seconds since the epoch of an ISO 8601 time, UTC where it names no zone; None for anything else."""
    try:
        moment = datetime.fromisoformat(iso_time[:64])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
