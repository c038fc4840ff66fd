"""One file's contents, merged line by line as git does it. Pure: bytes in, bytes out.

Git's `ort` strategy compares base and either side by the histogram method, combines the changes where they lie apart,
and calls a conflict what touches. Here is the combining; `line_diff` compares. Nobody sees conflict markers, so none
are made.
"""

import re
from typing import NamedTuple

from handler.mount.working_copy.merge.histogram import Hunk, histogram_diff
from handler.mount.working_copy.merge.work_budget import BudgetExceeded, WorkBudget

MAX_WORK = 20_000_000
"""Lines looked at in one merge, a few seconds' worth; see `merge_contents`."""
_BINARY_BYTES = 8000
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")


class _Region(NamedTuple):
    """A stretch that differs: lines of ours and of theirs that stand at one place; `source` None: both changed."""

    source: str | None
    ours: int
    ours_end: int
    theirs: int
    theirs_end: int


def merge_contents(base: bytes, ours: bytes, theirs: bytes, budget: WorkBudget | None = None) -> bytes | None:
    """Return the merged content of a file, None where git sees a conflict.

    A line ends with a line feed alone. Binary contents (a NUL in the first 8,000 bytes of any) merge only where one
    side left them alone or both made the same of them.

    None, too, where the comparison costs more than is left of `budget` (`MAX_WORK` if none is given), or finds
    more than a few hundred differences among lines of which each occurs dozens of times (there git estimates). It
    never takes longer than some seconds.
    """
    if theirs in (base, ours):
        return ours
    if base == ours:
        return theirs
    if is_binary(base, ours, theirs):
        return None
    numbers: dict[bytes, int] = {}
    lines = [_LINE.findall(content) for content in (base, ours, theirs)]
    old, one, two = ([numbers.setdefault(line, len(numbers)) for line in content] for content in lines)
    budget = budget or WorkBudget(MAX_WORK)
    try:
        regions = _combine(old, one, two, histogram_diff(old, one, budget), histogram_diff(old, two, budget))
    except BudgetExceeded:
        return None
    merged: list[bytes] = []
    at = 0
    for region in regions:
        if region.source is None and not _is_same(region, one, two):
            return None
        if region.source == "theirs":
            merged += lines[1][at : region.ours]
            merged += lines[2][region.theirs : region.theirs_end]
            at = region.ours_end
    return b"".join(merged + lines[1][at:])


def is_binary(*contents: bytes) -> bool:
    """Whether git takes one of the contents for binary: a NUL in its first 8,000 bytes."""
    return any(b"\0" in content[:_BINARY_BYTES] for content in contents)


def _is_same(region: _Region, ours: list[int], theirs: list[int]) -> bool:
    """Whether a stretch that both changed reads the same on both sides, and is not empty.

    Git leaves an empty one a conflict: each side removed these lines, but along with others.
    """
    lines = ours[region.ours : region.ours_end]
    return bool(lines) and lines == theirs[region.theirs : region.theirs_end]


def _combine(base: list[int], ours: list[int], theirs: list[int], mine: list[Hunk], other: list[Hunk]) -> list[_Region]:
    """Return what differs, in order, of the changes base to ours (`mine`) and base to theirs (`other`).

    What both changed in the same way is left out: it stands in ours.
    """
    regions: list[_Region] = []
    i = j = 0
    while i < len(mine) or j < len(other):
        one = mine[i] if i < len(mine) else None
        two = other[j] if j < len(other) else None
        if one is not None and (two is None or one.end < two.at):
            shift = two.new - two.at if two else len(theirs) - len(base)
            _append(regions, _Region("ours", one.new, one.new_end, one.at + shift, one.end + shift))
            i += 1
        elif two is not None and (one is None or two.end < one.at):
            shift = one.new - one.at if one else len(ours) - len(base)
            _append(regions, _Region("theirs", two.at + shift, two.end + shift, two.new, two.new_end))
            j += 1
        elif one is not None and two is not None:
            if (one.at, one.end) != (two.at, two.end) or ours[one.new : one.new_end] != theirs[two.new : two.new_end]:
                _append(regions, _overlapping(one, two))
            i += one.end <= two.end
            j += two.end <= one.end
    return regions


def _overlapping(one: Hunk, two: Hunk) -> _Region:
    """Return the stretch that two changes cover together, each side widened to where the other's begins and ends."""
    before = one.at - two.at
    after = one.end - two.end
    return _Region(
        None,
        one.new - max(before, 0),
        one.new_end + max(-after, 0),
        two.new + min(before, 0),
        two.new_end + max(after, 0),
    )


def _append(regions: list[_Region], region: _Region) -> None:
    """Add a stretch, or make it one with the last where they touch on a side: a conflict, unless of one source."""
    last = regions[-1] if regions else None
    if last is None or (region.ours > last.ours_end and region.theirs > last.theirs_end):
        regions.append(region)
        return
    source = region.source if region.source == last.source else None
    regions[-1] = _Region(source, last.ours, region.ours_end, last.theirs, region.theirs_end)
