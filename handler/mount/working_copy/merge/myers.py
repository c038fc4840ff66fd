"""Where two files differ by the shortest edit script, for parts that the histogram method cannot tell apart. Pure.

Myers' search from both ends at once, in the order in which git makes it, on the lines that git leaves in it: ends
that are equal are cut off, and so are lines which the other file does not have, or has so often that between such
they say nothing.
"""

from collections import Counter

from handler.mount.working_copy.merge.work_budget import BudgetExceeded, WorkBudget

_MOST_EDITS = 256
"""Where the middle of the script is not found within so many steps from either end, git begins to estimate."""
_OFTEN_AT_MOST = 1024
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
    kept_old = _worth_comparing(old, start, len(old) - same, Counter(new), removed, budget)
    kept_new = _worth_comparing(new, start, len(new) - same, Counter(old), added, budget)
    lines = [old[at] for at in kept_old]
    others = [new[at] for at in kept_new]
    pending = [(0, len(lines), 0, len(others))]
    is_first = True
    while pending:
        at, end, to, new_end = pending.pop()
        while at < end and to < new_end and lines[at] == others[to]:
            at, to = at + 1, to + 1
        while at < end and to < new_end and lines[end - 1] == others[new_end - 1]:
            end, new_end = end - 1, new_end - 1
        if at < end and to < new_end:
            middle, new_middle = _middle(lines, at, end, others, to, new_end, is_first, budget)
            is_first = False
            pending += [(middle, end, new_middle, new_end), (at, middle, to, new_middle)]
            continue
        for position in kept_old[at:end]:
            removed[position] = 1
        for position in kept_new[to:new_end]:
            added[position] = 1
    return removed, added


def _worth_comparing(
    lines: list[int], start: int, end: int, others: Counter[int], flags: bytearray, budget: WorkBudget
) -> list[int]:
    """Return the positions between `start` and `end` that are to be compared; flag the rest as changed."""
    many = min(_power_near_root(len(lines)), _OFTEN_AT_MOST)
    weights = bytearray(len(lines))
    for at in range(start, end):
        times = others[lines[at]]
        weights[at] = _NOWHERE if times == 0 else _MANY if times >= many else _SOME
    kept = []
    for at in range(start, end):
        if weights[at] == _SOME or (weights[at] == _MANY and not _says_nothing(weights, at, start, end, budget)):
            kept.append(at)
        else:
            flags[at] = 1
    return kept


def _says_nothing(weights: bytearray, at: int, start: int, end: int, budget: WorkBudget) -> bool:
    """Whether a frequent line stands in a run of which, on both sides, enough lines have no equal at all."""
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
    """Return a power of two near the square root."""
    power = 1
    while number > 0:
        power *= 2
        number //= 4
    return power


def _middle(
    lines: list[int], at: int, end: int, others: list[int], to: int, new_end: int, is_bounded: bool, budget: WorkBudget
) -> tuple[int, int]:
    """Return a point in the middle of a shortest script that turns lines `at` to `end` into others `to` to `new_end`.

    A diagonal is old position minus new one; `ahead` and `back` hold the furthest old position that is reached on
    each with so many edits from the start and from the end. Raises BudgetExceeded.
    """
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
        if is_bounded and edits >= _MOST_EDITS:
            raise BudgetExceeded


def _widened(reached: dict[int, int], low: int, high: int, lowest: int, highest: int, beyond: int) -> tuple[int, int]:
    """Return the next range of diagonals: one more at each end, or one less where the files' corners are met.

    The diagonal after an end is set to a position that is never taken.
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
