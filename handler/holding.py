"""A target that an operator holds: nothing is published there; what a killed rollback left is brought to its end."""

from dataclasses import replace

from handler.efs.record import Held, Record
from handler.efs.releases import Found, TargetDirectory
from handler.errors import MirrorDamaged
from handler.git.objects import Objects
from handler.git.open_mirrors import OpenMirrors
from handler.telling import Announce, owes_event, tell


def is_held(found: Found, directory: TargetDirectory) -> bool:
    """Whether an operator holds the target. Raises OSError."""
    # Where somebody removed `current` the record was not looked at, and a hold has to outlive that too.
    record = found.record if found.commit is not None else directory.record()
    return record is not None and record.held is not None


def record_of_flip(record: Record, commit: str, previous: str, at: float, held: Held | None) -> Record:
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


def settle_held(
    found: Found,
    directory: TargetDirectory,
    path: str,
    announce: Announce | None,
    mirrors: OpenMirrors,
    mirror: str,
) -> None:
    """Bring the record of a held target up to what `current` says, and tell what is still to be told. Raises OSError.

    Only the holder of the repository's lock may. A rollback that was killed after its flip left a record of the
    release that it went back from.
    """
    record, commit = found.record, found.commit
    if record is None or commit is None:
        return
    if record.commit != commit:
        at = directory.clock()
        write_told(
            record_of_flip(record, commit, record.commit, at, record.held),
            found,
            directory,
            path,
            announce,
            mirrors,
            mirror,
        )
    elif owes_event(announce, record):
        write_told(record, found, directory, path, announce, mirrors, mirror)


def write_told(
    record: Record,
    found: Found,
    directory: TargetDirectory,
    path: str,
    announce: Announce | None,
    mirrors: OpenMirrors,
    mirror: str,
) -> None:
    """Announce the release that `record` is of, and write the record. Raises OSError for the latter.

    The mirror only says what changed: one that is damaged keeps nobody from going back.
    """
    if announce is not None:
        try:
            with mirrors.lent(mirror) as objects:
                record = tell(announce, record, found, path, objects)
        except (MirrorDamaged, OSError):
            record = tell(announce, record, found, path, Objects())
    directory.write_record(record)
