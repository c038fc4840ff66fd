"""The remote-tracking ref: what a fetch says of the remote's branch, whatever comes of the pull.

Who has to rebase by hand, after a conflict, finds it there; and so does the next run, that has to know what the local
commits were built on when the remote's history was rewritten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from handler.mount.working_copy.gitdir.ref_logs import NULL_OID, LogEntry
from handler.mount.working_copy.open_copy import OpenCopy
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.commit_graph import CommitGraph
from handler.mount.working_copy.rebase.replay import history_of


@dataclass(frozen=True, slots=True)
class TrackingUpdate:
    """The remote's branch was at `before` (None: that is not known) and is at `tip`, commits of 40 hex digits.

    `history` is that of the commits in `objects`, which hold all that was fetched. `line` is for the ref's log.
    """

    before: bytes | None
    tip: bytes
    objects: MemoryOverlay
    history: CommitGraph
    line: LogEntry | None

    @classmethod
    def of(cls, copy: OpenCopy, before: bytes | None, tip: bytes) -> "TrackingUpdate":
        """Return what is to be written when a fetch brought the tip. Raises MirrorDamaged, OSError."""
        objects = MemoryOverlay(copy.store)
        history = history_of(objects, copy.store.shallow_commits())
        if before == tip:
            return cls(before, tip, objects, history, None)
        message = b"storing head"
        if before is not None:
            message = b"fast-forward" if history.is_ancestor(before, tip) else b"forced-update"
        return cls(before, tip, objects, history, LogEntry(before or NULL_OID, tip, b"pull --rebase: " + message))

    def write(self, copy: OpenCopy, at: int, *, is_again: bool) -> None:
        """Write it; `at` in seconds since the epoch. `is_again`: a killed run may have written the log's line.

        Raises CopyBusy, CopyUnusable, OSError.
        """
        copy.store.shown()
        if self.line is not None:
            copy.refs.append_log(copy.config.tracking_ref, [self.line], copy.committer, at, is_again=is_again)
            copy.refs.write(copy.config.tracking_ref, self.tip, {self.before, self.tip})

    def logged(self, copy: OpenCopy, head: bytes) -> Sequence[bytes]:
        """Return what the remote's branch was before, as far as the copy knows. Raises OSError.

        For `head`, the local branch: where nothing is committed upon what the remote's branch was, the log is not read.
        """
        if head == self.before:
            return [self.before]
        lines = copy.refs.log(copy.config.tracking_ref)
        if self.line is not None and lines[-1:] == [self.line]:
            lines.pop()  # this run's own
        return [*(each for line in lines for each in (line.old, line.new)), *([self.before] if self.before else [])]
