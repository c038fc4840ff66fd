"""The remote-tracking ref: it says where a fetch found the remote's branch, whatever comes of the pull.

A person who has to rebase by hand after a conflict finds the tip there. So does the next run, which has to know the
fork point of the local commits if the remote's history is rewritten.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from handler.mount.working_copy.gitdir.ref_logs import NULL_OID, LogEntry
from handler.mount.working_copy.open_copy import OpenCopy
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.commit_graph import CommitGraph
from handler.mount.working_copy.rebase.replay import graph_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingUpdate:
    """The ref moves from `old` (None: it does not exist yet) to `tip`, commits of 40 hex digits.

    `objects` hold all that was fetched, `graph` is their commit graph. `log_entry` is for the reflog; None if the ref
    stays where it is.
    """

    old: bytes | None
    tip: bytes
    objects: MemoryOverlay
    graph: CommitGraph
    log_entry: LogEntry | None

    @classmethod
    def of(cls, copy: OpenCopy, old: bytes | None, tip: bytes) -> "TrackingUpdate":
        """Return the update that a fetch of `tip` asks for. Raises MirrorDamaged."""
        objects = MemoryOverlay(copy.store)
        graph = graph_of(objects, copy.store.writer.shallow_commits())
        entry = None
        if old != tip:
            kind = b"storing head"
            if old is not None:
                kind = b"fast-forward" if graph.is_ancestor(old, tip) else b"forced-update"
            entry = LogEntry(old or NULL_OID, tip, b"pull --rebase: " + kind)
        return cls(old=old, tip=tip, objects=objects, graph=graph, log_entry=entry)

    def write(self, copy: OpenCopy, timestamp: int, *, is_retry: bool) -> None:
        """Update the ref and its reflog, once the fetched objects are on the mount.

        `timestamp` is in seconds since the epoch. `is_retry`: a killed run may have appended the entry. Raises
        CopyBusy, CopyUnusable.
        """
        copy.store.flush()
        if self.log_entry is not None:
            ref = copy.config.tracking_ref
            copy.refs.append_log(ref, [self.log_entry], copy.committer, timestamp, is_retry=is_retry)
            copy.refs.write(ref, self.tip, {self.old, self.tip})

    def reflog_commits(self, copy: OpenCopy, head: bytes) -> Sequence[bytes]:
        """Return the commits that the ref named before this fetch, as far as its reflog goes.

        If `head`, the local branch, has no local commits, the reflog is not read.
        """
        if head == self.old:
            return [self.old]
        entries = copy.refs.log(copy.config.tracking_ref)
        if self.log_entry is not None and entries[-1:] == [self.log_entry]:
            entries.pop()  # this run wrote it
        return [*(each for entry in entries for each in (entry.old, entry.new)), *([self.old] if self.old else [])]
