"""Trees that nobody should write: refused whole, nothing written anywhere, and the next good push is published."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from testing import selection
from testing.hostile import DISGUISED, LINKS_OUT, MALFORMED, UNSAFE, UNSERVABLE, Builder
from testing.repositories import Entry, Link, Upstream, archive, snapshot
from testing.service import Service
from tests.functional.mounts import Footprint, footprint

ODD_ORDER = "unsorted"
"""What git would not write, but nothing is wrong with what it says."""
TARGET = "octo/site/main"


@pytest.fixture
def canary(service: Service) -> Path:
    """Return a directory next to the mount that nobody may touch; and put another repository's tree beside ours."""
    place = service.mount.with_name("canary")
    for directory in (place, place / "mirror.git", service.mount / "octo/other/main/current"):
        directory.mkdir(parents=True)
        (directory / "config").write_bytes(b"mine\n")
        (directory / "evil").write_bytes(b"mine\n")
    return place


def outside(service: Service, canary: Path) -> tuple[Footprint, Footprint]:
    """Return the footprint of all that is not the repository's own: what is around the mount, and what is in it."""
    around = {path: about for path, about in footprint(canary.parent).items() if not path.startswith("origin")}
    mount = service.mount.name
    # Our own place, and the times of the two directories on the way to it.
    ours = {path for path in around if path in (mount, f"{mount}/octo") or path.startswith(f"{mount}/octo/site")}
    return {path: about for path, about in around.items() if path not in ours}, footprint(canary)


def published_first(service: Service, upstream: Upstream, **fields: Any) -> str:
    """Configure the repository, publish an honest commit twice and return the second."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}], **fields)
    for number in range(2):
        commit = upstream.commit({"readme": b"%d" % number, "outer/inner/file": b"f", "x": b"x"})
        assert service.push(upstream).outcome == "published"
    return commit


@pytest.mark.parametrize("cases", [UNSAFE, DISGUISED, MALFORMED], ids=["unsafe", "disguised", "malformed"])
def test_a_hostile_tree_is_refused_and_the_next_good_push_is_published(
    service: Service, upstream: Upstream, canary: Path, cases: Mapping[str, Builder]
) -> None:
    """500 tree_unsafe where a retired release would be patched to it; `current` stays where it was."""
    service.configure(fetch_attempts=1)
    good = published_first(service, upstream, grace_seconds=0)
    for case in selection.spread([case for case in cases if case != ODD_ORDER], 8):
        around, current = outside(service, canary), footprint(service.current().resolve())
        upstream.commit_tree(cases[case](upstream), parents=[good])
        answer = service.push(upstream)
        assert answer.outcome == "failed", case
        if case not in UNSERVABLE:  # else the fetch fails already, each in its own way
            assert (answer.status, answer.reason) == (500, "tree_unsafe"), case
        assert service.current_commit() == good, case
        assert footprint(service.current().resolve()) == current, case
        good = upstream.commit({"readme": case.encode()}, parents=[good])
        assert service.push(upstream).outcome == "published", case
        assert service.tree() == archive(upstream, good), case
        assert outside(service, canary) == around, case


def test_a_hostile_tree_as_the_first_push_makes_no_target(service: Service, upstream: Upstream, canary: Path) -> None:
    """There is nothing at the target's path, not even an empty directory."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    around = outside(service, canary)
    for case in selection.spread([case for case in UNSAFE if case not in UNSERVABLE], 8):
        upstream.commit_tree(UNSAFE[case](upstream), case)
        assert service.push(upstream, case).reason == "tree_unsafe", case
        assert not (service.mount / "octo/site" / case).exists(), case
    assert outside(service, canary) == around


def test_log_and_answer_name_the_path(service: Service, upstream: Upstream) -> None:
    """The operator needs to know what it was; and whoever signs pushes of the commit has the path already."""
    service.put_repository()
    upstream.commit_tree(UNSAFE["dot-git-nested"](upstream))
    answer = service.push(upstream)
    assert "outer/inner/.git" in service.log_lines[-1]["detail"]
    assert answer.content["detail"] == service.log_lines[-1]["detail"]


