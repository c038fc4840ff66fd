"""Working copies whose history is cut, and what a refused pull has cost; in both transports."""

import os

import pytest

from handler.exchange import remote
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.working_copy.person import Person

RULE = [{"ref": "refs/heads/main", "mode": "working-copy"}]
LARGE = 40_000
"""Bytes of each commit of an old branch."""
UNASKED, DEEPENED = 100_000, 400_000
"""The bounds, so that the tests need no large history."""
ROOM = 8000
"""Bytes that commits and trees may take beside the files."""


@pytest.fixture
def copy(service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Return somebody in a working copy of depth 1 whose branch `old` began before the cut."""
    monkeypatch.setattr(remote, "UNASKED_HISTORY_BYTES", UNASKED)
    monkeypatch.setattr(remote, "DEEPENED_BYTES", DEEPENED)
    service.put_repository(publish=RULE, depth=1)
    upstream.commit({"a": b"1\n", "large": b"1\n"})
    upstream.git("branch", "old", "main")
    for number in range(3):
        upstream.commit({"a": b"%d\n" % number})
    assert service.push(upstream).outcome == "published", service.text
    return Person.at(service)


def grow(upstream: Upstream, commits: int) -> None:
    """Commit a large file to `old` so many times, and then the small one again."""
    for _ in range(commits):
        upstream.commit({"large": os.urandom(LARGE)}, branch="old")
    upstream.commit({"large": b"1\n", "b": b"1\n"}, branch="old")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("how", ["warm", "cold", "protocol 0"])
def test_a_merge_brings_no_history(
    service: Service, upstream: Upstream, origin: GitOrigin, copy: Person, how: str
) -> None:
    """Of the merged branch its tip comes; the copy is sound, and goes on from there."""
    grow(upstream, 10)
    if how == "protocol 0":
        origin.no_v2()
    if how != "warm":
        service.reset()
    merged = upstream.merge("old")
    answer = service.push(upstream)
    assert answer.outcome == "published"
    # What was broken off, in blocks that are more than the bound by one at most, and little more.
    assert answer.content["bytes_fetched"] < UNASKED + 70_000 + ROOM
    assert copy.tree() == archive(upstream, merged)
    assert (copy.head(), copy.status()) == (merged, "")
    assert copy.git("reflog", "-1", "--format=%gs", "main") == "pull --rebase: Fast-forward"
    copy.is_sound()
    second = upstream.commit({"a": b"second\n"})
    answer = service.push(upstream)
    assert (answer.outcome, copy.head()) == ("published", second)
    assert answer.content["bytes_fetched"] < ROOM
    copy.is_sound()


def test_a_forced_push_brings_no_history(service: Service, upstream: Upstream, copy: Person) -> None:
    """The amended commit builds on what is before the cut: the branch gets there by itself."""
    grow(upstream, 10)
    upstream.commit({"b": b"2\n"}, branch="old")
    upstream.point("refs/heads/main", upstream.tip("old") or "")
    answer = service.push(upstream)
    assert answer.outcome == "published"
    assert answer.content["bytes_fetched"] < UNASKED + 70_000 + ROOM
    assert (copy.head(), copy.status()) == (upstream.tip(), "")
    assert copy.tree() == archive(upstream, copy.head())
    copy.is_sound()


@pytest.mark.sampled(0)
def test_a_large_push_is_no_history(service: Service, upstream: Upstream, copy: Person) -> None:
    """The files of a tree may have more bytes than any bound on history, with local commits too."""
    copy.commit({"mine": "1\n"})
    tip = upstream.commit({"large": os.urandom(2 * DEEPENED)})
    answer = service.push(upstream)
    assert answer.outcome == "published", service.text
    assert answer.content["bytes_fetched"] < 2 * DEEPENED + UNASKED + 70_000 + ROOM
    assert copy.git("rev-parse", "HEAD^") == tip
    copy.is_sound()


def test_local_commits_bring_the_history_that_they_are_compared_with(
    service: Service, upstream: Upstream, copy: Person
) -> None:
    """What the merged branch has already is dropped, also where it was taken back there since."""
    copy.commit({"mine": "1\n"})
    upstream.commit({"mine": b"1\n"}, branch="old")
    upstream.commit({"mine": None}, branch="old")
    grow(upstream, 4)
    merged = upstream.merge("old")
    answer = service.push(upstream)
    assert answer.outcome == "published", service.text
    assert (copy.head(), copy.status()) == (merged, "")
    assert UNASKED < answer.content["bytes_fetched"] < 2 * UNASKED + 4 * LARGE + ROOM
    copy.is_sound()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("too_many", ["bytes", "commits"])
def test_more_history_than_the_bounds_is_left_to_a_person(
    service: Service, upstream: Upstream, copy: Person, too_many: str
) -> None:
    """`history_too_deep` says what to do, and what it cost; the copy is as it was, and what is said helps."""
    local = copy.commit({"mine": "1\n"})
    if too_many == "bytes":
        grow(upstream, 20)
    else:
        upstream.generate(3, commits=1400, branch="old")
    merged, before = upstream.merge("old"), copy.state()
    answer = service.push(upstream)
    line = service.log_lines[-1]
    assert (answer.status, answer.reason) == (500, "history_too_deep"), service.text
    assert "git fetch --unshallow" in line["detail"]
    assert answer.content["refused_commit"] == line["refused_commit"] == merged
    assert UNASKED < answer.content["bytes_fetched"] == line["counts"]["bytes_fetched"]
    assert answer.content["bytes_fetched"] < UNASKED + 2 * DEEPENED + 140_000
    assert line["durations"]["fetch_ms"] > 0
    assert copy.state() == before
    copy.is_sound()
    copy.git("fetch", "-q", "--unshallow")
    service.run_schedule()
    assert copy.git("rev-parse", "HEAD^") == merged, service.log_lines[-1]
    assert copy.git("log", "-1", "--format=%s") == "local"
    assert copy.head() != local
    copy.is_sound()


@pytest.mark.sampled(0)
def test_depth_0_takes_all_history(service: Service, upstream: Upstream, copy: Person) -> None:
    """Whoever asks for all of it gets it, in a copy that was cut before too."""
    copy.commit({"mine": "1\n"})
    grow(upstream, 20)
    service.put_repository(publish=RULE, depth=0)
    service.reset()
    merged = upstream.merge("old")
    answer = service.push(upstream)
    assert answer.outcome == "published"
    assert answer.content["bytes_fetched"] > 20 * LARGE
    assert copy.git("rev-parse", "HEAD^") == merged
    copy.is_sound()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("reason", ["local_changes", "replay_conflict"])
def test_a_refused_pull_says_what_it_has_cost(service: Service, upstream: Upstream, copy: Person, reason: str) -> None:
    """Answer and log have the bytes that were fetched, and the times."""
    copy.write({"a": "mine\n"})
    if reason == "replay_conflict":
        copy.commit({"a": "mine\n"})
    refused = upstream.commit({"a": b"theirs\n", "large": os.urandom(LARGE)})
    answer = service.push(upstream)
    line = service.log_lines[-1]
    assert (answer.reason, answer.content["refused_commit"]) == (reason, refused)
    assert LARGE < answer.content["bytes_fetched"] == line["counts"]["bytes_fetched"] < LARGE + ROOM
    assert line["durations"]["fetch_ms"] > 0
    assert line["durations"]["checkout_ms"] > 0
