"""What a push payload says. Pure: no I/O, no clock.

Two steps: `read_payload` from bytes to a JSON object, whatever the event; `read_push` from that to a push
event (https://docs.github.com/webhooks/webhook-events-and-payloads#push). Only the fields that the service
uses are looked at.
"""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs

from handler.config.fields import parse_object
from handler.config.names import is_full_name, ref_problem
from handler.errors import Malformed, MediaTypeUnsupported
from handler.model import NULL_OID, Delivery, PushEvent

MAX_FORM_FIELDS = 16
MAX_EPOCH_SECONDS = 253_402_300_799
"""The last second of the year 9999, where Python's and most others' calendars end."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256_COMMIT = re.compile(r"[0-9a-f]{64}")


def read_payload(delivery: Delivery) -> dict[str, object]:
    """Return the payload, a JSON object, sent as JSON or as a form's one `payload` field (GitHub's default).

    Raises MediaTypeUnsupported, and Malformed for anything that is not such an object in UTF-8.
    """
    if delivery.media_type not in ("application/json", "application/x-www-form-urlencoded"):
        raise MediaTypeUnsupported("the Content-Type is neither application/json nor a form")
    try:
        text = delivery.body.decode()
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    if delivery.media_type != "application/json":
        text = _payload_field(text)
    try:
        return parse_object(text)
    except ValueError as error:
        raise Malformed(f"the payload {error}") from None


def _payload_field(form: str) -> str:
    try:
        fields = parse_qs(form, keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError:  # too many fields, or percent-encoded bytes that are not UTF-8
        raise Malformed("the form is not readable") from None
    payloads = fields.get("payload", [])
    if len(payloads) != 1:
        raise Malformed("the form has not exactly one payload field")
    return payloads[0]


def read_push(payload: dict[str, object]) -> PushEvent:
    """Return the push event that `payload` claims.

    Times that cannot be read become None, since anybody can date a commit as he likes, and only a metric and
    the judgement of a lagging ref need them. Raises Malformed, naming the field, for all else that is missing
    or wrong.
    """
    full_name = read_full_name(payload)
    repository = _object(payload, "repository")
    ref = _text(payload, "ref", "ref")
    if problem := ref_problem(ref):
        raise Malformed(f"ref {problem}")
    before, after = _commit(payload, "before"), _commit(payload, "after")
    pushed_at = _pushed_at(repository.get("pushed_at"))
    committed_at = None
    if payload.get("head_commit") is not None:
        committed_at = _committed_at(_object(payload, "head_commit").get("timestamp"))
    return PushEvent(
        repository=full_name,
        ref=ref,
        before=before,
        after=after,
        is_deleted=_flag(payload, "deleted") or after == NULL_OID,
        pushed_at=pushed_at,
        committed_at=committed_at,
        is_single=_is_single(payload),
        default_branch_ref=_default_branch_ref(repository),
    )


def read_full_name(payload: dict[str, object]) -> str:
    """Return the name of the repository that the payload, of whatever event, is about. Raises Malformed."""
    full_name = _text(_object(payload, "repository"), "full_name", "repository.full_name")
    if not is_full_name(full_name):
        raise Malformed("repository.full_name is not <owner>/<name>")
    return full_name


def _is_single(payload: dict[str, object]) -> bool:
    """Whether the push adds one commit. Only a saving hangs on it, so that anything odd is simply a no."""
    commits = payload.get("commits")
    return payload.get("forced") is False and isinstance(commits, list) and len(commits) == 1


def _default_branch_ref(repository: dict[str, object]) -> str | None:
    """Return the default branch's full name. A hint: what is missing or odd is simply not known."""
    name = repository.get("default_branch")
    if not isinstance(name, str) or ref_problem(f"refs/heads/{name}"):
        return None
    return f"refs/heads/{name}"


def _object(holder: dict[str, object], name: str) -> dict[str, object]:
    value = holder.get(name)
    if not isinstance(value, dict):
        raise Malformed(f"{name} is not an object")
    return value


def _text(holder: dict[str, object], name: str, field: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{field} is not text")
    return value


def _flag(holder: dict[str, object], name: str) -> bool:
    value = holder.get(name)
    if value is not None and not isinstance(value, bool):
        raise Malformed(f"{name} is neither true nor false")
    return value is True


def _commit(payload: dict[str, object], name: str) -> str:
    value = _text(payload, name, name)
    if _SHA256_COMMIT.fullmatch(value):
        raise Malformed(f"{name} is a sha256 commit id: repositories with sha256 objects are not supported")
    if not _COMMIT.fullmatch(value):
        raise Malformed(f"{name} is not a commit id (40 lower-case hex digits)")
    return value


def _pushed_at(value: object) -> int | None:
    """Whole seconds from the epoch, from a number (push payloads) or ISO 8601 text (GitHub's other ones)."""
    if value is None:
        return None
    if isinstance(value, str):
        seconds = _epoch_seconds(value)
        return int(seconds) if seconds is not None and seconds >= 0 else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_EPOCH_SECONDS:
        raise Malformed("repository.pushed_at is not a time in seconds")
    return value


def _committed_at(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Malformed("head_commit.timestamp is not text")
    return _epoch_seconds(value)


def _epoch_seconds(text: str) -> float | None:
    """Seconds from the epoch for an ISO 8601 time, UTC where it names no zone; None when it is none."""
    try:
        moment = datetime.fromisoformat(text[:64])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
