"""Diff two files by Myers' algorithm, for parts that the histogram algorithm cannot tell apart. Pure.

The search goes from both ends at once, in git's order, on the lines that git leaves in it. Equal ends are cut off. So
are lines that the other file does not have, or has so often that between such lines they say nothing.
"""

from collections import Counter

from handler.mount.working_copy.merge.hunk import Hunk
from handler.mount.working_copy.merge.work_budget import BudgetExceeded, WorkBudget

_MAX_EDITS = 256
"""If the middle of the script is not found within so many edits from either end, git begins to estimate."""
_MAX_FREQUENT = 1024
_WINDOW = 100
_NOWHERE, _SOME, _MANY = 0, 1, 2


def mark_edits(old: list[int], new: list[int], budget: WorkBudget) -> tuple[bytearray, bytearray]:
    """Return flags for the lines of `old` to remove and of `new` to add.

    Raises BudgetExceeded, also where git would begin to estimate.
    """
    removed, added = bytearray(len(old)), bytearray(len(new))
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    same = next((at for at in range(shorter - start) if old[-1 - at] != new[-1 - at]), shorter - start)
    budget.consume(len(old) + len(new))
    kept_old = _lines_to_compare(old, start, len(old) - same, Counter(new), removed, budget)
    kept_new = _lines_to_compare(new, start, len(new) - same, Counter(old), added, budget)
    lines = [old[at] for at in kept_old]
    others = [new[at] for at in kept_new]
    pending = [Hunk(0, len(lines), 0, len(others))]
    is_first = True
    while pending:
        part = _trimmed(lines, others, pending.pop())
        if part.is_two_sided:
            middle, new_middle = _middle(lines, others, part, budget, is_bounded=is_first)
            is_first = False
            pending.append(Hunk(middle, part.old_end, new_middle, part.new_end))
            pending.append(Hunk(part.old_start, middle, part.new_start, new_middle))
            continue
        for position in kept_old[part.old_start : part.old_end]:
            removed[position] = 1
        for position in kept_new[part.new_start : part.new_end]:
            added[position] = 1
    return removed, added


def _trimmed(lines: list[int], others: list[int], part: Hunk) -> Hunk:
    """Return the part without the equal lines at its start and at its end."""
    at, end, to, new_end = part
    while at < end and to < new_end and lines[at] == others[to]:
        at, to = at + 1, to + 1
    while at < end and to < new_end and lines[end - 1] == others[new_end - 1]:
        end, new_end = end - 1, new_end - 1
    return Hunk(at, end, to, new_end)


def _lines_to_compare(
    lines: list[int], start: int, end: int, others: Counter[int], flags: bytearray, budget: WorkBudget
) -> list[int]:
    """Return the positions from `start` to `end` that are compared, and flag the others as changed."""
    many = min(_power_near_root(len(lines)), _MAX_FREQUENT)
    weights = bytearray(len(lines))
    for at in range(start, end):
        times = others[lines[at]]
        weights[at] = _NOWHERE if times == 0 else _MANY if times >= many else _SOME
    kept = []
    for at in range(start, end):
        if weights[at] == _SOME or (weights[at] == _MANY and not _is_discarded(weights, at, start, end, budget)):
            kept.append(at)
        else:
            flags[at] = 1
    return kept


def _is_discarded(weights: bytearray, at: int, start: int, end: int, budget: WorkBudget) -> bool:
    """Whether a frequent line is in a run of lines of which enough, on both sides, have no equal at all."""
    nowhere, many = 0, 0
    for positions in (range(at - 1, max(start, at - _WINDOW) - 1, -1), range(at + 1, min(end - 1, at + _WINDOW) + 1)):
        before = nowhere
        many += 1
        for position in positions:
            budget.consume(1)
            if weights[position] == _SOME:
                break
            nowhere += weights[position] == _NOWHERE
            many += weights[position] == _MANY
        if nowhere == before:
            return False
    return many * 4 < many + nowhere


def _power_near_root(number: int) -> int:
    """Return a power of two near the square root, as git computes it."""
    power = 1
    while number > 0:
        power *= 2
        number //= 4
    return power


def _middle(
    lines: list[int], others: list[int], part: Hunk, budget: WorkBudget, *, is_bounded: bool
) -> tuple[int, int]:
    """Return a point (old line, new line) in the middle of a shortest script for the part. Raises BudgetExceeded.

    A diagonal is the old position minus the new one. `ahead` and `back` hold the furthest old position that is reached
    on each diagonal with so many edits from the start and from the end.
    """
    at, end, to, new_end = part
    lowest, highest = at - new_end, end - to
    far = end + new_end + 1
    from_start, from_end = at - to, end - new_end
    ahead: dict[int, int] = {from_start: at}
    back: dict[int, int] = {from_end: end}
    is_odd = (from_start - from_end) % 2 == 1
    low = high = from_start
    back_low = back_high = from_end
    edits = 0
    while True:
        edits += 1
        low, high = _widened(ahead, low, high, lowest, highest, -1)
        for diagonal in range(high, low - 1, -2):
            one = max(ahead[diagonal - 1] + 1, ahead[diagonal + 1])
            first = one
            while one < end and one - diagonal < new_end and lines[one] == others[one - diagonal]:
                one += 1
            budget.consume(one - first + 2)
            ahead[diagonal] = one
            if is_odd and back_low <= diagonal <= back_high and back[diagonal] <= one:
                return one, one - diagonal
        back_low, back_high = _widened(back, back_low, back_high, lowest, highest, far)
        for diagonal in range(back_high, back_low - 1, -2):
            one = min(back[diagonal - 1], back[diagonal + 1] - 1)
            first = one
            while one > at and one - diagonal > to and lines[one - 1] == others[one - 1 - diagonal]:
                one -= 1
            budget.consume(first - one + 2)
            back[diagonal] = one
            if not is_odd and low <= diagonal <= high and one <= ahead[diagonal]:
                return one, one - diagonal
        if is_bounded and edits >= _MAX_EDITS:
            raise BudgetExceeded


def _widened(reached: dict[int, int], low: int, high: int, lowest: int, highest: int, beyond: int) -> tuple[int, int]:
    """Return the next range of diagonals: one more at each end, or one less at a corner of the files.

    The diagonal after an end gets a position that is never taken.
    """
    if low > lowest:
        low -= 1
        reached[low - 1] = beyond
    else:
        low += 1
    if high < highest:
        high += 1
        reached[high + 1] = beyond
    else:
        high -= 1
    return low, high
