"""Hand out the event of a release, and remember in its record whether the bus took it.

It is handed out between flip and record. Killed in between, the next run finds the record of another commit, and hands
the event out again: at least once, and never instead of publishing. Only the network side reaches the bus, after the
run; until it says that the bus took the event, the record says that it is pending.
"""

from dataclasses import replace

from handler.exchange.events import Emit, Event, EventKind, PendingEvent
from handler.model import Counts
from handler.mount.git.changes import changed_paths
from handler.mount.git.objects import Objects
from handler.mount.target.directory import Published, TargetDirectory
from handler.mount.target.record import PublishedRecord


def notify(emit: Emit, record: PublishedRecord, published: Published, path: str, objects: Objects) -> PublishedRecord:
    """Hand out the event of the release that `record` is of, and return the record to write.

    `published` is what was published at the target (`path`) when the run began; `objects` say what changed since.
    """
    # `published` is of before the flip: it says what consumers had, and whether they know of it.
    is_certain = _is_previous_announced(published, record.commit) and _is_of_same_filter(published, record)
    event = Event(
        kind=EventKind.PUBLISHED,
        repository=record.repository,
        ref=record.ref,
        path=path,
        commit=record.commit,
        previous_commit=record.previous_commit,
        delivery=record.delivery,
        at=record.published_at,
        counts=Counts(record.files_written, record.files_removed, bytes_fetched=record.bytes_fetched),
        # An event was lost, or only seemed to be: nobody knows what changed since the last one that consumers got.
        changes=changed_paths(objects, record.previous_commit, record.commit, record.filter) if is_certain else None,
    )
    emit(event)
    return replace(record, announced=False, previous_announced=is_certain)


def note_announced(directory: TargetDirectory, event: PendingEvent) -> None:
    """Note in the record that the bus took the event of what it is of. Only the lock's holder may. Raises OSError."""
    record = directory.read_record()
    if record is None or record.announced:
        return
    if (record.repository, record.commit) == (event.repository, event.commit):
        directory.write_record(replace(record, announced=True))


def _is_of_same_filter(published: Published, record: PublishedRecord) -> bool:
    """Whether what was published before was the same part of its commit; else anything may have changed."""
    return published.record is None or published.record.filter == record.filter


def _is_previous_announced(published: Published, commit: str) -> bool:
    """Whether the bus certainly took the event of what was published before `commit`."""
    record = published.record
    if record is None:
        return published.commit is None
    if record.commit == commit:
        return published.commit == commit and not record.announced and record.previous_announced
    return record.announced and published.commit in (commit, record.commit)
