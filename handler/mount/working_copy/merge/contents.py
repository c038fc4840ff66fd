"""Merge the contents of a file line by line, as git does. Pure: bytes in, bytes out.

Git's `ort` strategy diffs the base with either side by the histogram algorithm, combines the changes that lie apart,
and reports a conflict where they touch. This module combines; `histogram` diffs. It makes no conflict markers, as
nobody would see them.
"""

import re
from typing import NamedTuple

from handler.mount.working_copy.merge.histogram import histogram_diff
from handler.mount.working_copy.merge.hunk import Hunk
from handler.mount.working_copy.merge.work_budget import BudgetExceeded, WorkBudget

MAX_WORK = 20_000_000
"""The most lines that one merge compares: a few seconds' worth."""
_BINARY_BYTES = 8000
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")


class _Region(NamedTuple):
    """Lines of ours and of theirs that differ at one place. `source` is the side that changed them; None means both."""

    source: str | None
    ours: int
    ours_end: int
    theirs: int
    theirs_end: int


def merge_contents(base: bytes, ours: bytes, theirs: bytes, budget: WorkBudget | None = None) -> bytes | None:
    """Return the merged content of a file; None if git sees a conflict.

    A line ends with a line feed alone. Binary contents (a NUL in the first 8,000 bytes of any) merge only if one side
    left them alone, or both made the same change.

    None also if the diff exceeds `budget` (`MAX_WORK` if none is given), or finds more than a few hundred differences
    among lines that each occur dozens of times: there git estimates. A merge never takes longer than some seconds.
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
    """Whether git takes one of the contents for binary: it has a NUL in its first 8,000 bytes."""
    return any(b"\0" in content[:_BINARY_BYTES] for content in contents)


def _is_same(region: _Region, ours: list[int], theirs: list[int]) -> bool:
    """Whether a region that both sides changed is the same on both, and not empty.

    For git an empty one is a conflict: each side removed these lines, but together with others.
    """
    lines = ours[region.ours : region.ours_end]
    return bool(lines) and lines == theirs[region.theirs : region.theirs_end]


def _combine(base: list[int], ours: list[int], theirs: list[int], mine: list[Hunk], other: list[Hunk]) -> list[_Region]:
    """Return the regions that differ, in order, from the changes base to ours (`mine`) and base to theirs (`other`).

    A change that both sides made is left out: ours has it.
    """
    regions: list[_Region] = []
    i = j = 0
    while i < len(mine) or j < len(other):
        one = mine[i] if i < len(mine) else None
        two = other[j] if j < len(other) else None
        if one is not None and (two is None or one.old_end < two.old_start):
            shift = two.new_start - two.old_start if two else len(theirs) - len(base)
            _append(regions, _Region("ours", one.new_start, one.new_end, one.old_start + shift, one.old_end + shift))
            i += 1
        elif two is not None and (one is None or two.old_end < one.old_start):
            shift = one.new_start - one.old_start if one else len(ours) - len(base)
            _append(regions, _Region("theirs", two.old_start + shift, two.old_end + shift, two.new_start, two.new_end))
            j += 1
        elif one is not None and two is not None:
            is_same_range = (one.old_start, one.old_end) == (two.old_start, two.old_end)
            if not is_same_range or _new_lines(ours, one) != _new_lines(theirs, two):
                _append(regions, _overlapping(one, two))
            i += one.old_end <= two.old_end
            j += two.old_end <= one.old_end
    return regions


def _new_lines(lines: list[int], hunk: Hunk) -> list[int]:
    return lines[hunk.new_start : hunk.new_end]


def _overlapping(one: Hunk, two: Hunk) -> _Region:
    """Return the region that two changes cover together. Each side is widened to the ends of the other."""
    before = one.old_start - two.old_start
    after = one.old_end - two.old_end
    return _Region(
        None,
        one.new_start - max(before, 0),
        one.new_end + max(-after, 0),
        two.new_start + min(before, 0),
        two.new_end + max(after, 0),
    )


def _append(regions: list[_Region], region: _Region) -> None:
    """Add a region, or join it with the last one if they touch on a side: a conflict, unless both are of one source."""
    last = regions[-1] if regions else None
    if last is None or (region.ours > last.ours_end and region.theirs > last.theirs_end):
        regions.append(region)
        return
    source = region.source if region.source == last.source else None
    regions[-1] = _Region(source, last.ours, region.ours_end, last.theirs, region.theirs_end)
