"""Plan a pull: does the branch stay, fast-forward, or get its local commits replayed onto the tip? Touches no file."""

from dataclasses import dataclass
from functools import partial

from handler.mount.fs.plan import TreePlan
from handler.mount.git.diff import TreeDiff
from handler.mount.git.objects import BLOB, TREE, Objects
from handler.mount.git.plan import check_tree_bytes, plan_change, plan_walked
from handler.mount.working_copy.gitdir.names import encode_name
from handler.mount.working_copy.gitdir.ref_logs import NULL_OID
from handler.mount.working_copy.merge.merge_trees import merge_trees
from handler.mount.working_copy.open_copy import OpenCopy
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.reflog_lines import LogLine, reflog_lines
from handler.mount.working_copy.rebase.replay import DecisionKind, ReplayResult, decide, replay
from handler.mount.working_copy.tracking import TrackingUpdate

_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class PullPlan:
    """`head` is the branch's new commit (40 hex digits), `log_lines` go to the reflogs.

    The replayed commits and their trees are in the update's objects, and not written yet. `notes` are for the log.
    """

    head: str
    log_lines: tuple[LogLine, ...]
    notes: tuple[str, ...] = ()


def plan_pull(copy: OpenCopy, tracked: TrackingUpdate, head: str | None, timestamp: int) -> PullPlan | None:
    """Plan how the branch gets from `head` (None: no commit yet) to what was fetched; None if it stays.

    `timestamp` (seconds since the epoch) is the committer date of replayed commits. Raises ReplayConflict,
    CopyUnusable, MirrorDamaged, TreeUnsafe.
    """
    objects, tip, branch = tracked.objects, tracked.tip, encode_name(copy.branch)
    if head is None:
        lines = tuple(LogLine(ref, NULL_OID, tip, b"initial pull") for ref in (b"HEAD", branch))
        return PullPlan(tip.decode(), lines)
    decision = decide(tracked.graph, head.encode(), tip, tracked.reflog_commits(copy, head.encode()))
    if decision.kind is DecisionKind.UP_TO_DATE:
        return None
    result = None
    if decision.kind is DecisionKind.REPLAY:
        result = replay(objects, tracked.graph, decision, copy.committer, timestamp, merge_trees)
        if result.head == decision.head:
            return None
    new = decision.tip if result is None else result.head
    return PullPlan(new.decode(), tuple(reflog_lines(decision, result, branch)), _notes_on(result))


def plan_checkout(
    objects: MemoryOverlay | Objects, commit: str, *, max_bytes: int, allow_external_links: bool
) -> TreePlan:
    """Plan how an empty worktree gets a commit's tree.

    Raises TreeUnsafe for what must not be written, TreeTooLarge for a tree of more than `max_bytes`, ObjectTooLarge,
    and MirrorDamaged.
    """
    read = partial(objects.read, kind=TREE), partial(objects.read, kind=BLOB)
    plan = plan_change(*read, None, objects.tree_of(commit), allow_external_links=allow_external_links)
    check_tree_bytes(plan, objects.size_of, max_bytes)
    return plan


def check_checkout(
    objects: MemoryOverlay | Objects,
    difference: TreeDiff,
    old: str | None,
    new: str,
    *,
    max_bytes: int,
    allow_external_links: bool,
) -> None:
    """Raise what `plan_checkout` raises, if the worktree must not get from `old` (None: it is empty) to `new`.

    `difference` is what differs between the two commits' trees: they are not read a second time.
    """
    plan = plan_walked(difference.walked, partial(objects.read, kind=BLOB), allow_external_links=allow_external_links)
    whole = partial(plan_checkout, objects, new, max_bytes=max_bytes, allow_external_links=allow_external_links)
    check_tree_bytes(plan, objects.size_of, max_bytes, whole if old is not None else None)


def _notes_on(result: ReplayResult | None) -> tuple[str, ...]:
    if result is None:
        return ()
    notes = [f"{len(result.picked)} local commits are upon it"] if result.picked else []
    return (*notes, *(f"{each.decode()} is upstream already: dropped" for each in result.dropped[:_MAX_NAMED]))
