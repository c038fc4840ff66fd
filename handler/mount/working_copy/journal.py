"""What a run is about to do to a working copy, written before the first file changes.

With it, and the objects that are complete by then, whoever comes after a killed run can bring the copy to the new
commit, or back to the old one.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from handler.mount.fs.files import read_whole
from handler.mount.git.modes import Leaf
from handler.mount.working_copy.gitdir.staging_area import StagingArea
from handler.mount.working_copy.local_changes import LocalChange
from handler.mount.working_copy.paths import CopyPaths

_VERSION = 1
Line = tuple[str, str, str, str]
"""A line of a reflog: the log's ref, the commit before and after, and the message."""


@dataclass(frozen=True, slots=True)
class PullJournal:
    """`branch` goes from the commit `old` (None: it has none yet) to `new`. Commits are 40 hex digits.

    `kept` is by path. `stash` is the commit that holds the uncommitted changes where they do not fit, None where they
    do. `committer` (`Name <mail>`) and `at` (seconds since the epoch) go into the reflogs.
    """

    branch: str
    old: str | None
    new: str
    committer: str
    at: int
    lines: tuple[Line, ...] = ()
    kept: Mapping[bytes, LocalChange] = field(default_factory=dict)
    stash: str | None = None

    def write(self, paths: CopyPaths, scratch: StagingArea) -> None:
        """Put it in its place, whole. Raises OSError."""
        fields = asdict(self) | {
            "version": _VERSION,
            "kept": {path.hex(): [_to_json(leaf) for leaf in kept] for path, kept in self.kept.items()},
        }
        scratch.replace(paths.journal, json.dumps(fields).encode(), "journal")


def read_journal(paths: CopyPaths) -> PullJournal | None:
    """Return what a killed run was about to do; None where none was. Raises OSError.

    It is ours alone, and whole when it is there. One that cannot be read is of another version of this code: then
    nothing is known, and what the run left is taken for the user's, and refused where it is in the way.
    """
    content = read_whole(paths.journal)
    if content is None:
        return None
    try:
        fields = json.loads(content)
        if fields.pop("version") != _VERSION:
            return None
        kept = {
            bytes.fromhex(path): (_leaf(kept[0]), _leaf(kept[1]), _leaf(kept[2]))
            for path, kept in fields.pop("kept").items()
        }
        lines = tuple((log, old, new, message) for log, old, new, message in fields.pop("lines"))
        return PullJournal(**fields, lines=lines, kept=kept)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None


def remove_journal(paths: CopyPaths) -> None:
    """All is done. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(paths.journal)


def _to_json(leaf: Leaf | None) -> list[object] | None:
    return None if leaf is None else [leaf[0], leaf[1].decode()]


def _leaf(value: object) -> Leaf | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError
    mode, object_id = value
    return int(mode), str(object_id).encode()
