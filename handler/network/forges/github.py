"""GitHub's deliveries: signatures, headers and push payloads. Pure: no I/O, no clock.

GitHub signs the exact bytes of the body: HMAC-SHA256, keyed with the secret as UTF-8, as `sha256=<hex>` in
X-Hub-Signature-256 (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries). So nothing may
decode the body before `verify_signature` has returned.

`read_delivery` reads the headers, `read_payload` decodes the body to a JSON object, whatever the event, and `read_push`
reads a push event from that (https://docs.github.com/webhooks/webhook-events-and-payloads#push). We read only the
fields that the service uses.
"""

import re
from collections.abc import Mapping, Sequence

from handler.config.fields import checked, flag, mapping, nullable, read_field, text
from handler.config.names import full_name_problem, ref_problem
from handler.errors import SignatureInvalid
from handler.model import NULL_OID, Delivery, PushEvent
from handler.network.forges.common import (
    Pushed,
    commit,
    default_branch_ref,
    epoch_seconds,
    make_delivery,
    read_event,
    read_payload,
    reading,
    refuse_mismatch,
    refuse_unusable,
)

PING_EVENTS = frozenset({"ping"})
PUSH_EVENTS = frozenset({"push"})
UNKNOWN_STATUS = 404
"""The answer to a push of a repository that is not configured. GitHub shows it, and sends the next all the same."""

MAX_EPOCH_SECONDS = 253_402_300_799
"""The last second of the year 9999, where Python's calendar ends, as most do."""

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,99}")

SHA256_HEADER = "x-hub-signature-256"
SHA1_HEADER = "x-hub-signature"

# `re.ASCII` is not needed: the classes name their characters. A header that was sent twice arrives joined by a comma,
# and does not match.
_FORMS = {
    SHA256_HEADER: ("sha256", re.compile(r"sha256=([0-9a-f]{64})")),
    SHA1_HEADER: ("sha1", re.compile(r"sha1=([0-9a-f]{40})")),
}


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


def read_delivery(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return the delivery; `headers` have lower-case names, `body` is verified and not decoded yet.

    The id is '' when it is missing or invalid: it only correlates log lines, and goes into them as it is. The media
    type is in lower case without its parameters, '' when missing.

    Raises Malformed when X-GitHub-Event is missing or not an event's name.
    """
    event = read_event(headers, "X-GitHub-Event", _EVENT)
    return make_delivery(headers, body, event=event, delivery_id=headers.get("x-github-delivery", ""))


def read_pushed(delivery: Delivery) -> Pushed:
    """Return what was pushed: one ref, since GitHub sends a delivery for each. Raises Malformed."""
    push = read_push(read_payload(delivery))
    # No path: the url of a repository may lead to a copy of what is on GitHub.
    return Pushed(full_name=push.repository, path=None, events=(push,))


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
