"""What a run of one target writes down and tells at its end: its record, the event, the outcome's words."""

import time
from dataclasses import dataclass, replace

from handler.model import Counts, PushEvent
from handler.mount.git.fetch import Fetched
from handler.mount.git.objects import Objects
from handler.mount.target.notify import has_pending_event, notify
from handler.mount.target.record import PublishedRecord
from handler.mount.target.run import Run


@dataclass(frozen=True, slots=True)
class Recording:
    """The record of one target. `objects` say what changed, for the event."""

    work: Run
    objects: Objects

    def record_published(self, commit: str, settled: Fetched, published_at: float, counts: Counts) -> None:
        """Tell and write down that the commit was published. Raises OSError."""
        self._tell(self._record(commit, settled, published_at, counts))

    def record_confirmed(self, settled: Fetched) -> None:
        """Bring the record of what stands up to date where it matters: it is missing after a kill, or a push is newer.

        Raises OSError.
        """
        record, commit = self.work.published.record, settled.commit
        assert commit is not None
        is_of_this = record is not None and record.commit == commit
        if record is not None and is_of_this and record.ref == self.work.target.ref:
            pushed_at = self.latest_pushed_at()
            fresh = replace(record, asked_at=settled.asked_at, pushed_at=pushed_at, gone_since=None)
        else:
            previous = None
            if record is not None:
                previous = record.previous_commit if is_of_this else record.commit
            fresh = replace(self._record(commit, settled, self.work.clock(), Counts()), previous_commit=previous)
        if not is_of_this or has_pending_event(self.work.emit, record):
            self._tell(fresh)
        elif record is None or replace(fresh, asked_at=record.asked_at) != record:
            self.work.directory.write_record(fresh)

    def latest_pushed_at(self) -> int | None:
        """Return the latest of all deliveries' `pushed_at`, in GitHub's clock."""
        record = self.work.published.record
        before = record.pushed_at if record is not None and record.ref == self.work.target.ref else None
        push = self.work.trigger.push
        return max((at for at in (before, push.pushed_at if push else None) if at is not None), default=None)

    def _tell(self, record: PublishedRecord) -> None:
        work = self.work
        work.directory.write_record(notify(work.emit, record, work.published, work.target.path, self.objects))

    def _record(self, commit: str, settled: Fetched, published_at: float, counts: Counts) -> PublishedRecord:
        return PublishedRecord(
            repository=self.work.repository.full_name,
            ref=self.work.target.ref,
            commit=commit,
            previous_commit=self.work.published.commit,
            published_at=published_at,
            asked_at=settled.asked_at,
            pushed_at=self.latest_pushed_at(),
            delivery=self.work.trigger.delivery,
            files_written=counts.files_written,
            files_removed=counts.files_removed,
            bytes_fetched=counts.bytes_fetched,
        )


def reason_of(settled: Fetched, push: PushEvent | None) -> str:
    """Return why this commit was published."""
    if not settled.is_confirmed:
        return "payload_trusted"
    return "pushed" if push is not None and settled.object_id == push.after else "ref_moved_on"


def push_to_visible(push: PushEvent | None, settled: Fetched, visible_at: float) -> float | None:
    """Return the seconds from the push until readers see it; None where another commit than the pushed one is seen."""
    if push is None:
        return None
    pushed_at = push.pushed_at if push.pushed_at is not None else push.committed_at
    if pushed_at is None or settled.object_id != push.after:
        return None
    return max(0.0, visible_at - pushed_at)


def milliseconds_since(started: float) -> float:
    """Return the milliseconds since `started`, of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000
