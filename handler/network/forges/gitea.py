"""Gitea's and Forgejo's deliveries. Pure: no I/O, no clock.

They sign the payload with HMAC-SHA256 in plain hex, in X-Gitea-Signature; Forgejo in X-Forgejo-Signature too
(https://docs.gitea.com/usage/webhooks, https://forgejo.org/docs/latest/user/webhooks/). Without a secret the headers
come all the same, and are empty. What is signed is the payload, and that is the body only where it is sent as JSON: a
webhook with the content type of a form does not verify.

One delivery a ref. A new branch or tag comes as `push` beside its `create`; a deleted branch comes as `delete` alone,
which names it without `refs/heads/`. A test is a `push` that says that nothing moved. They wait 5 seconds
(DELIVER_TIMEOUT), send nothing again by themselves, and switch no webhook off.
"""

import re
from collections.abc import Mapping, Sequence

from handler.config.fields import checked, mapping, nullable, read_field, read_sound, text
from handler.config.names import full_name_problem, ref_problem
from handler.errors import SignatureInvalid
from handler.model import NULL_OID, Delivery, PushEvent
from handler.network.forges.github import (
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

PING_EVENTS: frozenset[str] = frozenset()
PUSH_EVENTS = frozenset({"push", "delete"})
UNKNOWN_STATUS = 404
"""The answer to a push of a repository that is not configured: it is shown beside the webhook, and has no effect."""

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,99}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_PLACES = {"branch": "refs/heads/", "tag": "refs/tags/"}


def verify_signature(body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes]) -> None:
    """Return if one of `secrets` signed `body`; `headers` have lower-case names.

    Raises SecretUnusable (no secret, or a blank one), SignatureInvalid (missing, malformed), SignatureMismatch.
    """
    refuse_unusable(secrets)
    name = "x-gitea-signature" if "x-gitea-signature" in headers else "x-forgejo-signature"
    if name not in headers:
        raise SignatureInvalid("the signature is missing")
    if not _SIGNATURE.fullmatch(headers[name]):
        raise SignatureInvalid(f"the {name} header is malformed")
    refuse_mismatch(body, bytes.fromhex(headers[name]), secrets, "sha256")


def read_delivery(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return the delivery. Raises Malformed."""
    prefix = "X-Gitea" if "x-gitea-event" in headers else "X-Forgejo"
    event = read_event(headers, f"{prefix}-Event", _EVENT)
    return make_delivery(headers, body, event=event, delivery_id=headers.get(f"{prefix.lower()}-delivery", ""))


def read_pinged(delivery: Delivery) -> str | None:
    """Return None: there is no ping."""
    return None


def read_pushed(delivery: Delivery) -> tuple[str | None, tuple[PushEvent, ...]]:
    """Return the repository's name, and what was pushed: one ref. Raises MediaTypeUnsupported, Malformed."""
    payload = read_payload(delivery)
    with reading():
        about = read_field(payload, "repository", mapping)
        name = read_field(about, "full_name", checked(full_name_problem), label="repository.full_name")
        push = _read_delete(payload, name) if delivery.event == "delete" else _read_push(payload, name, about)
        return name, (push,)


def _read_push(payload: dict[str, object], name: str, about: dict[str, object]) -> PushEvent:
    after = read_field(payload, "after", commit)
    head = read_sound(payload, "head_commit", nullable(mapping), None) or {}
    committed_at = read_sound(head, "timestamp", nullable(text), None)
    return PushEvent(
        repository=name,
        ref=read_field(payload, "ref", checked(ref_problem)),
        before=read_field(payload, "before", commit),
        after=after,
        is_deleted=after == NULL_OID,
        # No `pushed_at`: the payload has no time of the push.
        committed_at=epoch_seconds(committed_at) if committed_at is not None else None,
        default_branch_ref=default_branch_ref(about.get("default_branch")),
    )


def _read_delete(payload: dict[str, object], name: str) -> PushEvent:
    place = read_field(payload, "ref_type", _place)
    short = read_field(payload, "ref", text)
    ref = read_field({"ref": f"{place}{short}"}, "ref", checked(ref_problem))
    return PushEvent(repository=name, ref=ref, before=NULL_OID, after=NULL_OID, is_deleted=True)


def _place(value: object) -> str:
    if not isinstance(value, str) or value not in _PLACES:
        raise ValueError("is neither branch nor tag")
    return _PLACES[value]
