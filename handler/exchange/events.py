"""What others are told of a target: the content of an event, bounded. Pure: no I/O, no clock.

docs/events.md describes the events to those who receive them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from handler.errors import Transient
from handler.model import ChangedPaths, Counts, Outcome, Target

MAX_PATHS = 500
"""So many changed paths one event tells, of all three lists together."""
MAX_DETAIL_BYTES = 190_000
"""EventBridge takes entries of 256 KB, and queues behind it messages of as much, with the envelope around them."""


class EventKind(StrEnum):
    """The event's detail type."""

    PUBLISHED = "ReleasePublished"
    FAILED = "PublishFailed"
    RETIRED = "TargetRetired"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `at` is when it happened (seconds since the epoch).

    `commit` is what readers have now, `previous_commit` what they had before. `changes` None means that they are not
    known. `pushed_commit` is what a failed push brought.
    """

    kind: EventKind
    repository: str
    ref: str
    path: str
    commit: str | None
    previous_commit: str | None
    delivery: str
    at: float
    counts: Counts = field(default_factory=Counts)
    changes: ChangedPaths | None = None
    reason: str | None = None
    is_transient: bool = False
    pushed_commit: str | None = None


Emit = Callable[[Event], bool]
"""Take an event; returns whether the bus took it."""


def failed(outcome: Outcome, target: Target, delivery: str, at: float, pushed_commit: str | None) -> Event:
    """Return the event of a target's failed outcome; what readers have did not change."""
    return Event(
        EventKind.FAILED,
        outcome.repository or "",
        target.ref,
        target.path,
        outcome.commit,
        outcome.commit,
        delivery,
        at,
        reason=outcome.reason,
        is_transient=outcome.status == Transient.status,
        pushed_commit=pushed_commit,
    )


def retired(repository: str, target: Target, commit: str | None, delivery: str, at: float) -> Event:
    """Return the event of a target that ended with its ref; `commit` is what stood there."""
    return Event(EventKind.RETIRED, repository, target.ref, target.path, None, commit, delivery, at)


def detail_of(announcement: Event) -> str:
    """Return the event's detail: a JSON object of at most MAX_DETAIL_BYTES in UTF-8."""
    detail: dict[str, object] = {
        "repository": announcement.repository,
        "ref": announcement.ref,
        "path": announcement.path,
        "commit": announcement.commit,
        "previous_commit": announcement.previous_commit,
        "delivery": announcement.delivery,
    }
    moment = datetime.fromtimestamp(announcement.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if announcement.kind is EventKind.FAILED:
        detail |= {
            "pushed_commit": announcement.pushed_commit,
            "failed_at": moment,
            "reason": announcement.reason,
            "is_transient": announcement.is_transient,
        }
    elif announcement.kind is EventKind.RETIRED:
        detail |= {"retired_at": moment}
    else:
        counts = announcement.counts
        detail |= {
            "published_at": moment,
            "counts": {
                "files_written": counts.files_written,
                "files_removed": counts.files_removed,
                "bytes_fetched": counts.bytes_fetched,
            },
        }
        detail["changes"] = _told(announcement.changes, MAX_DETAIL_BYTES - _size(detail) - 200)
    return _json(detail)


def _told(changes: ChangedPaths | None, room: int) -> dict[str, object]:
    """Return the changes as far as they fit in: the first ones by their paths, whichever list they are of."""
    lists: dict[str, list[str]] = {"added": [], "modified": [], "removed": []}
    if changes is None:
        return {**lists, "total": None, "is_complete": False}
    every = [(path, "added") for path in changes.added]
    every += [(path, "modified") for path in changes.modified]
    every += [(path, "removed") for path in changes.removed]
    every.sort()
    is_complete = len(every) <= MAX_PATHS
    for path, name in every[:MAX_PATHS]:
        text = path.decode("utf-8", "replace")
        room -= _size(text) + 1
        if room < 0:
            is_complete = False
            break
        lists[name].append(text)
    return {**lists, "total": len(every), "is_complete": is_complete}


def _size(value: object) -> int:
    return len(_json(value).encode())


def _json(value: object) -> str:
    """Escape only what JSON must have escaped: paths may be of any script, and each escape is six bytes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Names come from payloads and parameters, where JSON can spell half of a surrogate pair.
    return text.encode("utf-8", "replace").decode()
