"""The queue's messages: which ref to reconcile, why, and what a push claims. Pure: no I/O, no clock.

A message never holds the payload: it has a few hundred bytes, all of which may go into a log line.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from handler.config.fields import (
    FieldInvalid,
    checked,
    flag,
    is_version,
    nullable,
    object_id,
    one_of,
    parse_object,
    read_field,
    seconds,
)
from handler.config.names import delivery_problem, full_name_problem, ref_problem
from handler.errors import Malformed
from handler.model import PushEvent

VERSION = 1
MAX_GROUP_CHARACTERS = 128
"""The longest MessageGroupId in SQS; a repository's name can be longer, with two parts of 100 characters."""


class Cause(StrEnum):
    """Who asked for the reconcile."""

    PUSH = "push"
    SCHEDULE = "schedule"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`push` is None unless the cause is a push; `received_at` (seconds since the epoch) is when the request came."""

    cause: Cause
    repository: str
    ref: str
    delivery: str
    received_at: float
    push: PushEvent | None = None


def group_of(repository: str) -> str:
    """Return the MessageGroupId of a repository: SQS hands out its messages in order, one batch at a time."""
    group = repository.lower()
    return group if len(group) <= MAX_GROUP_CHARACTERS else hashlib.sha256(group.encode()).hexdigest()


def encode_message(message: Message) -> str:
    """Return the message as the body of an SQS message."""
    push = message.push
    return json.dumps(
        {
            "version": VERSION,
            "cause": str(message.cause),
            "repository": message.repository,
            "ref": message.ref,
            "before": push and push.before,
            "after": push and push.after,
            "is_single": push and push.is_single,
            "is_deleted": push and push.is_deleted,
            "pushed_at": push and push.pushed_at,
            "committed_at": push and push.committed_at,
            "delivery": message.delivery,
            "received_at": message.received_at,
        },
        separators=(",", ":"),
    )


def decode_message(body: str) -> Message:
    """Return the message in the body of an SQS message.

    Raises Malformed, naming the field and never its value: anybody who may send to the queue may send anything.
    """
    try:
        fields = parse_object(body)
    except ValueError as error:
        raise Malformed(f"the message {error}") from None
    if not is_version(fields.get("version"), VERSION):
        raise Malformed(f"the message is not of version {VERSION}")
    try:
        return _read_message(fields)
    except FieldInvalid as error:
        raise Malformed(f"the message's {error}") from None


def _read_message(fields: dict[str, object]) -> Message:
    repository = read_field(fields, "repository", checked(full_name_problem))
    ref = read_field(fields, "ref", checked(ref_problem))
    delivery = read_field(fields, "delivery", checked(delivery_problem))
    received_at = read_field(fields, "received_at", _received_at)
    cause = read_field(fields, "cause", one_of(Cause))
    push = _read_push(fields, repository, ref) if cause is Cause.PUSH else None
    return Message(cause=cause, repository=repository, ref=ref, delivery=delivery, received_at=received_at, push=push)


def _read_push(fields: dict[str, object], repository: str, ref: str) -> PushEvent:
    pushed_at = read_field(fields, "pushed_at", nullable(seconds))
    return PushEvent(
        repository=repository,
        ref=ref,
        before=read_field(fields, "before", object_id),
        after=read_field(fields, "after", object_id),
        is_deleted=read_field(fields, "is_deleted", flag),
        pushed_at=None if pushed_at is None else int(pushed_at),
        committed_at=read_field(fields, "committed_at", nullable(seconds)),
        is_single=read_field(fields, "is_single", flag),
    )


def _received_at(value: object) -> float:
    if value is None:
        raise ValueError("is missing")
    return seconds(value)
