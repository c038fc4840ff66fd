"""Decide what a pull does to the branch, and replay the local commits onto the new tip. Pure.

It decides and replays as `git pull --rebase` does with its merge backend. Nothing is written: new commits go into an
overlay, and a conflict is an error that leaves nothing behind.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Protocol

from handler.errors import CopyUnusable, ReplayConflict
from handler.mount.git.objects import COMMIT
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.commit_graph import CommitGraph
from handler.mount.working_copy.rebase.commits import (
    describe_commit,
    ident_line,
    read_commit,
    reencode,
    replayed_commit,
)
from handler.mount.working_copy.rebase.patches import already_upstream, is_empty

_MAX_PATHS = 20
_MAX_PATH_BYTES = 200


class MergeResult(Protocol):
    """The result of a three-way merge of trees. With conflicts (their paths) the tree means nothing."""

    @property
    def tree(self) -> bytes:
        """The merged tree's id."""
        ...

    @property
    def conflicts(self) -> tuple[bytes, ...]:
        """The paths that cannot be merged."""
        ...


MergeTrees = Callable[[MemoryOverlay, bytes | None, bytes, bytes], MergeResult]
"""Merges (objects, base, ours, theirs): trees by their ids, a base of None is empty."""


class DecisionKind(StrEnum):
    """What to do with the branch."""

    UP_TO_DATE = "up_to_date"
    FAST_FORWARD = "fast_forward"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Decision:
    """The branch is at `head`, upstream at `tip`. The local commits are `upstream..head`.

    `upstream` is the tip, or, after a forced push, the former tip from which the local commits forked.
    """

    kind: DecisionKind
    head: bytes
    tip: bytes
    upstream: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One commit that HEAD moved to during the replay. `is_new`: the replay created it."""

    commit: bytes
    subject: bytes
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """The local commits after the replay.

    `head` is the branch's new commit. `picked` are pairs (old, new) in order, with equal ids if a commit stays in
    place. `dropped` are the commits that upstream has already. `start` is the first commit that is checked out (the
    tip, or the last of the commits that stay upon it), `steps` are those after it.
    """

    head: bytes
    picked: tuple[tuple[bytes, bytes], ...]
    dropped: tuple[bytes, ...]
    start: bytes
    steps: tuple[Step, ...]


def graph_of(objects: MemoryOverlay, shallow: Collection[bytes] = ()) -> CommitGraph:
    """Return the commit graph of `objects`. Commits in `shallow` count as having no parents."""
    return CommitGraph(partial(read_commit, objects), shallow)


def decide(graph: CommitGraph, head: bytes, tip: bytes, logged: Collection[bytes] = ()) -> Decision:
    """Decide how `head` gets to `tip`, whose commits are fetched already.

    `logged` are the former commits of the remote-tracking ref (see `CommitGraph.fork_point`). They are read only if one
    of them is in `head` and no longer in `tip`.
    """
    if head == tip:
        return Decision(DecisionKind.UP_TO_DATE, head, tip, tip)
    if graph.is_ancestor(head, tip):
        return Decision(DecisionKind.FAST_FORWARD, head, tip, tip)
    local = graph.commits_only_in(head, tip)
    if not local.isdisjoint(logged):
        fork_point = graph.fork_point(head, tuple(logged))
        if fork_point in local:
            return Decision(DecisionKind.REPLAY, head, tip, fork_point)
    kind = DecisionKind.UP_TO_DATE if graph.is_linear(head, local, tip) else DecisionKind.REPLAY
    return Decision(kind, head, tip, tip)


def replay(
    objects: MemoryOverlay, graph: CommitGraph, decision: Decision, committer: bytes, timestamp: int, merge: MergeTrees
) -> ReplayResult:
    """Replay the local commits onto the tip, one by one; new commits are added to `objects`.

    `committer` is `Name <mail>`, `timestamp` in seconds since the epoch; the zone is UTC. A commit that becomes empty
    is dropped; one that was empty is kept. Raises ReplayConflict at the first commit that conflicts, CopyUnusable for a
    commit without an author, and what `objects` and `merge` raise.
    """
    theirs, ours = graph.left_right(decision.upstream, decision.head)
    order = graph.replay_order(decision.head, ours)
    with_changes = [commit for commit in order if not is_empty(graph, commit)]
    known = already_upstream(objects, graph, theirs, with_changes)
    run = _Replay(objects, graph, merge, decision, ident_line(committer, timestamp))
    run.dropped = [commit for commit in order if commit in known]
    run.pick_all([commit for commit in order if commit not in known])
    return ReplayResult(
        head=run.head,
        picked=tuple(run.picked),
        dropped=tuple(run.dropped),
        start=run.start,
        steps=tuple(run.steps),
    )


class _Replay:
    """A replay in progress: `head`, its tree, and the commits so far."""

    def __init__(
        self, objects: MemoryOverlay, graph: CommitGraph, merge: MergeTrees, decision: Decision, committer: bytes
    ) -> None:
        self._objects = objects
        self._graph = graph
        self._merge = merge
        self._committer = committer
        self._tip = decision.tip
        self.start = self.head = decision.tip
        self.picked: list[tuple[bytes, bytes]] = []
        self.dropped: list[bytes] = []
        self.steps: list[Step] = []
        self._tree = graph.commit(decision.tip).tree

    def pick_all(self, commits: Iterable[bytes]) -> None:
        """Keep or pick every commit."""
        has_started = False
        for commit in commits:
            if self.head in self._graph.parents(commit)[:1]:
                self._keep(commit, has_started)
            else:
                has_started = True
                self._pick(commit)

    def _keep(self, commit: bytes, has_started: bool) -> None:
        """Fast-forward to a commit that has the head as its parent already."""
        self.head = commit
        self._tree = self._graph.commit(commit).tree
        self.picked.append((commit, commit))
        if has_started:
            self.steps.append(Step(commit, self._graph.commit(commit).subject, is_new=False))
        else:
            self.start = commit

    def _pick(self, commit: bytes) -> None:
        """Cherry-pick a commit onto the head."""
        original = self._graph.commit(commit)
        if not original.author:
            raise CopyUnusable(f"the local commit {describe_commit(commit, original)} names no author")
        parents = self._graph.parents(commit)
        base = self._graph.commit(parents[0]).tree if parents else None
        merged = self._merge(self._objects, base, self._tree, original.tree)
        if merged.conflicts:
            raise ReplayConflict(
                f"the local commit {describe_commit(commit, original)} does not go onto {self._tip[:12].decode()}: "
                f"conflicts in {format_paths(merged.conflicts)}"
            )
        if merged.tree == self._tree and not is_empty(self._graph, commit):
            self.dropped.append(commit)
            return
        content = replayed_commit(original, merged.tree, self.head, self._committer)
        self.head = self._objects.add(COMMIT, content)
        self._tree = merged.tree
        self.picked.append((commit, self.head))
        self.steps.append(Step(self.head, reencode(original)[1].partition(b"\n")[0], is_new=True))


def format_paths(paths: Collection[bytes]) -> str:
    """Name paths in a message, quoted and bounded: they come from a repository and may hold any bytes."""
    named = [_quote(path) for path in sorted(paths)[:_MAX_PATHS]]
    more = len(paths) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _quote(path: bytes) -> str:
    text = ascii(path[:_MAX_PATH_BYTES].decode(errors="replace"))
    return text if len(path) <= _MAX_PATH_BYTES else text + "..."
