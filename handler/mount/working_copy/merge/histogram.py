"""Diff two files by git's histogram algorithm. Pure: a line is a number, and equal lines are equal numbers.

The algorithm looks for the rarest common run of lines, and compares what is before it and after it in the same way,
until nothing is in common. Which of several equally rare runs it takes decides what merges and what conflicts. So the
order of the search, and what counts as better, are git's.
"""

from typing import NamedTuple

from handler.mount.working_copy.merge.hunk import Hunk
from handler.mount.working_copy.merge.myers import mark_edits
from handler.mount.working_copy.merge.work_budget import WorkBudget

_MAX_OCCURRENCES = 64
"""Lines that occur more often say nothing about what belongs together."""


class _Run(NamedTuple):
    """Equal lines of both files, and how often the rarest of them occurs in the part of the old file."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int
    rarity: int


def histogram_diff(old: list[int], new: list[int], budget: WorkBudget) -> list[Hunk]:
    """Return the changes from `old` to `new`, in order. Raises BudgetExceeded."""
    removed, added = bytearray(len(old) + 1), bytearray(len(new) + 1)  # a zero after the last line ends every group
    _mark(old, new, removed, added, budget)
    _slide(old, removed, added, budget)
    _slide(new, added, removed, budget)
    hunks = []
    old_start = new_start = 0
    while old_start < len(old) or new_start < len(new):
        old_end, new_end = removed.index(0, old_start), added.index(0, new_start)
        if old_end > old_start or new_end > new_start:
            hunks.append(Hunk(old_start, old_end, new_start, new_end))
        old_start, new_start = old_end + 1, new_end + 1
    return hunks


def _mark(old: list[int], new: list[int], removed: bytearray, added: bytearray, budget: WorkBudget) -> None:
    """Set the flags of the lines that are only in `old`, and of those only in `new`."""
    pending = [Hunk(0, len(old), 0, len(new))]
    while pending:
        part = pending.pop()
        old_start, old_end, new_start, new_end = part
        if part.is_two_sided:
            budget.consume(old_end - old_start + new_end - new_start)
            is_common, best = _rarest_run(old, new, part, budget)
            if is_common and (best is None or best.rarity > _MAX_OCCURRENCES):
                only_old, only_new = mark_edits(old[old_start:old_end], new[new_start:new_end], budget)
                removed[old_start:old_end], added[new_start:new_end] = only_old, only_new
                continue
            if best is not None:
                pending.append(Hunk(best.old_end, old_end, best.new_end, new_end))
                pending.append(Hunk(old_start, best.old_start, new_start, best.new_start))
                continue
        removed[old_start:old_end] = b"\1" * (old_end - old_start)
        added[new_start:new_end] = b"\1" * (new_end - new_start)


def _rarest_run(old: list[int], new: list[int], part: Hunk, budget: WorkBudget) -> tuple[bool, _Run | None]:
    """Return whether the part has any common line, and the best common run: the rarest, then the longest.

    Of equal runs it is the first. A longer run wins even over a rarer one: the search only extends lines that are no
    more frequent than the rarest line of the best run.
    """
    places: dict[int, list[int]] = {}
    for position in range(part.old_start, part.old_end):
        places.setdefault(old[position], []).append(position)
    best: _Run | None = None
    rarity, length = _MAX_OCCURRENCES + 1, 1
    is_common = False
    here = part.new_start
    while here < part.new_end:
        found = places.get(new[here])
        following = here + 1
        if found is not None:
            is_common = True
            if len(found) <= rarity:
                reached = -1
                for place in found:
                    if place < reached:
                        continue  # inside the run before
                    run = _extended(old, new, part, (place, here), places)
                    size, reached = run.old_end - run.old_start, run.old_end
                    budget.consume(size)
                    following = max(following, run.new_end)
                    if run.rarity < rarity or size > length:
                        best = run
                        rarity, length = run.rarity, size
        here = following
    return is_common, best


def _extended(old: list[int], new: list[int], part: Hunk, match: tuple[int, int], places: dict[int, list[int]]) -> _Run:
    """Return the run of equal lines around a `match` (an old line and a new one), within the part."""
    place, here = match
    first, last = place, place + 1
    shift = here - place
    rarity = len(places[old[place]])
    lowest, highest = max(part.old_start, part.new_start - shift), min(part.old_end, part.new_end - shift)
    while first > lowest and old[first - 1] == new[first - 1 + shift]:
        first -= 1
        if rarity > 1:
            rarity = min(rarity, len(places[old[first]]))
    while last < highest and old[last] == new[last + shift]:
        if rarity > 1:
            rarity = min(rarity, len(places[old[last]]))
        last += 1
    return _Run(first, last, first + shift, last + shift, rarity)


class _Group:
    """Adjacent flagged lines, `start` to `end`; also the empty group between two lines that are not flagged."""

    def __init__(self, lines: list[int], flags: bytearray) -> None:
        self._lines = lines
        self._flags = flags
        self.start = 0
        self.end = flags.index(0)

    def is_empty(self) -> bool:
        return self.start == self.end

    def move_next(self) -> bool:
        """Move to the next group; False at the last."""
        if self.end == len(self._lines):
            return False
        self.start = self.end + 1
        self.end = self._flags.index(0, self.start)
        return True

    def move_previous(self) -> None:
        """Move to the group before."""
        self.end = self.start - 1
        self._extend_up(self.end)

    def slide_up(self) -> bool:
        """Flag the line before instead of the last one if they are equal, and join the group that it touches."""
        if self.start == 0 or self._lines[self.start - 1] != self._lines[self.end - 1]:
            return False
        self.end -= 1
        self._flags[self.start - 1], self._flags[self.end] = 1, 0
        self._extend_up(self.start - 1)
        return True

    def slide_down(self) -> bool:
        """Flag the line after instead of the first one if they are equal, and join the group that it touches."""
        if self.end == len(self._lines) or self._lines[self.start] != self._lines[self.end]:
            return False
        self._flags[self.start], self._flags[self.end] = 0, 1
        self.start += 1
        self.end = self._flags.index(0, self.end)
        return True

    def _extend_up(self, position: int) -> None:
        self.start = self._flags.rfind(0, 0, position) + 1


def _slide(lines: list[int], flags: bytearray, others: bytearray, budget: WorkBudget) -> None:
    """Slide the groups of changed lines to where git shows them, if equal lines leave a choice.

    Groups that touch become one. A group slides down as far as it can. If on its way it stands opposite changed lines
    of the other file, it stops at the last of these.
    """
    group, opposite = _Group(lines, flags), _Group([0] * (len(others) - 1), others)
    while True:
        if not group.is_empty():
            _slide_group(group, opposite, budget)
        if not group.move_next():
            return
        opposite.move_next()


def _slide_group(group: _Group, opposite: _Group, budget: WorkBudget) -> None:
    size = -1
    while size != group.end - group.start:
        size = group.end - group.start
        while group.slide_up():
            budget.consume(4)
            opposite.move_previous()
        highest = group.end
        is_opposite_any = not opposite.is_empty()
        while group.slide_down():
            budget.consume(4)
            opposite.move_next()
            is_opposite_any = is_opposite_any or not opposite.is_empty()
    if group.end != highest and is_opposite_any:
        while opposite.is_empty() and group.slide_up():
            budget.consume(4)
            opposite.move_previous()
