"""Where two files differ, as git's histogram method finds it. Pure: lines come as numbers, equal lines as equal ones.

Between two equal stretches as rare as possible everything is compared anew, until nothing is in common. Which of
several equally good stretches is taken decides what merges and what conflicts, so the order of the search, and what
counts as better, are git's.
"""

from typing import NamedTuple

from handler.mount.working_copy.merge.myers import mark_edits
from handler.mount.working_copy.merge.work_budget import WorkBudget

_TOO_OFTEN = 64
"""Lines that occur more often than this say nothing about what belongs together."""


class Hunk(NamedTuple):
    """Lines `at` to `end` of the old file (from 0, end excluded) became `new` to `new_end` of the new one."""

    at: int
    end: int
    new: int
    new_end: int


class _Common(NamedTuple):
    at: int
    end: int
    new: int
    new_end: int
    rarity: int
    """How often the stretch's rarest line occurs in the old part that was searched."""


def histogram_diff(old: list[int], new: list[int], budget: WorkBudget) -> list[Hunk]:
    """Return the changes from `old` to `new`, in order. Raises BudgetExceeded."""
    removed, added = bytearray(len(old) + 1), bytearray(len(new) + 1)  # a zero after the last line ends every group
    _mark(old, new, removed, added, budget)
    _slide(old, removed, added, budget)
    _slide(new, added, removed, budget)
    found = []
    at = to = 0
    while at < len(old) or to < len(new):
        end, new_end = removed.index(0, at), added.index(0, to)
        if end > at or new_end > to:
            found.append(Hunk(at, end, to, new_end))
        at, to = end + 1, new_end + 1
    return found


def _mark(old: list[int], new: list[int], removed: bytearray, added: bytearray, budget: WorkBudget) -> None:
    """Set the flags of lines that are only in `old` and only in `new`."""
    pending = [(0, len(old), 0, len(new))]
    while pending:
        at, end, to, new_end = pending.pop()
        if at < end and to < new_end:
            budget.consume(end - at + new_end - to)
            is_common, best = _rarest_common(old, at, end, new, to, new_end, budget)
            if is_common and (best is None or best.rarity > _TOO_OFTEN):
                only_old, only_new = mark_edits(old[at:end], new[to:new_end], budget)
                removed[at:end], added[to:new_end] = only_old, only_new
                continue
            if best is not None:
                pending.append((best.end, end, best.new_end, new_end))
                pending.append((at, best.at, to, best.new))
                continue
        removed[at:end] = b"\1" * (end - at)
        added[to:new_end] = b"\1" * (new_end - to)


def _rarest_common(
    old: list[int], at: int, end: int, new: list[int], to: int, new_end: int, budget: WorkBudget
) -> tuple[bool, _Common | None]:
    """Return whether anything is in common, and of the common stretches the rarest, of these the longest.

    Of equals it is the first. A longer one is taken even if it is not as rare as the best so far: what is searched
    are stretches through a line that is no more frequent than the best one's rarest.
    """
    places: dict[int, list[int]] = {}
    for position in range(at, end):
        places.setdefault(old[position], []).append(position)
    best: _Common | None = None
    rarity, length = _TOO_OFTEN + 1, 1
    is_common = False
    here = to
    while here < new_end:
        found = places.get(new[here])
        following = here + 1
        if found is not None:
            is_common = True
            if len(found) <= rarity:
                reached = -1
                for place in found:
                    if place < reached:
                        continue  # inside the stretch before
                    one = _extended(old, at, end, new, to, new_end, place, here, places)
                    budget.consume(one.end - one.at)
                    reached = one.end
                    following = max(following, one.new_end)
                    if one.rarity < rarity or one.end - one.at > length:
                        best = one
                        rarity, length = one.rarity, one.end - one.at
        here = following
    return is_common, best


def _extended(
    old: list[int],
    at: int,
    end: int,
    new: list[int],
    to: int,
    new_end: int,
    place: int,
    here: int,
    places: dict[int, list[int]],
) -> _Common:
    """Return the stretch of equal lines around old line `place` and new line `here`, within the given parts."""
    first, last = place, place + 1
    shift = here - place
    rarity = len(places[old[place]])
    lowest, highest = max(at, to - shift), min(end, new_end - shift)
    while first > lowest and old[first - 1] == new[first - 1 + shift]:
        first -= 1
        if rarity > 1:
            rarity = min(rarity, len(places[old[first]]))
    while last < highest and old[last] == new[last + shift]:
        if rarity > 1:
            rarity = min(rarity, len(places[old[last]]))
        last += 1
    return _Common(first, last, first + shift, last + shift, rarity)


class _Group:
    """Neighbouring flagged lines, `start` to `end`; also the empty group between two lines that are not flagged."""

    def __init__(self, lines: list[int], flags: bytearray) -> None:
        self._lines = lines
        self._flags = flags
        self.start = 0
        self.end = flags.index(0)

    def is_empty(self) -> bool:
        return self.start == self.end

    def go_on(self) -> bool:
        """Move to the next group; False at the last."""
        if self.end == len(self._lines):
            return False
        self.start = self.end + 1
        self.end = self._flags.index(0, self.start)
        return True

    def go_back(self) -> None:
        """Move to the group before."""
        self.end = self.start - 1
        self._reach_up(self.end)

    def slide_up(self) -> bool:
        """Flag the line before instead of the last one where they are equal, and take in what it then touches."""
        if self.start == 0 or self._lines[self.start - 1] != self._lines[self.end - 1]:
            return False
        self.end -= 1
        self._flags[self.start - 1], self._flags[self.end] = 1, 0
        self._reach_up(self.start - 1)
        return True

    def slide_down(self) -> bool:
        """Flag the line after instead of the first one where they are equal, and take in what it then touches."""
        if self.end == len(self._lines) or self._lines[self.start] != self._lines[self.end]:
            return False
        self._flags[self.start], self._flags[self.end] = 0, 1
        self.start += 1
        self.end = self._flags.index(0, self.end)
        return True

    def _reach_up(self, position: int) -> None:
        self.start = self._flags.rfind(0, 0, position) + 1


def _slide(lines: list[int], flags: bytearray, others: bytearray, budget: WorkBudget) -> None:
    """Bring groups of changed lines to where git shows them, where equal lines leave a choice.

    Groups that come to touch become one. A group goes as far down as it can; or, where on its way there it stands
    opposite changed lines of the other file, to the last of these.
    """
    group, opposite = _Group(lines, flags), _Group([0] * (len(others) - 1), others)
    while True:
        if not group.is_empty():
            _settle(group, opposite, budget)
        if not group.go_on():
            return
        opposite.go_on()


def _settle(group: _Group, opposite: _Group, budget: WorkBudget) -> None:
    size = -1
    while size != group.end - group.start:
        size = group.end - group.start
        while group.slide_up():
            budget.consume(4)
            opposite.go_back()
        highest = group.end
        is_opposite_any = not opposite.is_empty()
        while group.slide_down():
            budget.consume(4)
            opposite.go_on()
            is_opposite_any = is_opposite_any or not opposite.is_empty()
    if group.end != highest and is_opposite_any:
        while opposite.is_empty() and group.slide_up():
            budget.consume(4)
            opposite.go_back()
