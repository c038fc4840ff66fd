"""`published.json`: what is published at a target, since when, by which delivery. Its keys are frozen.

People and monitors read it, and the next run.
"""

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TypeGuard

from handler.config.names import is_object_id
from handler.exchange.operations import Hold
from handler.mount.fs.files import read_whole

_MAX_BYTES = 65_536
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999, in seconds since the epoch: the last time that is a date."""


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """The file's content. Times are seconds since the epoch; the file's `since` tells people the time of the flip.

    `pushed_at` is the latest of all deliveries that the remote confirmed, in GitHub's clock. `asked_at` is when a run
    last asked the remote, in our clock, `answered_at` when its answer had come. `gone_since` is when a run first found
    the ref gone; None while it is there.
    """

    repository: str
    ref: str
    commit: str
    previous_commit: str | None
    published_at: float
    asked_at: float
    pushed_at: int | None = None
    delivery: str = ""
    files_written: int = 0
    files_removed: int = 0
    bytes_fetched: int = 0
    gone_since: float | None = None
    announced: bool = True
    """False while the event bus has not taken this release's event: the next run emits it again."""
    previous_announced: bool = True
    """Whether the bus certainly took the event of `previous_commit`. If not, consumers may have missed it, and what
    changed since `previous_commit` is not all that is new to them."""
    held: Hold | None = None
    answered_at: float = 0.0
    """0 where an older version wrote the record."""

    def to_json(self) -> bytes:
        """Return the file's bytes."""
        since = datetime.fromtimestamp(self.published_at, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"since": since.replace("+00:00", "Z"), **asdict(self)}, indent=2).encode() + b"\n"


_KEYS = frozenset(each.name for each in fields(PublishedRecord)) - {"held"}


def read_record(path: str) -> PublishedRecord | None:
    """Return the record at `path`; None where there is none, or none that can be read: then the next run makes one.

    Raises OSError for what the mount answers, a missing file excepted.
    """
    try:
        # Bounded: a record of ours has some 700 bytes, and whoever can write the mount may have put anything here.
        content = read_whole(path, max_bytes=_MAX_BYTES)
    except NotADirectoryError:
        # The target's path leads through a file. That is told where something is to be published there.
        return None
    return None if content is None else _parse(content)


def _parse(content: bytes) -> PublishedRecord | None:
    try:
        found = json.loads(content)
        held = _held(found.pop("held", None))
        # A newer version may have written more: to refuse that would lose a hold when somebody goes back to this one.
        record = PublishedRecord(**{name: value for name, value in found.items() if name in _KEYS}, held=held)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    # Every field is checked before a run believes it: readers may have write access to the mount.
    texts = (record.repository, record.ref, record.delivery)
    times = (record.published_at, record.asked_at, record.answered_at)
    maybe_times = (record.pushed_at, record.gone_since)
    counts = (record.files_written, record.files_removed, record.bytes_fetched)
    is_sound = (
        all(isinstance(text, str) for text in texts)
        and all(map(_is_time, times))
        and all(each is None or _is_time(each) for each in maybe_times)
        and all(map(_is_count, counts))
        and isinstance(record.announced, bool)
        and isinstance(record.previous_announced, bool)
        and _is_commit(record.commit)
        and (record.previous_commit is None or _is_commit(record.previous_commit))
    )
    return record if is_sound else None


def _is_commit(value: object) -> bool:
    return isinstance(value, str) and is_object_id(value)


def _is_time(value: object) -> TypeGuard[float]:
    # What no date can be made of would fail each run that writes the record again.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LAST_SECOND


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _held(value: object) -> Hold | None:
    if value is None:
        return None
    # What is there and cannot be understood is a hold all the same: to lose one would undo a rollback.
    if not isinstance(value, dict):
        return Hold(since=0.0)
    since, left = value.get("since"), value.get("left")
    return Hold(
        since=float(since) if _is_time(since) else 0.0,
        by=str(value.get("by", "")),
        why=str(value.get("why", "")),
        commit=str(value.get("commit", "")),
        left=tuple(map(str, left)) if isinstance(left, list) else (),
    )
