"""GitLab's deliveries: gitlab.com and self-managed. Pure: no I/O, no clock.

A webhook has a secret token, a signing token, or both (https://docs.gitlab.com/user/project/integrations/webhooks/).
The secret token comes as it is in X-Gitlab-Token, and vouches for the sender, not for the bytes. A signing token is
`whsec_<base64 of the key>`, and signs `<webhook-id>.<webhook-timestamp>.<body>` with HMAC-SHA256, as `v1,<base64>` in
webhook-signature (https://www.standardwebhooks.com). The stored secret says which: one that begins with `whsec_` is a
signing token, and is never taken from a header.

GitLab sends one delivery a ref, branches and tags as events of their own, and none at all for a push of more refs than
`push_event_hooks_limit`, 3 by default. A test sends a push event of the newest commits. It waits 10 seconds, sends
nothing again by itself, and switches a webhook off after four failures in a row: after 4xx until somebody tests it.
"""

import binascii
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence

from handler.config.fields import checked, mapping, nullable, read_field, read_sound, text
from handler.config.names import full_name_problem, ref_problem
from handler.errors import SecretUnusable, SignatureInvalid
from handler.model import NULL_OID, Delivery, PushEvent
from handler.network.forges.github import (
    SignatureMismatch,
    commit,
    default_branch_ref,
    epoch_seconds,
    make_delivery,
    read_event,
    read_payload,
    reading,
    refuse_unusable,
)

PING_EVENTS: frozenset[str] = frozenset()
PUSH_EVENTS = frozenset({"Push Hook", "Tag Push Hook"})
UNKNOWN_STATUS = 200
"""A group's webhook sends for all its projects: four that are not configured would switch it off for good."""

TOKEN_HEADER, SIGNATURE_HEADER = "x-gitlab-token", "webhook-signature"
SIGNING = b"whsec_"
MAX_SIGNATURES = 10
MAX_COMMITS = 100

_EVENT = re.compile(r"[A-Z][A-Za-z ]{0,99}")
_STAMP = re.compile(r"[\x21-\x7e]{1,200}")


def verify_signature(body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes]) -> None:
    """Return if one of `secrets` is the token that came, or signed `body`; `headers` have lower-case names.

    Raises SecretUnusable (no secret, a blank one, or no signing token after `whsec_`), SignatureInvalid (missing,
    malformed), SignatureMismatch.
    """
    refuse_unusable(secrets)
    keys = [_signing_key(secret) for secret in secrets if secret.startswith(SIGNING)]
    tokens = [secret for secret in secrets if not secret.startswith(SIGNING)]
    if TOKEN_HEADER not in headers and SIGNATURE_HEADER not in headers:
        raise SignatureInvalid("the token or the signature is missing")
    # What comes may be of a secret of the other kind that was stored just now: that is a mismatch, not malformed.
    matches: list[bool] = []
    if TOKEN_HEADER in headers:
        # Hashes, so that not even the length of a secret shows in the time.
        came = hashlib.sha256(headers[TOKEN_HEADER].encode(errors="replace")).digest()
        matches += [hmac.compare_digest(hashlib.sha256(token).digest(), came) for token in tokens]
    if keys and SIGNATURE_HEADER in headers:
        signed = _signed(body, headers)
        signatures = list(_signatures(headers[SIGNATURE_HEADER]))
        matches += [
            hmac.compare_digest(hmac.digest(key, signed, "sha256"), signature)
            for key in keys
            for signature in signatures
        ]
    if not any(matches):
        raise SignatureMismatch("neither the token nor the signature fits the secret")


def _signing_key(secret: bytes) -> bytes:
    try:
        key = binascii.a2b_base64(secret.removeprefix(SIGNING).strip(), strict_mode=True)
    except ValueError:
        key = b""
    if not key:
        raise SecretUnusable("the webhook secret begins with whsec_, and is no signing token")
    return key


def _signed(body: bytes, headers: Mapping[str, str]) -> bytes:
    stamps = [headers.get(name, "") for name in ("webhook-id", "webhook-timestamp")]
    if not all(_STAMP.fullmatch(stamp) for stamp in stamps):
        raise SignatureInvalid("the webhook-id or the webhook-timestamp header is missing or malformed")
    return b".".join([*(stamp.encode() for stamp in stamps), body])


def _signatures(header: str) -> Iterator[bytes]:
    """Yield the signatures of version 1 in the header, which may hold several with spaces between them."""
    for each in header.split(" ")[:MAX_SIGNATURES]:
        version, _, encoded = each.partition(",")
        if version != "v1":
            continue
        try:
            yield binascii.a2b_base64(encoded, strict_mode=True)
        except ValueError:
            raise SignatureInvalid(f"the {SIGNATURE_HEADER} header is malformed") from None


def read_delivery(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return the delivery. Its id is the one that stays when it is sent again. Raises Malformed."""
    event = read_event(headers, "X-Gitlab-Event", _EVENT)
    delivery_id = headers.get("idempotency-key") or headers.get("x-gitlab-event-uuid", "")
    return make_delivery(headers, body, event=event, delivery_id=delivery_id)


def read_pinged(delivery: Delivery) -> str | None:
    """Return None: GitLab has no ping."""
    return None


def read_pushed(delivery: Delivery) -> tuple[str | None, tuple[PushEvent, ...]]:
    """Return the project's path, and what was pushed: one ref. Raises MediaTypeUnsupported, Malformed."""
    payload = read_payload(delivery)
    with reading():
        project = read_field(payload, "project", mapping)
        path = read_field(project, "path_with_namespace", text, label="project.path_with_namespace")
        name = read_field({"path": full_name_of(path)}, "path", checked(full_name_problem), label="the project's name")
        return path, (_read_push(payload, name, project),)


def full_name_of(path: str) -> str:
    """Return the name here of a project in nested groups: `group/subgroup/project` is `group.subgroup/project`.

    Another project may have this name too; so what is published under it is what the repository's url leads to.
    """
    groups, _, project = path.rpartition("/")
    return f"{groups.replace('/', '.')}/{project}"


def _read_push(payload: dict[str, object], name: str, project: dict[str, object]) -> PushEvent:
    after = read_field(payload, "after", commit)
    return PushEvent(
        repository=name,
        ref=read_field(payload, "ref", checked(ref_problem)),
        before=read_field(payload, "before", commit),
        after=after,
        is_deleted=after == NULL_OID,
        # No `pushed_at`: the payload has no time of the push.
        committed_at=_committed_at(payload),
        default_branch_ref=default_branch_ref(project.get("default_branch")),
    )


def _committed_at(payload: dict[str, object]) -> float | None:
    """Return the time of the commit that the ref names now: `checkout_sha`, also where the ref is an annotated tag."""
    head, commits = read_sound(payload, "checkout_sha", nullable(text), None), payload.get("commits")
    if head is None or not isinstance(commits, list):
        return None
    for each in commits[:MAX_COMMITS]:
        if isinstance(each, dict) and each.get("id") == head and isinstance(each.get("timestamp"), str):
            return epoch_seconds(each["timestamp"])
    return None
