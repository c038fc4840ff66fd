"""GitHub's deliveries: signatures, headers and push payloads. Pure: no I/O, no clock.

GitHub signs the exact bytes of the body: HMAC-SHA256, keyed with the secret as UTF-8, as `sha256=<hex>` in
X-Hub-Signature-256 (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries). So nothing may
decode the body before `verify_signature` has returned.

Other forges' modules take from here what all of them share: secrets and signatures, JSON, commits, times. Every process
has this module anyway.

`read_delivery` reads the headers, `read_payload` decodes the body to a JSON object, whatever the event, and `read_push`
reads a push event from that (https://docs.github.com/webhooks/webhook-events-and-payloads#push). We read only the
fields that the service uses.
"""

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from handler.config.fields import FieldInvalid, checked, flag, mapping, nullable, parse_object, read_field, text
from handler.config.names import full_name_problem, is_object_id, ref_problem
from handler.errors import Malformed, MediaTypeUnsupported, SecretUnusable, SignatureInvalid
from handler.model import MAX_AHEAD_SECONDS, NULL_OID, Delivery, PushEvent

PING_EVENTS = frozenset({"ping"})
PUSH_EVENTS = frozenset({"push"})
UNKNOWN_STATUS = 404
"""The answer to a push of a repository that is not configured. GitHub shows it, and sends the next all the same."""

MAX_FORM_FIELDS = 16
MAX_EPOCH_SECONDS = 253_402_300_799
"""The last second of the year 9999, where Python's calendar ends, as most do."""

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,99}")
_ID = re.compile(r"[A-Za-z0-9-]{1,100}")
_SHA256_COMMIT = re.compile(r"[0-9a-f]{64}")

SHA256_HEADER = "x-hub-signature-256"
SHA1_HEADER = "x-hub-signature"

# `re.ASCII` is not needed: the classes name their characters. A header that was sent twice arrives joined by a comma,
# and does not match.
_FORMS = {
    SHA256_HEADER: ("sha256", re.compile(r"sha256=([0-9a-f]{64})")),
    SHA1_HEADER: ("sha1", re.compile(r"sha1=([0-9a-f]{40})")),
}


class SignatureMismatch(SignatureInvalid):
    """The signature is well formed, but of another secret or other bytes. Only here a fresh secret may help."""


def verify_signature(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes], *, allow_sha1: bool = False
) -> None:
    """Return if one of `secrets` signed `body`; `headers` have lower-case names.

    The legacy sha1 header counts only with `allow_sha1`, and where there is no sha256 header at all, not even a wrong
    one: otherwise an attacker who strips or spoils the strong signature could choose the weak one.

    Raises SecretUnusable (no secret, or a blank one), SignatureInvalid (missing, malformed), SignatureMismatch.
    """
    refuse_unusable(secrets)
    algorithm, signature = _read_signature(headers, allow_sha1)
    refuse_mismatch(body, signature, secrets, algorithm)


def _read_signature(headers: Mapping[str, str], allow_sha1: bool) -> tuple[str, bytes]:
    """Return the algorithm's name and the digest in the header."""
    if SHA256_HEADER in headers:
        name = SHA256_HEADER
    elif allow_sha1 and SHA1_HEADER in headers:
        name = SHA1_HEADER
    elif SHA1_HEADER in headers:
        raise SignatureInvalid("the signature is missing: only a sha1 one came, and sha1 is not allowed")
    else:
        raise SignatureInvalid("the signature is missing")
    algorithm, form = _FORMS[name]
    match = form.fullmatch(headers[name])
    if match is None:
        raise SignatureInvalid(f"the {name} header is malformed")
    return algorithm, bytes.fromhex(match[1])


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


