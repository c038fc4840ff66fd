"""The order of versions, and the newest of them."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.config.versions import Version, newest, read_version, version_of

V = "refs/tags/v*"


def version(text: str) -> Version:
    """Return the version that `text` has to be."""
    found = read_version(text)
    assert found is not None, text
    return found


def tags(*names: str) -> list[str]:
    """Return the full names of tags."""
    return [f"refs/tags/{name}" for name in names]


IN_ORDER = [
    *("0", "0.0.1", "0.9", "0.10"),
    *("1.0.0-0", "1.0.0-2", "1.0.0-11", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta"),
    *("1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1", "1.0", "1.0.0", "1.0.0+a", "1.0.0+b", "1.0.1-rc.1", "1.0.1"),
    *("1.2", "1.10", "1.10.0.1", "9", "10"),
    *("2024.04.30", "2024.05.01", "2024.5.2", "2024.12.1"),
]


@pytest.mark.parametrize(("older", "newer"), list(pairwise(IN_ORDER)))
def test_each_is_older_than_the_next(older: str, newer: str) -> None:
    """Numbers as numbers, a pre-release before its release, and semver.org's own example among them."""
    assert version(older) < version(newer)
    assert not version(newer) < version(older)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nightly",
        "v1",
        "1.",
        ".1",
        "1..2",
        "1.0rc1",
        "1.0-",
        "1.0-a..b",
        "1.0+",
        "1.0_1",
        " 1",
        "1\n",
        "1/2",
        "١",
        "x1",
    ],
)
def test_what_is_no_version_is_none(text: str) -> None:
    """It neither becomes the newest nor stands in the way."""
    assert read_version(text) is None


def test_the_newest_is_found_by_value_and_not_by_spelling() -> None:
    """v1.10 is newer than v1.9, and words and pre-releases are passed over."""
    names = tags("v1.9.0", "v1.10.0", "v1.2", "v2.0.0-rc.1", "vnext", "w9", "v", "v3/x")
    assert newest(names, V) == "refs/tags/v1.10.0"
    assert newest(names, V, prereleases=True) == "refs/tags/v2.0.0-rc.1"


def test_a_release_is_newer_than_its_own_pre_releases() -> None:
    """Who takes pre-releases gets the release when it is there."""
    names = tags("v2.0.0-rc.1", "v2.0.0", "v2.0.0-rc.2")
    assert newest(names, V, prereleases=True) == "refs/tags/v2.0.0"


@pytest.mark.parametrize(
    ("pattern", "names", "expected"),
    [
        ("refs/tags/release-*", ["release-9", "release-10", "v11"], "release-10"),
        ("refs/tags/*", ["9", "10", "v11"], "10"),
        ("refs/tags/app/v*", ["app/v1", "v2", "lib/v3"], "app/v1"),
        ("refs/tags/v1.*", ["v1.2", "v1.10", "v2.0"], "v1.10"),
        ("refs/tags/v*", ["nightly"], None),
        ("refs/tags/v*", [], None),
    ],
)
def test_the_prefix_is_the_patterns(pattern: str, names: list[str], expected: str | None) -> None:
    """What stands before the `*` is no part of the version; another prefix is another line of versions."""
    assert newest(tags(*names), pattern) == (expected and f"refs/tags/{expected}")


def test_a_version_of_a_ref_is_one_that_the_rule_takes() -> None:
    """The same judgement that `newest` makes, for one ref."""
    assert version_of("refs/tags/v1", V) == version("1")
    assert version_of("refs/tags/v1-rc", V) is None
    assert version_of("refs/tags/v1-rc", V, prereleases=True) == version("1-rc")
    assert version_of("refs/heads/v1", V) is None


numbers = st.lists(st.integers(0, 12).map(str) | st.sampled_from(["00", "01", "2024"]), min_size=1, max_size=4)
identifiers = st.lists(st.sampled_from(["0", "1", "01", "2", "11", "a", "b", "rc", "A", "-", "1a"]), max_size=3)
builds = st.sampled_from(["", "+a", "+1", "+a.b"])
texts = st.builds(
    lambda parts, pre, build: ".".join(parts) + ("-" + ".".join(pre) if pre else "") + build,
    numbers,
    identifiers,
    builds,
)


@given(one=texts, other=texts, third=texts)
def test_the_order_is_total(one: str, other: str, third: str) -> None:
    """Of two different spellings exactly one is older, and the order does not go in circles."""
    a, b, c = version(one), version(other), version(third)
    assert [a < b, a == b, b < a].count(True) == 1
    assert (a == b) == (one == other)
    if a < b and b < c:
        assert a < c


@given(text=texts, build=builds)
def test_build_metadata_decides_nothing_but_ties(text: str, build: str) -> None:
    """Whatever is newer or older than a version is so with any metadata."""
    bare = text.partition("+")[0]
    one, other = version(bare), version(bare + build)
    assert (one.numbers, one.is_release, one.prerelease) == (other.numbers, other.is_release, other.prerelease)


@given(names=st.lists(texts, min_size=1, max_size=6), seed=st.integers())
def test_the_newest_does_not_hang_on_the_order_of_names(names: list[str], seed: int) -> None:
    """A remote may list its refs in any order, twice even: the same tag is the newest."""
    refs = [f"refs/tags/v{name}" for name in names]
    shuffled = [*refs, refs[0]]
    random.Random(seed).shuffle(shuffled)
    found = newest(shuffled, V, prereleases=True)
    assert found == newest(refs, V, prereleases=True)
    assert found is not None
    assert all(version(name) <= version(found.removeprefix("refs/tags/v")) for name in names)


@given(names=st.lists(st.text(max_size=8).map("refs/tags/v".__add__), max_size=6))
def test_any_names_have_a_newest_or_none(names: list[str]) -> None:
    """Nothing is raised, whatever a tag is called."""
    assert newest(names, V) in {*names, None}
