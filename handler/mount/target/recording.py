"""Write `published.json` at the end of a run, and emit the release's event before.

The event goes between flip and record: so the record says whether the bus took it, or a later run has to emit it again.
"""

from dataclasses import replace

from handler.mount.git.fetch import Fetched
from handler.mount.git.objects import Objects
from handler.mount.target.mode import FlipResult
from handler.mount.target.notify import has_pending_event, notify
from handler.mount.target.record import PublishedRecord
from handler.mount.target.run import Run


def record_published(run: Run, objects: Objects, fetched: Fetched, flipped: FlipResult) -> None:
    """Emit the event of the commit that was just published, and record it. `objects` say what changed."""
    record = replace(
        _record(run, fetched, published_at=flipped.visible_at),
        files_written=flipped.files_written,
        files_removed=flipped.files_removed,
        bytes_fetched=fetched.bytes_fetched,
    )
    _notify_and_write(run, objects, record)


def record_confirmed(run: Run, objects: Objects, fetched: Fetched) -> None:
    """Record that the remote confirmed what is published, where that matters to a later run.

    It matters where a killed run left no record of this commit, where a push is newer, and where the event is pending.
    """
    record, commit = run.published.record, fetched.commit
    is_of_this = record is not None and record.commit == commit
    if record is not None and is_of_this and record.ref == run.target.ref:
        fresh = replace(record, asked_at=fetched.asked_at, pushed_at=latest_pushed_at(run), gone_since=None)
    else:
        previous = None
        if record is not None:
            previous = record.previous_commit if is_of_this else record.commit
        fresh = replace(_record(run, fetched, published_at=run.clock()), previous_commit=previous)
    if not is_of_this or has_pending_event(run.emit, record):
        _notify_and_write(run, objects, fresh)
    elif record is None or replace(fresh, asked_at=record.asked_at) != record:
        # A record that differs in `asked_at` alone is not written: that would be a write for every redelivery.
        run.directory.write_record(fresh)


def latest_pushed_at(run: Run) -> int | None:
    """Return the latest of all deliveries' `pushed_at`, in GitHub's clock."""
    push = run.trigger.push
    known = (run.confirmed_pushed_at, push.pushed_at if push is not None else None)
    return max((at for at in known if at is not None), default=None)


def _notify_and_write(run: Run, objects: Objects, record: PublishedRecord) -> None:
    run.directory.write_record(notify(run.emit, record, run.published, run.target.path, objects))


def _record(run: Run, fetched: Fetched, *, published_at: float) -> PublishedRecord:
    assert fetched.commit is not None
    return PublishedRecord(
        repository=run.repository.full_name,
        ref=run.target.ref,
        commit=fetched.commit,
        previous_commit=run.published.commit,
        published_at=published_at,
        asked_at=fetched.asked_at,
        pushed_at=latest_pushed_at(run),
        delivery=run.trigger.delivery,
    )
