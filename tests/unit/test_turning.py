"""Which release an operator goes back to, what a directory takes, and what a hold in a record survives."""

import os
from pathlib import Path

import pytest

from handler.errors import OutOfTime, ReleaseUnusable
from handler.exchange.operations import Hold
from handler.model import Usage
from handler.mount.fs.usage import usage_of
from handler.mount.operations.rollback import choose_release
from handler.mount.releases.strategy import Release
from handler.mount.target.record import PublishedRecord, read_record

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


def test_a_hold_comes_back_from_the_file(tmp_path: Path) -> None:
    """All of it."""
    held = Hold(since=1.5, by="mona", why="wait", commit=A, left=(B, C))
    record = PublishedRecord("octo/site", "refs/heads/main", A, B, 1.0, 2.0, held=held)
    (tmp_path / "published.json").write_bytes(record.to_json())
    assert read_record(str(tmp_path / "published.json")) == record


def test_what_is_below_directories_is_counted_and_nothing_else(tmp_path: Path) -> None:
    """Links count as what they are, and are not followed; what is not there takes nothing."""
    for path in ("one/a", "one/b/c", "one/b/d/e", "two/a", "outside/big"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"12345")
    (tmp_path / "one/out").symlink_to(tmp_path / "outside")
    (tmp_path / "linked").symlink_to(tmp_path / "outside")
    roots = [os.fspath(tmp_path / name) for name in ("one", "two", "none", "linked", "two/a")]
    link = len(os.fspath(tmp_path / "outside"))
    heard: list[int] = []
    found = usage_of(roots, workers=4, pulse=heard.append)
    assert found == (Usage(4, 15 + link), Usage(1, 5), Usage(), Usage(), Usage())
    assert heard[-1] == 5

    def end(files: int) -> None:
        raise OutOfTime("now")

    with pytest.raises(OutOfTime):
        usage_of(roots, workers=2, pulse=end)
