"""The journal of a pull: what the run is about to do to the working copy, written before the first file changes.

The objects are complete by then. A run that follows a killed one reads the journal, and either finishes the pull or
restores the old commit.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from handler.config.fields import is_version
from handler.mount.fs.files import read_whole
from handler.mount.git.tree import TreeEntry
from handler.mount.working_copy.gitdir.names import decode_name, encode_name
from handler.mount.working_copy.gitdir.staging_area import StagingArea
from handler.mount.working_copy.local_changes import LocalChange
from handler.mount.working_copy.paths import CopyPaths
from handler.mount.working_copy.rebase.reflog_lines import LogLine

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PullJournal:
    """`branch` (a full name) moves from the commit `old` (None: no commit yet) to `new`, both 40 hex digits.

    `lines` go to the reflogs, with `committer` (`Name <mail>`) and `timestamp` (seconds since the epoch).
    `local_changes` are the uncommitted changes that the pull reapplies, by path. `stash` is the stash commit (40 hex
    digits) that holds them if they conflict; None if they do not.
    """

    branch: str
    old: str | None
    new: str
    committer: bytes
    timestamp: int
    lines: tuple[LogLine, ...] = ()
    local_changes: Mapping[bytes, LocalChange] = field(default_factory=dict)
    stash: bytes | None = None

    def write(self, paths: CopyPaths, staging: StagingArea) -> None:
        """Write the journal in one step: a rename."""
        fields = {
            "branch": self.branch,
            "old": self.old,
            "new": self.new,
            "committer": decode_name(self.committer),
            "at": self.timestamp,
            "lines": [[decode_name(field) for field in line] for line in self.lines],
            "kept": {
                path.hex(): [_entry_to_json(entry) for entry in change] for path, change in self.local_changes.items()
            },
            "stash": None if self.stash is None else self.stash.decode(),
            "version": _VERSION,
        }
        staging.replace(paths.journal, json.dumps(fields).encode(), "journal")


def read_journal(paths: CopyPaths) -> PullJournal | None:
    """Return the journal of a killed run; None if there is none.

    Only git2efs writes the file, and always whole. If it cannot be read, another version of this code wrote it. Then
    nothing is known about that run: what it left counts as the user's, and a pull refuses it if it is in the way.
    """
    content = read_whole(paths.journal)
    if content is None:
        return None
    try:
        fields = json.loads(content)
        if not is_version(fields["version"], _VERSION):
            return None
        stash = fields["stash"]
        return PullJournal(
            branch=fields["branch"],
            old=fields["old"],
            new=fields["new"],
            committer=encode_name(fields["committer"]),
            timestamp=fields["at"],
            lines=tuple(LogLine(*(encode_name(field) for field in line)) for line in fields["lines"]),
            local_changes={
                bytes.fromhex(path): LocalChange(*(_entry_from_json(entry) for entry in change))
                for path, change in fields["kept"].items()
            },
            stash=None if stash is None else encode_name(stash),
        )
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None


def remove_journal(paths: CopyPaths) -> None:
    """Remove the journal, if it is there: nothing is half done any more."""
    with suppress(FileNotFoundError):
        os.unlink(paths.journal)


def _entry_to_json(entry: TreeEntry | None) -> list[object] | None:
    return None if entry is None else [entry.mode, entry.id.decode()]


def _entry_from_json(value: object) -> TreeEntry | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError
    mode, object_id = value
    return TreeEntry(int(mode), str(object_id).encode())
