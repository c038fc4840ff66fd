"""Where rules publish to, and what meets there."""

from hypothesis import assume, example, given
from hypothesis import strategies as st

from handler.model import PublishRule
from handler.places import Place, default_branch_meeting, meetings, place_of

names = st.text(alphabet="ab/", max_size=4)
good = names.filter(lambda name: bool(name) and all(name.split("/")))
places = good.map(lambda path: Place(path, False)) | names.filter(bool).map(lambda fixed: Place(fixed, True))


def path_in(place: Place, rest: str) -> str:
    """Return a path of the place: its own, or with something for `*`."""
    return place.fixed + (rest if place.is_open else "")


def collide(one: str, other: str) -> bool:
    """Whether two directories are the same, or one lies in the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


@given(one=places, other=places, rest=names, another=names)
@example(one=Place("x/v", True), other=Place("x/v1/y", False), rest="1", another="")
@example(one=Place("x/v", True), other=Place("x/v", False), rest="/a", another="")
@example(one=Place("x/", True), other=Place("x", False), rest="a", another="")
def test_places_whose_targets_can_collide_meet(one: Place, other: Place, rest: str, another: str) -> None:
    """Whatever the patterns' `*` stand for: what collides on the mount was refused."""
    first, second = path_in(one, rest or "a"), path_in(other, another or "a")
    assume(all(first.split("/")) and all(second.split("/")))
    if collide(first, second):
        assert one.meets(other)
        assert other.meets(one)


@given(one=good, other=good)
def test_two_paths_meet_only_where_they_collide(one: str, other: str) -> None:
    """Neighbours are not refused: whole parts count, not beginnings of names."""
    assert Place(one, False).meets(Place(other, False)) == collide(one, other)


@given(one=names.filter(bool), other=good)
def test_a_pattern_and_a_path_meet_only_where_some_name_collides(one: str, other: str) -> None:
    """There is something for `*` that makes it so: refusing more would be in the way."""
    if Place(one, True).meets(Place(other, False)):
        rest = other.removeprefix(one) if other.startswith(one) else "a"
        candidates = [one + (rest or "/a"), f"{one}a"]
        assert any(collide(candidate, other) for candidate in candidates)


def test_a_rules_place_is_its_path_or_the_default() -> None:
    """Branches below the repository, tags below `tags`, the newest tag at `latest`."""
    assert place_of("o/n", PublishRule("refs/heads/a")) == Place("o/n/a", False)
    assert place_of("o/n", PublishRule("refs/heads/p/*")) == Place("o/n/p/", True)
    assert place_of("o/n", PublishRule("refs/tags/v*")) == Place("o/n/tags/v", True)
    assert place_of("o/n", PublishRule("refs/tags/v*", is_latest=True)) == Place("o/n/latest", False)
    assert place_of("o/n", PublishRule("refs/tags/v*", "x", is_latest=True)) == Place("x", False)
    assert place_of("o/n", PublishRule("refs/tags/v*", "x-*")) == Place("x-", True)


def test_a_rule_is_named_once_with_the_first_that_it_meets() -> None:
    """A hundred rules with one path make a short list."""
    rules = [PublishRule("refs/heads/a", "x"), PublishRule("refs/heads/b", "x"), PublishRule("refs/heads/c", "x/y")]
    assert list(meetings("o/n", rules)) == [(0, 1), (0, 2)]


def test_the_default_branch_meets_what_sends_another_ref_to_its_path() -> None:
    """Once its name is known; the same branch by another rule, or to another place, is no meeting."""
    main = "refs/heads/main"

    def meeting(*others: PublishRule) -> int | None:
        return default_branch_meeting("o/n", [PublishRule(), *others], main)

    assert meeting(PublishRule("refs/heads/dev", "o/n/main")) == 1
    assert meeting(PublishRule("refs/heads/dev", "o/n/main/x")) == 1
    assert meeting(PublishRule("refs/heads/dev", "x"), PublishRule("refs/heads/p*", "o/n/m*")) == 2
    assert meeting(PublishRule("refs/tags/v*", "o/n/main", is_latest=True)) == 1
    assert meeting(PublishRule(main)) is None
    assert meeting(PublishRule(main, "o/n/main")) is None
    assert meeting(PublishRule(None, "live")) is None
    assert meeting(PublishRule("refs/heads/m*")) is None
    assert meeting(PublishRule("refs/heads/dev", "o/n/main2")) is None
    assert (
        default_branch_meeting("o/n", [PublishRule(main, "x"), PublishRule("refs/heads/a", "o/n/main")], main) is None
    )
    latest = PublishRule("refs/tags/v*", is_latest=True)
    assert default_branch_meeting("o/n", [PublishRule(), latest], "refs/heads/latest") == 1
