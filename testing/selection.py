"""Which of many alike cases a run of the tests tries: a sample, the same in every run, or with `--all` each of them.

A sample is spread evenly over the cases, in their order, the first and the last among them. Nothing is drawn at random:
a test that fails, fails again.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")

IS_EVERY = bool(os.environ.get("GIT2EFS_TEST_EVERY_POINT"))
"""Set it to any text, with `--all`, for a long run: what takes too long for each change is tried too."""

_is_all = False


def try_all(is_all: bool) -> None:
    """Say, before the tests are collected, whether they try every case."""
    global _is_all
    _is_all = is_all


def is_all() -> bool:
    """Tell whether every case is tried."""
    return _is_all


def count(everything: int, sampled: int, *, long_run: int | None = None) -> int:
    """Return how many examples to try: `everything` with `--all`, else `sampled`; with IS_EVERY too, `long_run`."""
    if _is_all and IS_EVERY and long_run is not None:
        return long_run
    return everything if _is_all else sampled


def spread(cases: Sequence[T], sampled: int, *, shift: int = 0) -> list[T]:
    """Return every case with `--all`, else so many of them.

    `shift` moves all but the first and the last along, so that samples of alike sequences are not all alike.
    """
    if _is_all or len(cases) <= sampled:
        return list(cases)
    if sampled == 0:
        return []
    if sampled == 1:
        return [cases[shift % len(cases)]]
    last, inner = len(cases) - 1, sampled - 2
    step = (last - 1) / max(inner, 1)
    between = (1 + int(at * step + (shift + step / 2) % step) for at in range(inner))
    return [cases[at] for at in sorted({0, *between, last})]


def deselect(items: list[pytest.Item]) -> list[pytest.Item]:
    """Keep a sample of the parameters of each test marked `sampled(count)`; return what was left out.

    `sampled(0)` is for what no promise hangs on and what costs seconds: linters' second and third opinion.
    """
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled"):
            groups.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out: set[pytest.Item] = set()
    for group in groups.values():
        marker = group[0].get_closest_marker("sampled")
        assert marker
        left_out |= set(group) - set(spread(group, marker.args[0]))
    items[:] = [item for item in items if item not in left_out]
    return list(left_out)
