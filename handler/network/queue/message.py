"""What the queue carries: who says "look now" at which ref, and what a push claims. Pure: no I/O, no clock.

Never the payload: a message has a few hundred bytes, and nothing in it that a log line could not hold.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from enum import StrEnum

from handler.config.fields import parse_object
from handler.config.names import is_full_name, ref_problem
from handler.errors import Malformed
from handler.model import PushEvent

VERSION = 1
MAX_GROUP_CHARACTERS = 128
"""SQS ends a MessageGroupId here; two parts of 100 characters make a longer name."""
MAX_DELIVERY_CHARACTERS = 200

_COMMIT = re.compile(r"[0-9a-f]{40}")


class Cause(StrEnum):
    """Who asks."""

    PUSH = "push"
    SCHEDULE = "schedule"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Message:
    """`push` is there for a push alone; `received_at` (seconds since the epoch) is when it was asked for."""

    cause: Cause
    repository: str
    ref: str
    delivery: str
    received_at: float
    push: PushEvent | None = None


def group_of(repository: str) -> str:
    """Return the group that a repository's messages form: one batch of a group is worked on at a time."""
    group = repository.lower()
    return group if len(group) <= MAX_GROUP_CHARACTERS else hashlib.sha256(group.encode()).hexdigest()


def encode_message(message: Message) -> str:
    """Return the message's body."""
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
    """Return the message that `body` is.

    Raises Malformed, naming the field and none of its values: whoever may send to the queue may send anything.
    """
    try:
        fields = parse_object(body)
    except ValueError as error:
        raise Malformed(f"the message {error}") from None
    if fields.get("version") != VERSION:
        raise Malformed(f"the message is not of version {VERSION}")
    repository, ref = _text(fields, "repository"), _text(fields, "ref")
    if not is_full_name(repository):
        raise Malformed("the message's repository is not <owner>/<name>")
    if problem := ref_problem(ref):
        raise Malformed(f"the message's ref {problem}")
    delivery = _text(fields, "delivery")
    if len(delivery) > MAX_DELIVERY_CHARACTERS or not delivery.isprintable():
        raise Malformed("the message's delivery is not an id")
    received_at = _seconds(fields, "received_at")
    if received_at is None:
        raise Malformed("the message's received_at is missing")
    cause = _cause(fields)
    push = _push(fields, repository, ref) if cause is Cause.PUSH else None
    return Message(cause, repository, ref, delivery, received_at, push)


def _cause(fields: dict[str, object]) -> Cause:
    try:
        return Cause(_text(fields, "cause"))
    except ValueError:
        raise Malformed("the message's cause is none that is known") from None


def _push(fields: dict[str, object], repository: str, ref: str) -> PushEvent:
    pushed_at = _seconds(fields, "pushed_at")
    return PushEvent(
        repository=repository,
        ref=ref,
        before=_commit(fields, "before"),
        after=_commit(fields, "after"),
        is_deleted=_flag(fields, "is_deleted"),
        pushed_at=None if pushed_at is None else int(pushed_at),
        committed_at=_seconds(fields, "committed_at"),
        is_single=_flag(fields, "is_single"),
    )


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise Malformed(f"the message's {name} is not text")
    return value


def _commit(fields: dict[str, object], name: str) -> str:
    value = _text(fields, name)
    if not _COMMIT.fullmatch(value):
        raise Malformed(f"the message's {name} is not a commit id")
    return value


def _flag(fields: dict[str, object], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise Malformed(f"the message's {name} is neither true nor false")
    return value


def _seconds(fields: dict[str, object], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond every float
        pass
    raise Malformed(f"the message's {name} is not a time in seconds")
