"""A target that an operator holds: no push changes it. What a killed rollback left undone is finished."""

from contextlib import AbstractContextManager
from dataclasses import replace

from handler.errors import MirrorDamaged
from handler.exchange.events import Emit
from handler.exchange.operations import Hold
from handler.mount.git.objects import Objects
from handler.mount.target.directory import Published, TargetDirectory
from handler.mount.target.notify import notify
from handler.mount.target.record import PublishedRecord


def record_of_flip(
    record: PublishedRecord, *, commit: str, previous: str | None, at: float, held: Hold | None
) -> PublishedRecord:
    """Return the record after an operator's flip from `previous` to `commit`, which no delivery asked for.

    What is known of the remote stays: nobody asked it.
    """
    # `notify` sets the two marks where there is a bus. Without one, nothing may look pending.
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


def settle_hold(
    published: Published, directory: TargetDirectory, *, emit: Emit | None, mirror: AbstractContextManager[Objects]
) -> None:
    """Bring the record up to what `current` says, and hand out the event that is pending. Only the lock's holder may.

    `mirror` lends the repository's objects, which only say what changed. Raises OSError.
    """
    record, commit = published.record, published.commit
    if record is None or commit is None:
        return
    if record.commit != commit:
        # A rollback that was killed after its flip left the record of the release that it went back from.
        at = directory.clock()
        record = record_of_flip(record, commit=commit, previous=record.commit or None, at=at, held=record.held)
    elif emit is None or record.announced:
        return
    notify_and_write(record, published, directory, emit=emit, mirror=mirror)


def notify_and_write(
    record: PublishedRecord,
    published: Published,
    directory: TargetDirectory,
    *,
    emit: Emit | None,
    mirror: AbstractContextManager[Objects],
    reserved: str = "",
) -> None:
    """Hand out the event of the release that `record` is of, and write the record. Raises OSError for the latter.

    `reserved` is what `prepare_flip` made for the record, `published` is what was published when the run began.
    """
    if emit is not None:
        try:
            with mirror as objects:
                record = notify(emit, record, published, directory.path, objects)
        except (MirrorDamaged, OSError):
            # A damaged mirror keeps no operator from going back: then the event does not say what changed.
            record = notify(emit, record, published, directory.path, Objects())
    directory.write_record(record, reserved)
