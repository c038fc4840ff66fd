"""The events that are put on the EventBridge bus, and their bounded content. Pure: no I/O, no clock.

docs/events.md describes the events for their consumers.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from handler.errors import Transient
from handler.model import Counts, Outcome, Target

MAX_PATHS = 500
"""The most changed paths in one event, all three lists together."""
MAX_DETAIL_BYTES = 190_000
"""EventBridge takes entries of 256 KB, and SQS queues behind it messages of 256 KB with the envelope around them."""


class EventKind(StrEnum):
    """The event's detail type."""

    PUBLISHED = "ReleasePublished"
    FAILED = "PublishFailed"
    RETIRED = "TargetRetired"


@dataclass(frozen=True, slots=True)
class ChangedPaths:
    """The paths of files and links that differ between two trees, relative to the tree and in bytes as git has them.

    A path that turned from a file into a link, or got another mode, is modified. Directories are not listed: the files
    in them are.
    """

    added: tuple[bytes, ...] = ()
    modified: tuple[bytes, ...] = ()
    removed: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `at` is when it happened, in seconds since the epoch.

    `commit` is what readers have now, `previous_commit` what they had before. `changes` is None where they are not
    known. `pushed_commit` is the commit of a push that failed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEvent:
    """An event that the bus has not taken yet: its JSON text (`detail`), and what finds its record on the mount."""

    kind: EventKind
    repository: str
    path: str
    commit: str | None
    detail: str


def pending(event: Event) -> PendingEvent:
    """Return the event with its detail as text."""
    commit = event.previous_commit if event.kind is EventKind.RETIRED else event.commit
    return PendingEvent(
        kind=event.kind, repository=event.repository, path=event.path, commit=commit, detail=detail_of(event)
    )


Emit = Callable[[Event], None]
"""Hand an event out of a run on the mount: the network side puts it on the bus once the run has ended."""
PutEvent = Callable[[PendingEvent], bool]
"""Put an event on the bus; return whether it took it."""


def failed_event(outcome: Outcome, target: Target, *, delivery: str, at: float, pushed_commit: str | None) -> Event:
    """Return the event for a target's failed outcome; what readers have did not change."""
    return Event(
        kind=EventKind.FAILED,
        repository=outcome.repository or "",
        ref=target.ref,
        path=target.path,
        commit=outcome.commit,
        previous_commit=outcome.commit,
        delivery=delivery,
        at=at,
        reason=outcome.reason,
        is_transient=outcome.status == Transient.status,
        pushed_commit=pushed_commit,
    )


def retired_event(repository: str, target: Target, *, commit: str | None, delivery: str, at: float) -> Event:
    """Return the event for a target that was retired with its ref; `commit` was the last one published."""
    return Event(
        kind=EventKind.RETIRED,
        repository=repository,
        ref=target.ref,
        path=target.path,
        commit=None,
        previous_commit=commit,
        delivery=delivery,
        at=at,
    )


def detail_of(event: Event) -> str:
    """Return the event's detail: a JSON object of at most MAX_DETAIL_BYTES in UTF-8."""
    detail: dict[str, object] = {
        "repository": event.repository,
        "ref": event.ref,
        "path": event.path,
        "commit": event.commit,
        "previous_commit": event.previous_commit,
        "delivery": event.delivery,
    }
    moment = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if event.kind is EventKind.FAILED:
        detail |= {
            "pushed_commit": event.pushed_commit,
            "failed_at": moment,
            "reason": event.reason,
            "is_transient": event.is_transient,
        }
    elif event.kind is EventKind.RETIRED:
        detail |= {"retired_at": moment}
    else:
        counts = event.counts
        detail |= {
            "published_at": moment,
            "counts": {
                "files_written": counts.files_written,
                "files_removed": counts.files_removed,
                "bytes_fetched": counts.bytes_fetched,
            },
        }
        detail["changes"] = _bounded_changes(event.changes, MAX_DETAIL_BYTES - _size(detail) - 200)
    return _json(detail)


def _bounded_changes(changes: ChangedPaths | None, room: int) -> dict[str, object]:
    """Return the changes that fit into `room` bytes: in the order of their paths, whichever list they are in."""
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
    # No ASCII escapes: paths may be in any script, and each escape is six bytes.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Names come from payloads and parameters, where JSON can spell half of a surrogate pair.
    return text.encode("utf-8", "replace").decode()
