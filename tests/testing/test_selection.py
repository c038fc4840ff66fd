"""What the default run leaves out, and what it never does."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from testing import selection


@pytest.fixture(autouse=True)
def _sampling() -> Iterator[None]:
    """Sample here, whatever this run does; a test may switch to all."""
    before = selection.is_all()
    selection.try_all(False)
    yield
    selection.try_all(before)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("sampled", [1, 2, 3, 6])
@pytest.mark.parametrize("shift", [0, 1, 5, 1234])
def test_a_sample_is_spread_from_the_first_to_the_last(length: int, sampled: int, shift: int) -> None:
    """In order, no case twice, as many as asked for; of two or more the first and the last are two."""
    chosen = selection.spread(range(length), sampled, shift=shift)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(length, sampled)
    assert set(chosen) <= set(range(length))
    if min(length, sampled) > 1:
        assert (chosen[0], chosen[-1]) == (0, length - 1)
    if sampled == 6 and length == 40:
        assert max(b - a for a, b in itertools.pairwise(chosen)) <= 20


def test_samples_of_alike_cases_are_not_all_alike() -> None:
    """Over a few scenes every case comes up."""
    found = {case for shift in range(20) for case in selection.spread(range(20), 4, shift=shift)}
    assert found == set(range(20))


def test_with_all_nothing_is_left_out() -> None:
    """Neither cases nor examples."""
    assert (selection.count(100, 7), len(selection.spread(range(50), 3))) == (7, 3)
    selection.try_all(True)
    assert (selection.count(100, 7), len(selection.spread(range(50), 3))) == (100, 50)


class _Item:
    """What of a collected test is looked at."""

    def __init__(self, nodeid: str, count: int | None) -> None:
        self.nodeid, self._count = nodeid, count

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        """Return the mark `sampled`, where there is one."""
        return pytest.mark.sampled(self._count).mark if name == "sampled" and self._count else None


def test_of_a_marked_test_some_parameters_stay() -> None:
    """As many as its mark says; a test without one keeps all."""
    items = [_Item(f"test_a.py::test[{at}]", 3) for at in range(9)] + [_Item(f"b::test[{at}]", None) for at in range(9)]
    chosen: list[Any] = list(items)
    assert len(selection.deselect(chosen)) == 6
    assert [item.nodeid for item in chosen[:3]] == ["test_a.py::test[0]", "test_a.py::test[4]", "test_a.py::test[8]"]
    assert chosen[3:] == items[9:]
