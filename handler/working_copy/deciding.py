"""Where a pull brings the branch: nowhere, forward, or to the local commits made anew upon the tip. Touches no file."""

from collections.abc import Sequence
from dataclasses import dataclass

from handler.git.merge import merge_trees
from handler.git.overlay import Overlay
from handler.git.reflog_lines import reflog_lines
from handler.git.replay import DecisionKind, Replayed, decide, history_of, replay
from handler.model import NO_COMMIT
from handler.working_copy.copy import OpenCopy
from handler.working_copy.journal import Line

_MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class Pulled:
    """Where the branch goes, what the logs are to say, and the objects that are yet to be written."""

    head: str
    lines: tuple[Line, ...]
    objects: Overlay
    notes: tuple[str, ...] = ()


def decide_pull(copy: OpenCopy, head: str | None, tip: str, logged: Sequence[bytes], at: int) -> Pulled | None:
    """Return where the branch goes from `head` (None: it has no commit yet); None where it stays.

    `logged` is what the remote's branch was before, as far as the copy knows; `at` is when, for new commits. Raises
    ReplayConflict, CopyUnusable, MirrorDamaged, TreeUnsafe.
    """
    objects = Overlay(copy.store)
    if head is None:
        line = (NO_COMMIT, tip, "initial pull")
        return Pulled(tip, (("HEAD", *line), (copy.branch, *line)), objects)
    history = history_of(objects, copy.store.shallow_commits())
    decision = decide(history, head.encode(), tip.encode(), logged)
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
    return Pulled(new.decode(), lines, objects, _notes_on(replayed))


def _notes_on(replayed: Replayed | None) -> tuple[str, ...]:
    if replayed is None:
        return ()
    notes = [f"{len(replayed.picked)} local commits are upon it"] if replayed.picked else []
    return (*notes, *(f"{each.decode()} is upstream already: dropped" for each in replayed.dropped[:_MAX_NAMED]))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
