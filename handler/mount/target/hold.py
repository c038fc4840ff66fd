"""A target that an operator holds: nothing is published there; what a killed rollback left is brought to its end."""

from dataclasses import dataclass, replace

from handler.errors import MirrorDamaged
from handler.exchange.events import Emit
from handler.exchange.operations import Hold
from handler.mount.git.objects import Objects
from handler.mount.git.store_pool import StorePool
from handler.mount.target.directory import Published, TargetDirectory
from handler.mount.target.notify import has_pending_event, notify
from handler.mount.target.record import PublishedRecord


def is_held(found: Published, directory: TargetDirectory) -> bool:
    """Whether an operator holds the target. Raises OSError."""
    # Where somebody removed `current` the record was not looked at, and a hold has to outlive that too.
    record = found.record if found.commit is not None else directory.read_record()
    return record is not None and record.held is not None


def record_of_flip(
    record: PublishedRecord, commit: str, previous: str, at: float, held: Hold | None
) -> PublishedRecord:
    """Return the record after an operator's flip from `previous` to `commit`, which no delivery asked for.

    What is known of the remote stays: it was not asked.
    """
    return replace(
        record,
        commit=commit,
        previous_commit=previous,
        published_at=at,
        delivery="",
        files_written=0,
        files_removed=0,
        bytes_fetched=0,
        announced=True,
        previous_announced=True,
        held=held,
    )


@dataclass(frozen=True, slots=True)
class Holding:
    """Writes the record of a target that an operator turns or holds, and tells what it is the record of.

    `path` is the target's, `mirror` its repository's, which only says what changed: one that is damaged keeps nobody
    from going back. Only the holder of the repository's lock may do anything here.
    """

    directory: TargetDirectory
    path: str
    emit: Emit | None
    mirrors: StorePool
    mirror: str

    def bring_up_to_date(self, found: Published) -> None:
        """Bring the record up to what `current` says, and tell what is still to be told. Raises OSError.

        A rollback that was killed after its flip left a record of the release that it went back from.
        """
        record, commit = found.record, found.commit
        if record is None or commit is None:
            return
        if record.commit != commit:
            at = self.directory.clock()
            self.notify_and_write(record_of_flip(record, commit, record.commit, at, record.held), found)
        elif has_pending_event(self.emit, record):
            self.notify_and_write(record, found)

    def notify_and_write(self, record: PublishedRecord, found: Published) -> None:
        """Announce the release that `record` is of, and write the record. Raises OSError for the latter."""
        if self.emit is not None:
            try:
                with self.mirrors.borrow(self.mirror) as objects:
                    record = notify(self.emit, record, found, self.path, objects)
            except (MirrorDamaged, OSError):
                record = notify(self.emit, record, found, self.path, Objects())
        self.directory.write_record(record)
