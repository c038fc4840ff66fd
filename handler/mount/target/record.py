"""`published.json`: what is published at a target, since when, by which delivery. Its keys are frozen.

People and monitors read it, and the next run.
"""

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from handler.config.fields import (
    checked,
    flag,
    moment,
    nullable,
    object_id,
    parse_leniently,
    read_sound,
    text,
    whole_number,
)
from handler.config.names import delivery_problem, full_name_problem, ref_problem
from handler.exchange.operations import Hold
from handler.model import MAX_AHEAD_SECONDS, WHOLE_TREE, TreeFilter
from handler.mount.fs.files import NOT_REGULAR, read_whole
from handler.mount.git.filtered import read_filter
from handler.mount.target.layout import is_release

_MAX_BYTES = 1024 * 1024
_HELD = re.compile(rb'"held"\s*:\s*(?!null)[^\s]')


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """The file's content. Times are seconds since the epoch; the file's `since` tells people the time of the flip.

    `pushed_at` is the latest of all deliveries that the remote confirmed, in GitHub's clock. `asked_at` is when a run
    last asked the remote, in our clock, `answered_at` when its answer had come. `gone_since` is when a run first found
    the ref gone; None while it is there.

    Readers may have written the file. A text that was damaged is empty, and a time that was, or that has not come, is
    0.0: never.
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
    filter: TreeFilter = WHOLE_TREE
    """What of the commit is published."""
    confirmed_commit: str | None = None
    """A later commit, of which the filter leaves the very tree that is published; None: there is none."""

    @property
    def is_whole(self) -> bool:
        """Whether it says what it is of, and whose; else the next run writes that anew."""
        return bool(self.repository and self.ref and self.commit)

    def to_json(self) -> bytes:
        """Return the file's bytes."""
        since = datetime.fromtimestamp(self.published_at, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {"since": since.replace("+00:00", "Z"), **asdict(self)}
        # Left out where they say nothing, as for most rules: so their records are as older versions write them.
        del fields["filter"], fields["confirmed_commit"]
        if self.filter != WHOLE_TREE:
            fields["filter"] = self.filter.to_plain()
        if self.confirmed_commit is not None:
            fields["confirmed_commit"] = self.confirmed_commit
        return json.dumps(fields, indent=2).encode() + b"\n"


def read_record(path: str, *, now: float) -> PublishedRecord | None:
    """Return the record at `path`; None where there is none, or none that can be read: then the next run makes one.

    Each field is checked by itself, so that one that somebody damaged costs no other, and never a hold. Raises OSError
    for what the mount answers, a missing file excepted.
    """
    try:
        # Bounded: a record of ours has some 700 bytes, and whoever can write the mount may have put anything here.
        content = read_whole(path, max_bytes=_MAX_BYTES + 1)
    except NotADirectoryError:
        # The target's path leads through a file. That is told where something is to be published there.
        return None
    except OSError as error:
        if error.errno not in NOT_REGULAR:
            raise
        # A link or a pipe. The next run's rename replaces it; to raise would hold the target for ever.
        return None
    return None if content is None else _parse(content, now)


def _parse(content: bytes, now: float) -> PublishedRecord | None:
    fields = parse_leniently(content)
    if fields is None:
        # To lose a hold would undo a rollback. What was cut off may be one too.
        is_held = len(content) > _MAX_BYTES or _HELD.search(content)
        return _record_of({"held": {}}, now) if is_held else None
    record = _record_of(fields, now)
    is_empty = record.held is None and not (record.repository or record.ref or record.commit)
    return None if is_empty else record


def _record_of(fields: dict[str, object], now: float) -> PublishedRecord:
    past, count = moment(now + MAX_AHEAD_SECONDS), whole_number(0, 2**63 - 1)
    pushed_at = read_sound(fields, "pushed_at", nullable(past), None)
    return PublishedRecord(
        repository=read_sound(fields, "repository", checked(full_name_problem), ""),
        ref=read_sound(fields, "ref", checked(ref_problem), ""),
        commit=read_sound(fields, "commit", object_id, ""),
        previous_commit=read_sound(fields, "previous_commit", nullable(object_id), None),
        published_at=read_sound(fields, "published_at", past, 0.0),
        asked_at=read_sound(fields, "asked_at", past, 0.0),
        answered_at=read_sound(fields, "answered_at", past, 0.0),
        pushed_at=None if pushed_at is None else int(pushed_at),
        delivery=read_sound(fields, "delivery", checked(delivery_problem), ""),
        files_written=read_sound(fields, "files_written", count, 0),
        files_removed=read_sound(fields, "files_removed", count, 0),
        bytes_fetched=read_sound(fields, "bytes_fetched", count, 0),
        gone_since=read_sound(fields, "gone_since", nullable(past), None) or None,
        # An event is put at least once: nobody knows whether this one was.
        announced=read_sound(fields, "announced", flag, "announced" not in fields),
        previous_announced=read_sound(fields, "previous_announced", flag, "previous_announced" not in fields),
        held=_held(fields.get("held"), now),
        # What cannot be read is none that a rule has: then the next run looks at the release, and writes it anew.
        filter=read_sound(fields, "filter", read_filter, WHOLE_TREE),
        confirmed_commit=read_sound(fields, "confirmed_commit", nullable(object_id), None),
    )


def _held(value: object, now: float) -> Hold | None:
    if value is None:
        return None
    # What is there and cannot be understood is a hold all the same: to lose one would undo a rollback.
    fields = value if isinstance(value, dict) else {}
    left = fields.get("left")
    return Hold(
        since=read_sound(fields, "since", moment(now + MAX_AHEAD_SECONDS), 0.0),
        by=read_sound(fields, "by", text, ""),
        why=read_sound(fields, "why", text, ""),
        commit=read_sound(fields, "commit", _release, ""),
        left=tuple(each for each in left if _is_release(each)) if isinstance(left, list) else (),
    )


def _release(value: object) -> str:
    if not isinstance(value, str) or not is_release(value):
        raise ValueError("is not a release's name")
    return value


def _is_release(value: object) -> bool:
    return isinstance(value, str) and is_release(value)
