"""A target that an operator holds: nothing is published there; what a killed rollback left is brought to its end."""

from dataclasses import dataclass, replace

from handler.errors import MirrorDamaged
from handler.mount.git.objects import Objects
from handler.mount.git.store_pool import OpenStores
from handler.mount.target.directory import Found, TargetDirectory
from handler.mount.target.notify import Announce, owes_event, tell
from handler.mount.target.record import Held, Record


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


@dataclass(frozen=True, slots=True)
class Holding:
    """Writes the record of a target that an operator turns or holds, and tells what it is the record of.

    `path` is the target's, `mirror` its repository's, which only says what changed: one that is damaged keeps nobody
    from going back. Only the holder of the repository's lock may do anything here.
    """

    directory: TargetDirectory
    path: str
    announce: Announce | None
    mirrors: OpenStores
    mirror: str

    def settle(self, found: Found) -> None:
        """Bring the record up to what `current` says, and tell what is still to be told. Raises OSError.

        A rollback that was killed after its flip left a record of the release that it went back from.
        """
        record, commit = found.record, found.commit
        if record is None or commit is None:
            return
        if record.commit != commit:
            at = self.directory.clock()
            self.write_told(record_of_flip(record, commit, record.commit, at, record.held), found)
        elif owes_event(self.announce, record):
            self.write_told(record, found)

    def write_told(self, record: Record, found: Found) -> None:
        """Announce the release that `record` is of, and write the record. Raises OSError for the latter."""
        if self.announce is not None:
            try:
                with self.mirrors.lent(self.mirror) as objects:
                    record = tell(self.announce, record, found, self.path, objects)
            except (MirrorDamaged, OSError):
                record = tell(self.announce, record, found, self.path, Objects())
        self.directory.write_record(record)