def test_a_tree_in_an_odd_order_is_published_as_it_is(service: Service, upstream: Upstream) -> None:
    """Its names are good and none stands twice: there is nothing to fear."""
    published_first(service, upstream)
    commit = upstream.commit_tree(MALFORMED[ODD_ORDER](upstream))
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)


# -- links ----------------------------------------------------------------------------------------------------

_TRICKS: dict[str, dict[str, bytes]] = {
    "absolute": {"link": b"/etc/passwd"},
    "absolute within": {"link": b"/outer/inner"},
    "up from the root": {"link": b".."},
    "up and down": {"link": b"../main/readme"},
    "one too far": {"a/b/link": b"../../../x"},
    "far": {"a/link": b"../" * 30 + b"etc/passwd"},
    "over a link that leads up": {"a/up": b"..", "a/link": b"up/../x"},
    "over a link, from the root": {"up": b"a/b", "link": b"up/../../../x", "a/b/file": b"file"},
    "down and too far up": {"link": b"outer/../../x"},
    "with dots and slashes": {"link": b"././/../x"},
    "at the end": {"link": b"outer/.."},
    "empty parts": {"link": b"//etc/passwd"},
    "into our own": {"link": b"../../published.json"},
    "too long": {"link": b"x" * 4081},
}


def test_a_link_that_may_lead_out_of_the_tree_is_refused(service: Service, upstream: Upstream) -> None:
    """500 tree_unsafe: whoever reads the published tree shall not be led to somebody else's files."""
    first = published_first(service, upstream, grace_seconds=0)
    before = footprint(service.mount / TARGET)
    for case, links in _TRICKS.items():
        upstream.commit({path: Link(target) for path, target in links.items()}, parents=[first])
        answer = service.push(upstream)
        assert (answer.status, answer.reason) == (500, "tree_unsafe"), case
    for case in [case for case in LINKS_OUT if case != "into-dot-git"]:  # that one leads nowhere: no .git is published
        upstream.commit_tree(LINKS_OUT[case](upstream))
        assert service.push(upstream).reason == "tree_unsafe", case
    assert footprint(service.mount / TARGET) == before
    good = upstream.commit({"readme": b"good"}, parents=[first])
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, good)


@pytest.mark.parametrize(
    "links",
    [
        {"a/b/link": b"../../readme"},
        {"a/link": b"../outer/inner/file"},
        {"a/up": b"..", "a/to": b"up/readme"},
        {"one": b"two", "two": b"one"},
        {"link": b"./readme"},
        {"link": b"..."},
        {"link": b"..x/y"},
        {"link": b"\xff\xfe"},
        {"link": b"x" * 4000},
    ],
)
def test_links_that_stay_inside_are_published_and_lead_nowhere_else(
    service: Service, upstream: Upstream, links: dict[str, bytes]
) -> None:
    """As git has them; followed to their ends they do not leave the release."""
    published_first(service, upstream)
    commit = upstream.commit({path: Link(target) for path, target in links.items()})
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    release = service.current().resolve()
    for path, target in links.items():
        if len(target) < 1000:
            assert f"{os.path.realpath(release / path)}/".startswith(f"{release}/")


def test_links_that_lead_out_are_published_where_the_parameter_allows_it(service: Service, upstream: Upstream) -> None:
    """`allow_external_links`: some consumers link to what lies beside the tree, on purpose."""
    first = published_first(service, upstream, allow_external_links=True)
    for case in [case for case in _TRICKS if case != "too long"]:
        commit = upstream.commit({path: Link(to) for path, to in _TRICKS[case].items()}, parents=[first])
        assert service.push(upstream).outcome == "published", case
        assert service.tree() == archive(upstream, commit), case


