"""Which release a rollback goes back to."""

import pytest

from handler.errors import ReleaseUnusable
from handler.mount.operations.rollback import choose_release
from handler.mount.releases.strategy import Release

A, B, C, D = (letter * 40 for letter in "abcd")
RELEASES = (Release(A, 100.0), Release(B, 200.0), Release(C, 300.0), Release(D, 50.0))


@pytest.mark.parametrize(
    ("to", "left", "found"),
    [
        (None, (), B),
        (None, (B,), A),
        (None, (A, B), D),
        (D[:7], (), D),
        (B[:7], (B,), B),
        (C, (), C),
    ],
)
def test_the_release_that_was_retired_last_or_the_one_that_is_named(
    to: str | None, left: tuple[str, ...], found: str
) -> None:
    """C is published; what was left is for those alone who name it."""
    assert choose_release(C, B, RELEASES, to, left) == found


@pytest.mark.parametrize("to", ["e" * 7, A + "0", "ab"])
def test_what_does_not_stand_is_told_with_what_does(to: str) -> None:
    """Every release, and when each was retired."""
    with pytest.raises(ReleaseUnusable) as caught:
        choose_release(C, B, RELEASES, to, ())
    assert all(commit in str(caught.value) for commit in (A, B, C, D))
    assert f"{C} (published)" in str(caught.value)
    assert "1970-01-01T00:03:20Z" in str(caught.value)


def test_a_beginning_that_fits_two_is_neither() -> None:
    """Ask with more digits."""
    twins = (Release("a" * 39 + "0", 1.0), Release("a" * 39 + "1", 2.0))
    with pytest.raises(ReleaseUnusable, match="more than one"):
        choose_release(C, None, twins, "a" * 7, ())


def test_what_was_changed_is_passed_over_and_refused_by_name() -> None:
    """Unless it is what is published already."""
    changed = (Release(A, 100.0), Release(B, 200.0, is_intact=False), Release(C, 300.0, is_intact=False))
    assert choose_release(C, B, changed, None, ()) == A
    assert choose_release(C, B, changed, C, ()) == C
    with pytest.raises(ReleaseUnusable, match="changed by somebody else"):
        choose_release(C, B, changed, B, ())
    with pytest.raises(ReleaseUnusable, match="no earlier release"):
        choose_release(C, B, changed, None, (A,))


def test_of_one_second_the_records_previous_is_the_one() -> None:
    """Releases' clocks have no fractions."""
    twins = (Release(A, 100.0), Release(B, 100.0), Release(C, 100.0))
    assert [choose_release(C, previous, twins, None, ()) for previous in (A, B)] == [A, B]
