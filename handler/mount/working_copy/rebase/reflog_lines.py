"""What git's reflogs say of a pull. Pure."""

import re
from typing import NamedTuple

from handler.mount.working_copy.rebase.replay import Decision, DecisionKind, ReplayResult

_ACTION = b"pull --rebase"
_SPACE = re.compile(rb"[ \t\n\r]+")


class LogLine(NamedTuple):
    """One line: the log of the ref `log` (`HEAD`, or a full name) says that it went from `old` to `new`."""

    ref: bytes
    old: bytes
    new: bytes
    message: bytes


def reflog_lines(decision: Decision, replayed: ReplayResult | None, branch: bytes) -> list[LogLine]:
    """Return what is to be added to the logs of HEAD and of `branch` (a full name), in the order of each.

    `replayed` is None unless the decision was to replay. Messages are as they stand in a log: one line, of which any
    bytes may come from a commit's subject.
    """
    if decision.kind == DecisionKind.UP_TO_DATE:
        return []
    if replayed is None:
        message = _ACTION + b": Fast-forward"
        return [LogLine(log, decision.head, decision.tip, message) for log in (b"HEAD", branch)]
    lines = []
    head = decision.head
    for new, message in _head_moves(decision, replayed, branch):
        lines.append(LogLine(b"HEAD", head, new, _one_line(message)))
        head = new
    if decision.head != head:
        message = b"%b (finish): %b onto %b" % (_ACTION, branch, decision.tip)
        lines.insert(-1, LogLine(branch, decision.head, head, message))
    return lines


def _head_moves(decision: Decision, replayed: ReplayResult, branch: bytes) -> list[tuple[bytes, bytes]]:
    """Return every value that HEAD takes, with its message."""
    moves = [(replayed.start, b"%b (start): checkout %b" % (_ACTION, decision.tip))]
    for step in replayed.steps:
        # A commit that stays is told in the words of the command beneath.
        moves.append(
            (step.commit, b"%b (pick): %b" % (_ACTION, step.subject) if step.is_new else b"rebase: fast-forward")
        )
    moves.append((replayed.head, b"%b (finish): returning to %b" % (_ACTION, branch)))
    return moves


def _one_line(message: bytes) -> bytes:
    return _SPACE.sub(b" ", message).strip(b" ")
