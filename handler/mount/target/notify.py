"""Telling others of a release, and remembering in its record whether they were told.

Between flip and record: so the record says that the bus took the event, or owes it. Killed in between, the next run
finds the record of another commit, and tells the event again. At least once, then, and never instead of publishing.
"""

from dataclasses import replace

from handler.exchange.events import Emit, Event, EventKind
from handler.model import Counts
from handler.mount.git.changes import changed_paths
from handler.mount.git.objects import Objects
from handler.mount.target.directory import Published
from handler.mount.target.record import PublishedRecord


def notify(
    emit: Emit | None, record: PublishedRecord, found: Published, path: str, objects: Objects
) -> PublishedRecord:
    """Announce the release that `record` is of, and return the record to write.

    `found` is what stood at the target (`path`) when the run began. Without `announce` nothing is done.
    """
    if emit is None:
        return record
    is_certain = _is_previous_announced(found, record.commit)
    is_taken = emit(
        Event(
            EventKind.PUBLISHED,
            record.repository,
            record.ref,
            path,
            record.commit,
            record.previous_commit,
            record.delivery,
            record.published_at,
            Counts(record.files_written, record.files_removed, bytes_fetched=record.bytes_fetched),
            changed_paths(objects, record.previous_commit, record.commit) if is_certain else None,
        )
    )
    return replace(record, announced=is_taken, previous_announced=is_certain)


def has_pending_event(emit: Emit | None, record: PublishedRecord | None) -> bool:
    """Whether the bus did not take the event of what is published."""
    return emit is not None and record is not None and not record.announced


def _is_previous_announced(found: Published, commit: str) -> bool:
    """Whether consumers were told, for certain, of what was published before `commit`.

    If not, an event was lost, or only seemed not to be taken; then nobody can say what changed since the last one
    that they got, which may be either.
    """
    record = found.record
    if record is None:
        return found.commit is None
    if record.commit == commit:
        return found.commit == commit and not record.announced and record.previous_announced
    return record.announced and found.commit in (commit, record.commit)
