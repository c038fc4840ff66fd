"""Where rules publish to, and what meets there."""

from hypothesis import example, given
from hypothesis import strategies as st

from handler.config.overlaps import default_branch_overlap, do_overlap, overlapping_rules, overlaps_between, path_prefix
from handler.model import PublishRule, Repository

parts = st.text(alphabet="ab", min_size=1, max_size=2)
good = st.lists(parts, min_size=1, max_size=2).map("/".join)
beginnings = st.text(alphabet="ab/", min_size=1, max_size=4)
rules = good.map(lambda path: PublishRule(ref="refs/heads/a", path=path)) | beginnings.map(
    lambda fixed: pattern(f"{fixed}*")
)


@st.composite
def published(draw: st.DrawFn) -> tuple[PublishRule, str]:
    """Draw a rule, and a path that it publishes to: its own, or with something for `*`."""
    path = draw(good)
    end = draw(st.integers(1, len(path)))
    return (PublishRule(ref="refs/heads/a", path=path) if end == len(path) else pattern(f"{path[:end]}*")), path


def collide(one: str, other: str) -> bool:
    """Whether two directories are the same, or one lies in the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def pattern(path: str) -> PublishRule:
    """Return a pattern's rule."""
    return PublishRule(ref="refs/heads/*", path=path)


@given(one=published(), other=published())
@example(one=(pattern("x/v*"), "x/v1"), other=(PublishRule(ref="refs/heads/a", path="x/v1/y"), "x/v1/y"))
@example(one=(pattern("x/v*"), "x/v/a"), other=(PublishRule(ref="refs/heads/a", path="x/v"), "x/v"))
@example(one=(pattern("x/*"), "x/a"), other=(PublishRule(ref="refs/heads/a", path="x"), "x"))
def test_rules_whose_targets_can_collide_meet(one: tuple[PublishRule, str], other: tuple[PublishRule, str]) -> None:
    """Whatever the patterns' `*` stand for: what collides on the mount was refused."""
    (first_rule, first), (second_rule, second) = one, other
    if collide(first, second):
        assert list(overlapping_rules("o/n", [first_rule, second_rule])) == [(0, 1)]
        assert list(overlapping_rules("o/n", [second_rule, first_rule])) == [(0, 1)]


@given(one=good, other=good)
def test_two_paths_meet_only_where_they_collide(one: str, other: str) -> None:
    """Neighbours are not refused: whole parts count, not beginnings of names."""
    assert do_overlap(f"{one}/", f"{other}/") == collide(one, other)


@given(fixed=beginnings, path=good)
def test_a_pattern_and_a_path_meet_only_where_some_name_collides(fixed: str, path: str) -> None:
    """There is something for `*` that makes it so: refusing more would be in the way."""
    if do_overlap(fixed, f"{path}/"):
        rest = path.removeprefix(fixed) if path.startswith(fixed) else "a"
        assert any(collide(candidate, path) for candidate in (fixed + (rest or "/a"), f"{fixed}a"))


def test_a_rules_place_is_its_path_or_the_default() -> None:
    """Branches below the repository, tags below `tags`, the newest tag at `latest`."""
    assert path_prefix("o/n", PublishRule(ref="refs/heads/a")) == "o/n/a/"
    assert path_prefix("o/n", PublishRule(ref="refs/heads/p/*")) == "o/n/p/"
    assert path_prefix("o/n", PublishRule(ref="refs/tags/v*")) == "o/n/tags/v"
    assert path_prefix("o/n", PublishRule(ref="refs/tags/v*", is_latest=True)) == "o/n/latest/"
    assert path_prefix("o/n", PublishRule(ref="refs/tags/v*", path="x", is_latest=True)) == "x/"
    assert path_prefix("o/n", PublishRule(ref="refs/tags/v*", path="x-*")) == "x-"


def repository(full_name: str, *rules: PublishRule) -> Repository:
    """Return a repository with these rules."""
    return Repository(full_name=full_name, url=f"https://github.com/{full_name}.git", publish=rules or (PublishRule(),))


