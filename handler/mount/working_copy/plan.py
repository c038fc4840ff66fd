"""Where a pull brings the branch: nowhere, forward, or to the local commits made anew upon the tip. Touches no file."""

from dataclasses import dataclass

from handler.model import NULL_OID
from handler.mount.working_copy.journal import Line
from handler.mount.working_copy.merge.merge_trees import merge_trees
from handler.mount.working_copy.open_copy import OpenCopy
from handler.mount.working_copy.overlay import MemoryOverlay
from handler.mount.working_copy.rebase.reflog_lines import reflog_lines
from handler.mount.working_copy.rebase.replay import DecisionKind, Replayed, decide, replay
from handler.mount.working_copy.tracking import TrackingUpdate

_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class PullPlan:
    """Where the branch goes, what the logs are to say, and the objects that are yet to be written."""

    head: str
    lines: tuple[Line, ...]
    objects: MemoryOverlay
    notes: tuple[str, ...] = ()


def plan_pull(copy: OpenCopy, tracked: TrackingUpdate, head: str | None, at: int) -> PullPlan | None:
    """Return where the branch goes from `head` (None: it has no commit yet); None where it stays.

    `tracked` is where the remote's branch is; `at` is when, for new commits. Raises ReplayConflict, CopyUnusable,
    MirrorDamaged, TreeUnsafe, OSError.
    """
    objects, history, tip = tracked.objects, tracked.history, tracked.tip
    if head is None:
        line = (NULL_OID, tip.decode(), "initial pull")
        return PullPlan(tip.decode(), (("HEAD", *line), (copy.branch, *line)), objects)
    decision = decide(history, head.encode(), tip, tracked.logged(copy, head.encode()))
    if decision.kind is DecisionKind.UP_TO_DATE:
        return None
    replayed = None
    if decision.kind is DecisionKind.REPLAY:
        replayed = replay(objects, history, decision, copy.committer, at, merge_trees)
        if replayed.head == decision.head:
            return None
    lines = tuple(
        (_text(each.log), each.old.decode(), each.new.decode(), _text(each.message))
        for each in reflog_lines(decision, replayed, copy.branch.encode("utf-8", "surrogateescape"))
    )
    new = decision.tip if replayed is None else replayed.head
    return PullPlan(new.decode(), lines, objects, _notes_on(replayed))


def _notes_on(replayed: Replayed | None) -> tuple[str, ...]:
    if replayed is None:
        return ()
    notes = [f"{len(replayed.picked)} local commits are upon it"] if replayed.picked else []
    return (*notes, *(f"{each.decode()} is upstream already: dropped" for each in replayed.dropped[:_MAX_NAMED]))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
