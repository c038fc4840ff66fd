"""A target that an operator holds: no push changes it. What a killed rollback left undone is finished."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from handler.errors import MirrorDamaged
from handler.exchange.events import Emit
from handler.exchange.operations import Hold
from handler.model import WHOLE_TREE, TreeFilter
from handler.mount.git.objects import Objects
from handler.mount.target.directory import Published, TargetDirectory
from handler.mount.target.layout import filter_id_of
from handler.mount.target.notify import notify
from handler.mount.target.record import PublishedRecord


def record_of_flip(
    record: PublishedRecord,
    *,
    commit: str,
    previous: str | None,
    at: float,
    held: Hold | None,
    tree_filter: TreeFilter,
) -> PublishedRecord:
    """Return the record after an operator's flip from `previous` to `commit`, which no delivery asked for.

    `tree_filter` is what made the release of the commit. What is known of the remote stays: nobody asked it.
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
        filter=tree_filter,
        confirmed_commit=None,
    )


def is_of_release(record: PublishedRecord, published: Published, filter_of: Callable[[str], TreeFilter]) -> bool:
    """Whether a record is of what is published: of its commit, and of the same part of it. Raises OSError."""
    release = published.release
    if record.commit != published.commit or release is None:
        return record.commit == published.commit
    # To ask costs a listing, and nearly all releases are whole.
    is_whole = record.filter == WHOLE_TREE and filter_id_of(release) is None
    return is_whole or record.filter == filter_of(release)


def settle_hold(
    published: Published,
    directory: TargetDirectory,
    *,
    emit: Emit | None,
    mirror: AbstractContextManager[Objects],
    filter_of: Callable[[str], TreeFilter],
) -> None:
    """Bring the record up to what `current` says, and hand out the event that is pending. Only the lock's holder may.

    `mirror` lends the repository's objects, which only say what changed. `filter_of` tells what of its commit a
    release is. Raises OSError.
    """
    record, commit = published.record, published.commit
    if record is None or commit is None:
        return
    if not is_of_release(record, published, filter_of):
        # A rollback that was killed after its flip left the record of the release that it went back from.
        at = directory.clock()
        record = record_of_flip(
            record,
            commit=commit,
            previous=record.commit or None,
            at=at,
            held=record.held,
            tree_filter=filter_of(published.release or commit),
        )
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