@pytest.mark.parametrize("grace_seconds", [0, 300])
def test_nothing_is_written_through_a_link_that_is_allowed(
    service: Service, upstream: Upstream, canary: Path, grace_seconds: int
) -> None:
    """A directory takes the place of a link to it, a link that of the directory, back and forth: only the link goes."""
    published_first(service, upstream, grace_seconds=grace_seconds, allow_external_links=True)
    around = outside(service, canary)
    out = Link(os.fsencode(canary))
    changes: list[dict[str, Entry | None]] = [
        {"x": out, "outer": None, "link": Link(os.fsencode(canary / "config"))},
        {"x": None, "x/config": b"evil", "x/new": b"evil", "link": b"evil"},
        {"x": None, "link": None},
        {"x": out, "outer/inner": out},
        {"x": b"evil", "outer/inner": None, "outer/inner/config": b"evil"},
        {"x": None, "x/mirror.git": out},
        {"x/mirror.git": None, "x/mirror.git/config": b"evil"},
        {"x": out, "outer": None},
    ]
    for change in changes:
        commit = upstream.commit(dict.fromkeys(change) | change)
        assert service.push(upstream).outcome == "published"
        assert service.tree() == archive(upstream, commit)
        assert outside(service, canary) == around


@pytest.mark.parametrize("place", ["outer", "outer/inner", "x", "readme"])
def test_a_link_that_somebody_else_put_into_a_retired_release_is_not_followed(
    service: Service, upstream: Upstream, canary: Path, place: str
) -> None:
    """The release is recycled by writing into it: never through what it did not hold when it was published."""
    published_first(service, upstream, grace_seconds=0)
    around = outside(service, canary)
    (retired,) = set(service.releases()) - {service.current_commit()}
    victim = service.mount / TARGET / "releases" / retired / place
    victim.rename(service.mount / TARGET / "staging" / "aside")
    victim.symlink_to(canary)
    commit = upstream.commit(
        {"readme": b"new", "outer/inner/file": None, "outer/inner/config": b"evil", "outer/evil": b"evil", "x": b"y"}
    )
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert outside(service, canary) == around


# -- sizes ----------------------------------------------------------------------------------------------------


def _deep(upstream: Upstream, levels: int) -> str:
    tree = upstream.raw_tree([(b"100644", b"f", upstream.blob(b"f"))])
    for _ in range(levels):
        tree = upstream.raw_tree([(b"40000", b"d", tree)])
    return tree


_TOO_MUCH: dict[str, Builder] = {
    "a name too long": lambda upstream: upstream.raw_tree([(b"100644", b"n" * 256, upstream.blob(b"x"))]),
    "a path too deep": lambda upstream: _deep(upstream, 205),
    "an empty link": lambda upstream: upstream.raw_tree([(b"120000", b"l", upstream.blob(b""))]),
    "a link with a NUL": lambda upstream: upstream.raw_tree([(b"120000", b"l", upstream.blob(b"a\0b"))]),
}


@pytest.mark.parametrize("case", _TOO_MUCH)
def test_what_no_file_system_takes_is_refused_before_the_first_write(
    service: Service, upstream: Upstream, case: str
) -> None:
    """Names, depths and link targets beyond EFS's own limits: an outcome, and not half a tree."""
    service.put_repository()
    upstream.commit_tree(_TOO_MUCH[case](upstream))
    assert service.push(upstream).reason == "tree_unsafe"
    assert not (service.mount / TARGET).exists()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("mode", ["releases", "working-copy"])
@pytest.mark.parametrize("is_first", [True, False], ids=["the first push", "a later push"])
def test_a_tree_of_thousands_of_levels_is_refused_in_either_mode(
    service: Service, upstream: Upstream, mode: str, *, is_first: bool
) -> None:
    """It is too deep for every walk, and for Python's own stack: an outcome, and not a defect."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "mode": mode}])
    parents = []
    if not is_first:
        parents = [upstream.commit({"readme": b"good"})]
        assert service.push(upstream).outcome == "published"
    upstream.commit_tree(_deep(upstream, 3000), parents=parents)
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "tree_unsafe")
    upstream.commit({"readme": b"better"}, replace=True)
    assert service.push(upstream).outcome == "published"


def test_odd_but_legal_names_are_not_taken_for_hostile(service: Service, upstream: Upstream) -> None:
    """Dots and git in a name do not make it git's."""
    service.put_repository()
    paths = b"... ..a .gitignore .gitmodules .github/x git .git-x a.git/b - ~ git~2".split()
    commit = upstream.commit({path: path for path in paths})
    assert service.push(upstream).outcome == "published"
    assert snapshot(service.current()) == archive(upstream, commit)
