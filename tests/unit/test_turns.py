"""Which directory becomes the next release, and which ones go: the decision alone, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.mount.releases.strategy import (
    MIN_RELEASES,
    Release,
    Strategy,
    StrategyKind,
    choose_pruned,
    choose_strategy,
    max_releases,
)

A, B, C, D, NEW = ("a" * 40, "b" * 40, "c" * 40, "d" * 40, "f" * 40)
NOW = 10_000.0
GRACE = 300.0


def aged(commit: str, seconds: float, *, is_intact: bool = True) -> Release:
    """Return a release that was retired so long ago."""
    return Release(commit, NOW - seconds, is_intact)


@pytest.mark.parametrize(
    ("current", "releases", "patches", "turn"),
    [
        pytest.param(None, [], [], Strategy(StrategyKind.WHOLE), id="nothing is there yet"),
        pytest.param(A, [aged(A, 9999)], [], Strategy(StrategyKind.WHOLE), id="current is never recycled, however old"),
        pytest.param(A, [aged(A, 0), aged(B, 299)], [], Strategy(StrategyKind.WHOLE), id="within the grace"),
        pytest.param(
            A, [aged(A, 0), aged(B, 300.5)], [], Strategy(StrategyKind.WHOLE), id="the clock's rounding is waited for"
        ),
        pytest.param(A, [aged(A, 0), aged(B, 301)], [], Strategy(StrategyKind.RECYCLE, B), id="past the grace"),
        pytest.param(
            A,
            [aged(B, 400), aged(C, 900), aged(D, 500), aged(A, 0)],
            [],
            Strategy(StrategyKind.RECYCLE, C),
            id="the one retired first, so that the younger stay to go back to",
        ),
        pytest.param(A, [aged(A, 0), aged(B, -50)], [], Strategy(StrategyKind.WHOLE), id="a clock that runs ahead"),
        pytest.param(
            A, [aged(A, 0), aged(B, 900, is_intact=False)], [], Strategy(StrategyKind.WHOLE), id="somebody changed it"
        ),
        pytest.param(A, [aged(A, 0), aged(NEW, 5)], [], Strategy(StrategyKind.FLIP), id="the wanted tree is there"),
        pytest.param(
            A,
            [aged(A, 0), aged(NEW, 5, is_intact=False)],
            [],
            Strategy(StrategyKind.WHOLE),
            id="it is there, but changed",
        ),
        pytest.param(
            A,
            [aged(A, 0), aged(B, 900)],
            [(C, D)],
            Strategy(StrategyKind.RESUME, C, D),
            id="what a killed run left half patched comes before another release",
        ),
        pytest.param(
            A, [aged(A, 0), aged(NEW, 5)], [(C, D)], Strategy(StrategyKind.FLIP), id="the wanted tree comes before all"
        ),
    ],
)
def test_how_the_wanted_tree_comes_to_be(
    current: str | None, releases: list[Release], patches: list[tuple[str, str]], turn: Strategy
) -> None:
    """Flip before resume, resume before recycle, and whole only where nothing else is allowed."""
    assert choose_strategy(NEW, current, releases, patches, NOW, GRACE) == turn


def test_without_a_grace_the_release_just_retired_is_recycled() -> None:
    """grace_seconds 0: the owner says that nobody reads an old release."""
    assert choose_strategy(NEW, A, [aged(A, 0), aged(B, 0)], [], NOW, 0) == Strategy(StrategyKind.RECYCLE, B)


@pytest.mark.parametrize(
    ("keep", "pruned"),
    [(1, {B, C, D}), (2, {C, D}), (3, {D}), (4, set()), (50, set())],
)
def test_the_youngest_stay(keep: int, pruned: set[str]) -> None:
    """`keep_releases` counts `current`."""
    releases = [aged(A, 0), aged(B, 400), aged(C, 500), aged(D, 600)]
    assert set(choose_pruned(A, releases, NOW, GRACE, keep)) == pruned


def test_nothing_goes_within_its_grace() -> None:
    """However many there are."""
    releases = [aged(A, 0), aged(B, 10), aged(C, 20), aged(D, 301)]
    assert choose_pruned(A, releases, NOW, GRACE, 1) == [D]


def test_a_changed_release_goes_after_its_grace_and_takes_no_place_among_the_kept() -> None:
    """While sound ones take turns, nothing would ever push it beyond them; and nobody goes back to it."""
    releases = [aged(A, 0), aged(B, 400, is_intact=False), aged(C, 500), aged(D, 600)]
    assert choose_pruned(A, releases, NOW, GRACE, 3) == [B]
    assert choose_pruned(A, [aged(A, 0), aged(B, 200, is_intact=False)], NOW, GRACE, 3) == []
    assert choose_pruned(A, [aged(A, 900, is_intact=False), aged(B, 400)], NOW, GRACE, 3) == []


@pytest.mark.parametrize(
    ("files", "burst", "most"), [(10, 1000, 100), (1000, 1000, MIN_RELEASES), (0, 1000, 1000), (50_000, 10**6, 20)]
)
def test_small_trees_may_have_many_releases_and_large_ones_few(files: int, burst: int, most: int) -> None:
    """The bound is on what is stored; eight are always allowed."""
    assert max_releases(files, burst) == most


RELEASES = st.lists(
    st.builds(Release, st.sampled_from([A, B, C, D]), st.floats(0, 2 * NOW), st.booleans()),
    unique_by=lambda release: release.commit,
)


@given(current=st.sampled_from([None, A, B]), releases=RELEASES, grace=st.floats(0, 1000), keep=st.integers(1, 5))
def test_neither_current_nor_anything_within_its_grace_is_ever_touched(
    current: str | None, releases: list[Release], grace: float, keep: int
) -> None:
    """Whatever is there: what is recycled or pruned is retired, past its grace, and, if recycled, as it was left."""
    by_name = {release.commit: release for release in releases}
    turn = choose_strategy(NEW, current, releases, [], NOW, grace)
    touched = [turn.base] if turn.base else []
    assert all(by_name[commit].is_intact for commit in touched)
    for commit in touched + choose_pruned(current or NEW, releases, NOW, grace, keep):
        assert commit != current
        assert grace == 0 or NOW - by_name[commit].retired_at >= grace
