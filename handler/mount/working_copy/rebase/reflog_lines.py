"""The reflog lines of a pull, in git's words. Pure."""

import re
from typing import NamedTuple

from handler.mount.working_copy.rebase.replay import Decision, DecisionKind, ReplayResult

_ACTION = b"pull --rebase"
_SPACE = re.compile(rb"[ \t\n\r]+")


class LogLine(NamedTuple):
    """One line: the reflog of `ref` (`HEAD`, or a full name) says that it moved from `old` to `new`."""

    ref: bytes
    old: bytes
    new: bytes
    message: bytes


def reflog_lines(decision: Decision, result: ReplayResult | None, branch: bytes) -> list[LogLine]:
    """Return the lines for the reflogs of HEAD and of `branch` (a full name), in the order of each.

    `result` is None unless the decision was to replay. A message is one line, and its bytes may come from a commit's
    subject.
    """
    if decision.kind == DecisionKind.UP_TO_DATE:
        return []
    if result is None:
        message = _ACTION + b": Fast-forward"
        return [LogLine(log, decision.head, decision.tip, message) for log in (b"HEAD", branch)]
    lines = []
    head = decision.head
    for new, message in _head_moves(decision, result, branch):
        lines.append(LogLine(b"HEAD", head, new, _one_line(message)))
        head = new
    if decision.head != head:
        message = b"%b (finish): %b onto %b" % (_ACTION, branch, decision.tip)
        lines.insert(-1, LogLine(branch, decision.head, head, message))
    return lines


def _head_moves(decision: Decision, result: ReplayResult, branch: bytes) -> list[tuple[bytes, bytes]]:
    """Return every commit that HEAD moves to, with its message."""
    moves = [(result.start, b"%b (start): checkout %b" % (_ACTION, decision.tip))]
    for step in result.steps:
        # Git logs a commit that stays in place by the command that `git pull` runs.
        moves.append(
            (step.commit, b"%b (pick): %b" % (_ACTION, step.subject) if step.is_new else b"rebase: fast-forward")
        )
    moves.append((result.head, b"%b (finish): returning to %b" % (_ACTION, branch)))
    return moves


def _one_line(message: bytes) -> bytes:
    return _SPACE.sub(b" ", message).strip(b" ")