def test_repositories_that_keep_apart_do_not_meet() -> None:
    """Shared directories above targets, own directories, and names that begin alike are no meeting."""
    rule = PublishRule(ref="refs/heads/a", path="octo/site/x/y")
    found = [
        repository("octo/site", PublishRule(), rule, PublishRule(ref="refs/heads/b", path="octo/site")),
        repository("octo/sites"),
        repository("octo/dags", PublishRule(ref="refs/heads/a", path="airflow/dags/one"), pattern("p/a-*")),
        repository("octo/more", PublishRule(ref="refs/heads/a", path="airflow/dags/two"), pattern("p/b-*")),
    ]
    assert list(overlaps_between(found)) == []


def test_rules_of_two_repositories_that_meet_are_told_by_both_names() -> None:
    """The same path, one in the other, a pattern over a path, a path in whose directory a mirror is."""
    one = repository(
        "a/one",
        PublishRule(ref="refs/heads/a", path="x"),
        pattern("p/*"),
        PublishRule(ref="refs/heads/b", path="b/two"),
    )
    two = repository("b/two", PublishRule(ref="refs/heads/a", path="x"), PublishRule(ref="refs/heads/b", path="p/q"))
    three = repository("c/three", PublishRule(ref="refs/heads/a", path="x/y/z"))
    assert sorted(overlaps_between([three, two, one])) == [
        "b/two: mirror.git meets a/one's publish[2]",
        "b/two: publish[0] meets a/one's publish[0]",
        "b/two: publish[1] meets a/one's publish[1]",
        "c/three: publish[0] meets b/two's publish[0]",
    ]


@given(rules=st.lists(rules, min_size=2, max_size=5))
def test_the_sorted_look_finds_what_comparing_all_with_all_finds(rules: list[PublishRule]) -> None:
    """Whether any two meet; each by itself in a repository of its own."""
    found = [repository(f"o/r{number}", rule) for number, rule in enumerate(rules)]
    assert bool(list(overlaps_between(found))) == bool(list(overlapping_rules("o/n", rules)))


def test_a_rule_is_named_once_with_the_first_that_it_meets() -> None:
    """A hundred rules with one path make a short list."""
    rules = [
        PublishRule(ref="refs/heads/a", path="x"),
        PublishRule(ref="refs/heads/b", path="x"),
        PublishRule(ref="refs/heads/c", path="x/y"),
    ]
    assert list(overlapping_rules("o/n", rules)) == [(0, 1), (0, 2)]


def test_the_default_branch_meets_what_sends_another_ref_to_its_path() -> None:
    """Once its name is known; the same branch by another rule, or to another place, is no meeting."""
    main = "refs/heads/main"

    def meeting(*others: PublishRule) -> int | None:
        return default_branch_overlap("o/n", [PublishRule(), *others], main)

    assert meeting(PublishRule(ref="refs/heads/dev", path="o/n/main")) == 1
    assert meeting(PublishRule(ref="refs/heads/dev", path="o/n/main/x")) == 1
    assert meeting(PublishRule(ref="refs/heads/dev", path="x"), PublishRule(ref="refs/heads/p*", path="o/n/m*")) == 2
    assert meeting(PublishRule(ref="refs/tags/v*", path="o/n/main", is_latest=True)) == 1
    assert meeting(PublishRule(ref=main)) is None
    assert meeting(PublishRule(ref=main, path="o/n/main")) is None
    assert meeting(PublishRule(ref=None, path="live")) is None
    assert meeting(PublishRule(ref="refs/heads/m*")) is None
    assert meeting(PublishRule(ref="refs/heads/dev", path="o/n/main2")) is None
    assert (
        default_branch_overlap(
            "o/n", [PublishRule(ref=main, path="x"), PublishRule(ref="refs/heads/a", path="o/n/main")], main
        )
        is None
    )
    latest = PublishRule(ref="refs/tags/v*", is_latest=True)
    assert default_branch_overlap("o/n", [PublishRule(), latest], "refs/heads/latest") == 1