def read_delivery(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return the delivery; `headers` have lower-case names, `body` is verified and not decoded yet.

    The id is '' when it is missing or invalid: it only correlates log lines, and goes into them as it is. The media
    type is in lower case without its parameters, '' when missing.

    Raises Malformed when X-GitHub-Event is missing or not an event's name.
    """
    event = read_event(headers, "X-GitHub-Event", _EVENT)
    return make_delivery(headers, body, event=event, delivery_id=headers.get("x-github-delivery", ""))


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
    if delivery.media_type not in ("application/json", "application/x-www-form-urlencoded"):
        raise MediaTypeUnsupported("the Content-Type is neither application/json nor a form")
    try:
        content = delivery.body.decode()
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    if delivery.media_type != "application/json":
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


@contextmanager
def reading() -> Iterator[None]:
    """Within the block, a field that is missing or wrong raises Malformed, which names it."""
    try:
        yield
    except FieldInvalid as error:
        raise Malformed(str(error)) from None


def read_pushed(delivery: Delivery) -> tuple[str | None, tuple[PushEvent, ...]]:
    """Return what was pushed: one ref, since GitHub sends a delivery for each. Raises Malformed.

    The path is None: the url of a repository may lead to a copy of what is on GitHub.
    """
    return None, (read_push(read_payload(delivery)),)


def read_pinged(delivery: Delivery) -> str | None:
    """Return the repository that a ping is about. Raises Malformed."""
    return read_full_name(read_payload(delivery))


def read_push(payload: dict[str, object]) -> PushEvent:
    """Return the push event that `payload` claims.

    Times that cannot be read become None: anybody can date a commit as he likes, and only a metric and the decision
    whether a ref lags need them. Raises Malformed, naming the field, for anything else that is missing or wrong.
    """
    with reading():
        return _read_push(payload)


def _read_push(payload: dict[str, object]) -> PushEvent:
    full_name = _read_full_name(payload)
    repository = read_field(payload, "repository", mapping)
    ref = read_field(payload, "ref", checked(ref_problem))
    before, after = read_field(payload, "before", commit), read_field(payload, "after", commit)
    pushed_at = read_field(repository, "pushed_at", nullable(_pushed_at), label="repository.pushed_at")
    head_commit = read_field(payload, "head_commit", nullable(mapping)) or {}
    committed_at = read_field(head_commit, "timestamp", nullable(_committed_at), label="head_commit.timestamp")
    return PushEvent(
        repository=full_name,
        ref=ref,
        before=before,
        after=after,
        is_deleted=read_field(payload, "deleted", nullable(flag)) is True or after == NULL_OID,
        pushed_at=pushed_at,
        committed_at=committed_at,
        is_single=_is_single(payload),
        default_branch_ref=default_branch_ref(repository.get("default_branch")),
    )


def without_future(push: PushEvent, now: float) -> PushEvent:
    """Return the push without a `pushed_at` that is ahead of `now`, our clock, by more than clocks differ.

    Once recorded, such a time would make every later push look older than itself, for as long as it lies ahead.
    """
    is_ahead = push.pushed_at is not None and push.pushed_at > now + MAX_AHEAD_SECONDS
    return replace(push, pushed_at=None) if is_ahead else push


def read_full_name(payload: dict[str, object]) -> str:
    """Return the full name of the payload's repository, whatever the event. Raises Malformed."""
    with reading():
        return _read_full_name(payload)


def _read_full_name(payload: dict[str, object]) -> str:
    repository = read_field(payload, "repository", mapping)
    return read_field(repository, "full_name", checked(full_name_problem), label="repository.full_name")


def _is_single(payload: dict[str, object]) -> bool:
    """Whether the push adds one commit. It only saves work, so anything unexpected counts as no."""
    commits = payload.get("commits")
    return payload.get("forced") is False and isinstance(commits, list) and len(commits) == 1


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


def _pushed_at(value: object) -> int | None:
    """Return whole seconds since the epoch, from a number (push payloads) or ISO 8601 text (other payloads)."""
    if isinstance(value, str):
        moment = epoch_seconds(value)
        return int(moment) if moment is not None and moment >= 0 else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_EPOCH_SECONDS:
        raise ValueError("is not a time in seconds")
    return value


def _committed_at(value: object) -> float | None:
    return epoch_seconds(text(value))


def epoch_seconds(iso_time: str) -> float | None:
    """Return the seconds since the epoch of an ISO 8601 time, UTC where it names no zone; None for anything else."""
    try:
        moment = datetime.fromisoformat(iso_time[:64])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
