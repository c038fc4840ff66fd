"""Bitbucket's deliveries, of Cloud and of Data Center. Pure: no I/O, no clock.

Both sign the body with HMAC-SHA256, as `sha256=<hex>` in X-Hub-Signature, where the webhook has a secret
(https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/,
https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html). One delivery has all refs of a push,
in `changes`: their events, `repo:push` and `repo:refs_changed`, are on the pages "Event payloads" beside those.

Cloud waits 10 seconds, and sends what was answered with 5xx up to two more times; a payload above 256 KB is never sent.
Data Center waits 10 seconds, sends nothing again, and after five failures skips a webhook for 10 seconds, then for
longer, up to 10 hours. Its test, `diagnostics:ping`, may come without a signature, and is refused then.
"""

import re
from collections.abc import Mapping, Sequence

from handler.config.fields import checked, mapping, nullable, read_field, read_sound, text
from handler.config.names import full_name_problem, ref_problem
from handler.errors import Malformed, SignatureInvalid
from handler.model import NULL_OID, Delivery, PushEvent
from handler.network.forges.github import (
    commit,
    epoch_seconds,
    make_delivery,
    read_event,
    read_payload,
    reading,
    refuse_mismatch,
    refuse_unusable,
)

PING_EVENTS = frozenset({"diagnostics:ping"})
CLOUD_PUSH, DATA_CENTER_PUSH = "repo:push", "repo:refs_changed"
PUSH_EVENTS = frozenset({CLOUD_PUSH, DATA_CENTER_PUSH})
UNKNOWN_STATUS = 200
"""A project's webhook sends for all its repositories: five that are not configured would have it skipped."""

MAX_CHANGES = 100
"""The most refs that one delivery is worked on for; the schedule finds what a larger push left behind."""

_EVENT = re.compile(r"[a-z][a-z_]{0,49}(:[a-z][a-z_]{0,49}){1,2}")
_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")
_PLACES = {"branch": "refs/heads/", "tag": "refs/tags/", "annotated_tag": "refs/tags/"}


def verify_signature(body: bytes, headers: Mapping[str, str], secrets: Sequence[bytes]) -> None:
    """Return if one of `secrets` signed `body`; `headers` have lower-case names.

    Raises SecretUnusable (no secret, or a blank one), SignatureInvalid (missing, malformed), SignatureMismatch.
    """
    refuse_unusable(secrets)
    header = headers.get("x-hub-signature")
    if header is None:
        raise SignatureInvalid("the signature is missing")
    match = _SIGNATURE.fullmatch(header)
    if match is None:
        raise SignatureInvalid("the x-hub-signature header is malformed")
    refuse_mismatch(body, bytes.fromhex(match[1]), secrets, "sha256")


def read_delivery(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Return the delivery. Raises Malformed."""
    event = read_event(headers, "X-Event-Key", _EVENT)
    # Cloud's header, and Data Center's.
    delivery_id = headers.get("x-request-uuid") or headers.get("x-request-id", "")
    return make_delivery(headers, body, event=event, delivery_id=delivery_id.strip("{}"))


def read_pinged(delivery: Delivery) -> str | None:
    """Return None: the ping names no repository."""
    return None


def read_pushed(delivery: Delivery) -> tuple[str | None, tuple[PushEvent, ...]]:
    """Return the repository's path, and what was pushed: any number of refs. Raises MediaTypeUnsupported, Malformed."""
    payload = read_payload(delivery)
    with reading():
        about = read_field(payload, "repository", mapping)
        if delivery.event == DATA_CENTER_PUSH:
            project = read_field(about, "project", mapping, label="repository.project")
            key = read_field(project, "key", text, label="repository.project.key")
            path = f"{key}/{read_field(about, 'slug', text, label='repository.slug')}"
            changes = read_field(payload, "changes", _changes)
        else:
            path = read_field(about, "full_name", text, label="repository.full_name")
            pushed = read_field(payload, "push", mapping)
            changes = read_field(pushed, "changes", _changes, label="push.changes")
        # A person's own project on Data Center is `~user`: the mark is no part of a name here.
        name = read_field({"name": path.removeprefix("~")}, "name", checked(full_name_problem), label="the repository")
        if delivery.event == DATA_CENTER_PUSH:
            pushed_at = read_sound(payload, "date", _seconds, None)
            events = [_read_ref_change(each, name, pushed_at) for each in changes]
        else:
            events = [event for each in changes if (event := _read_change(each, name)) is not None]
    return path, tuple(events)


def _changes(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list):
        raise ValueError("is not a list")
    if len(value) > MAX_CHANGES:
        raise Malformed(f"the push names more than {MAX_CHANGES} refs: the schedule finds those that are published")
    return [mapping(each) for each in value]


# -- Cloud -------------------------------------------------------------------------------------------------------------


def _read_change(change: dict[str, object], name: str) -> PushEvent | None:
    """Return one change of Cloud's; None where it is of no branch and no tag. `old` and `new` are null where absent."""
    old = read_field(change, "old", nullable(mapping))
    new = read_field(change, "new", nullable(mapping))
    either = new or old
    if either is None:
        raise Malformed("a change of the push has neither old nor new")
    place = _PLACES.get(read_field(either, "type", text, label="the change's type"))
    if place is None:
        return None
    short = read_field(either, "name", text, label="the change's name")
    target = _target(new) if new is not None else {}
    return PushEvent(
        repository=name,
        ref=read_field({"ref": f"{place}{short}"}, "ref", checked(ref_problem)),
        before=_hash(old),
        # Of an annotated tag it is the commit, not the tag's own id: as a hint it is as good.
        after=_hash(new),
        is_deleted=new is None,
        # No `pushed_at`: the payload has no time of the push.
        committed_at=read_sound(target, "date", _seconds, None),
        is_single=_is_single(change) and old is not None and new is not None,
    )


def _hash(end: dict[str, object] | None) -> str:
    if end is None:
        return NULL_OID
    return read_field(_target(end), "hash", commit, label="the change's target.hash")


def _target(end: dict[str, object]) -> dict[str, object]:
    return read_field(end, "target", mapping, label="the change's target")


def _is_single(change: dict[str, object]) -> bool:
    """Whether the change adds one commit. It only saves work, so anything unexpected counts as no."""
    commits = change.get("commits")
    is_whole = change.get("forced") is False and change.get("truncated") is False
    return is_whole and isinstance(commits, list) and len(commits) == 1


# -- Data Center -------------------------------------------------------------------------------------------------------


def _read_ref_change(change: dict[str, object], name: str, pushed_at: float | None) -> PushEvent:
    """Return one change of Data Center's, whose ids are of zeros where the ref was not, or is no more."""
    ref = read_field(change, "ref", mapping)
    after = read_field(change, "toHash", commit)
    return PushEvent(
        repository=name,
        ref=read_field(ref, "id", checked(ref_problem), label="ref.id"),
        before=read_field(change, "fromHash", commit),
        after=after,
        is_deleted=after == NULL_OID,
        pushed_at=int(pushed_at) if pushed_at is not None and pushed_at >= 0 else None,
    )


def _seconds(value: object) -> float | None:
    return epoch_seconds(text(value))
