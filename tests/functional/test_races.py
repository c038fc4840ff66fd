"""Deliveries that come twice, at once, late or out of order, and refs that move or lag: what the ref says wins."""

import os
from concurrent.futures import wait
from typing import Any

import pytest

from testing import fake_lambda
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.mounts import check_mirror, footprint

MAIN = "octo/site/main"


def one(service: Service, upstream: Upstream, content: bytes) -> str:
    """Commit, push and deliver; return the commit."""
    commit = upstream.commit({"content": content})
    assert service.push(upstream).outcome == "published"
    return commit


# -- redelivery -----------------------------------------------------------------------------------------------


def test_a_redelivery_asks_the_remote_once_and_changes_nothing(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """It bears the same id. One small request, no fetch, the mount untouched."""
    service.put_repository()
    upstream.commit({"a": b"a"})
    request = service.push_request(upstream, delivery_id="11111111-2222-3333-4444-555555555555")
    service.send(request)
    before = footprint(service.mount)
    origin.forget()
    assert service.send(request).outcome == "unchanged"
    assert [record.kind for record in origin.requests] == ["ls-refs"]
    assert footprint(service.mount) == before


def test_a_redelivery_repairs_what_was_taken_away(service: Service, upstream: Upstream) -> None:
    """The operator's own means of repair: no id is remembered that could stand in its way."""
    service.put_repository()
    commit = upstream.commit({"a": b"a"})
    request = service.push_request(upstream)
    service.send(request)
    service.current().unlink()
    assert service.send(request).outcome == "published"
    assert service.tree() == archive(upstream, commit)


def test_a_redelivery_publishes_what_failed_the_first_time(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """503 now, 200 by the button on GitHub's page."""
    service.put_repository()
    upstream.commit({"a": b"a"})
    request = service.push_request(upstream)
    origin.fail_next(20)
    assert service.send(request).status == 503
    origin.clear_faults()
    assert service.send(request).outcome == "published"


# -- at once --------------------------------------------------------------------------------------------------


def test_two_deliveries_of_a_push_at_once_publish_it_once(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Two threads: one works, the other waits for the lock, finds the work done, and fetches nothing."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    commit = upstream.commit({"a": b"a"})
    request = service.push_request(upstream)
    with origin.paused("ls-refs"):
        answers = [service.send_later(request) for _ in range(4)]
        origin.wait_for_held()
    outcomes = sorted(str(answer.result(20).outcome) for answer in answers)
    assert outcomes == ["published", "unchanged", "unchanged", "unchanged"]
    assert origin.counts["fetch"] == 1
    assert service.tree() == archive(upstream, commit)


@fake_lambda.for_calls("who invokes the mount side asks the remote before")
def test_those_who_waited_for_the_lock_do_not_ask_again_what_was_asked_since(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """A delivery that came before the remote was asked is answered by that answer: coalesced, at no cost."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    upstream.commit({"a": b"a"})
    first = service.push_request(upstream)
    upstream.commit({"a": b"b"})
    second = service.push_request(upstream)
    with origin.paused("fetch"):
        leading = service.send_later(first)
        origin.wait_for_held()
        # Both come while the first run has the lock; whoever of them is next asks for both.
        following = [service.send_later(second) for _ in range(2)]
        wait(following, 0.3)
    assert leading.result(20).status == 200
    assert sorted(str(answer.result(20).outcome) for answer in following)[-1] == "unchanged"
    assert origin.counts["ls-refs"] == 2
    assert service.current_commit() == upstream.tip()


def test_two_processes_at_once_end_with_the_tip(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Two Lambda environments on one file system: both may fetch, and the lock lets one of them publish."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    upstream.commit({"a": b"a"})
    request = service.push_request(upstream)
    with service.process() as one_, service.process() as other:
        one_.wait_until_ready()
        other.wait_until_ready()
        with origin.paused("fetch"):
            answers = [one_.send_later(request), other.send_later(request)]
            origin.wait_for_held()
            wait(answers, 0.2)
        assert sorted(str(answer.result(20).outcome) for answer in answers) == ["published", "unchanged"]
        assert origin.counts["fetch"] <= 2
        requests = []
        for number in range(6):
            upstream.commit({"a": b"%d" % number, f"only-{number}": b"x"})
            requests.append(service.push_request(upstream))
        answers = [(one_, other)[at % 2].send_later(request) for at, request in enumerate(requests)]
        assert {answer.result(20).status for answer in answers} == {200}
    tip = upstream.tip()
    assert service.current_commit() == tip
    assert service.tree() == archive(upstream, str(tip))
    check_mirror(service.mount / "octo/site/mirror.git", str(tip))


def test_a_burst_of_pushes_ends_with_the_tip(service: Service, upstream: Upstream) -> None:
    """Eight deliveries in eight threads, recycling as they go: every answer 200, the last commit published whole."""
    service.put_repository(grace_seconds=0)
    one(service, upstream, b"first")
    requests = []
    for number in range(8):
        upstream.commit({"content": b"%d" % number, f"d{number}/x": b"x", f"d{number - 1}/x": None})
        requests.append(service.push_request(upstream))
    answers = [service.send_later(request) for request in requests]
    assert {answer.result(20).status for answer in answers} == {200}
    assert service.current_commit() == upstream.tip()
    assert service.tree() == archive(upstream, str(upstream.tip()))


def test_two_repositories_do_not_wait_for_each_other(service: Service, origin: GitOrigin) -> None:
    """The lock is the repository's own."""
    first, second = Upstream(origin.root, "octo/one"), Upstream(origin.root, "octo/two")
    for upstream in (first, second):
        service.put_repository(upstream.full_name, publish=[{"ref": "refs/heads/main"}])
        upstream.commit({"a": upstream.full_name.encode()})
    with origin.paused("fetch"):
        answers = [service.send_later(service.push_request(upstream)) for upstream in (first, second)]
        origin.wait_for_held(2)
    assert {answer.result(20).outcome for answer in answers} == {"published"}


# -- out of order ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (0, 2, 1), (2, 0, 1, 0, 2)])
@pytest.mark.parametrize("is_cold", [False, True])
def test_deliveries_in_any_order_end_with_the_tip(
    service: Service, upstream: Upstream, order: tuple[int, ...], is_cold: bool
) -> None:
    """All were pushed before the first delivery came: that one publishes the tip, and no other goes back."""
    service.put_repository()
    one(service, upstream, b"before")
    requests = []
    for number in range(3):
        upstream.commit({"content": b"%d" % number})
        requests.append(service.push_request(upstream))
    outcomes = []
    for at in order:
        if is_cold:
            service.reset()
        outcomes.append(service.send(requests[at]).outcome)
        assert service.current_commit() == upstream.tip()
    assert outcomes == ["published"] + ["unchanged"] * (len(order) - 1)


def test_a_late_delivery_publishes_what_the_ref_says_now(service: Service, upstream: Upstream) -> None:
    """The payload's commit is passed over, and the reason says so; no time to visibility is counted for it."""
    service.put_repository()
    upstream.commit({"a": b"old"})
    late = service.push_request(upstream)
    tip = upstream.commit({"a": b"new"})
    answer = service.send(late)
    assert (answer.outcome, answer.reason) == ("published", "ref_moved_on")
    assert answer.content["commit"] == service.current_commit() == tip
    assert service.metric_values("PushToVisibleSeconds") == []


def test_a_ref_that_moves_on_while_it_is_fetched_is_published_as_it_is_then(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Between the webhook and the answer about the ref somebody pushed again."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    upstream.commit({"a": b"old"})
    with origin.paused("ls-refs"):
        answer = service.send_later(service.push_request(upstream))
        origin.wait_for_held()
        tip = upstream.commit({"a": b"new"})
    assert answer.result(20).reason == "ref_moved_on"
    assert service.current_commit() == tip


def test_the_ref_and_the_commit_are_asked_for_side_by_side(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Two small requests, one round trip."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    upstream.commit({"a": b"a"})
    service.push(upstream)
    upstream.commit({"a": b"b"})
    origin.forget()
    origin.latency_seconds = 0.1
    service.push(upstream)
    asked, fetched = sorted(origin.requests, key=lambda record: record.kind, reverse=True)
    assert (asked.kind, fetched.kind) == ("ls-refs", "fetch")
    assert asked.overlaps(fetched)


# -- a ref that lags ------------------------------------------------------------------------------------------


def test_a_ref_that_lags_for_a_moment_is_asked_again(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """The replica catches up within the time that is waited: a push like any other."""
    service.configure(lag_seconds=5)
    service.put_repository()
    one(service, upstream, b"before")
    origin.freeze_refs("octo/site", answers=1)
    commit = upstream.commit({"content": b"after"})
    answer = service.push(upstream)
    assert (answer.outcome, answer.reason) == ("published", "pushed")
    assert service.current_commit() == commit


def test_a_ref_that_lags_for_long_is_overruled_by_the_newer_payload_where_that_is_trusted(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Signed, newer than everything confirmed, and there by its id: it is trusted, and confirmed later on."""
    service.put_repository(trust_payload=True)
    one(service, upstream, b"before")
    origin.freeze_refs("octo/site")
    commit = upstream.commit({"content": b"after"})
    request = service.push_request(upstream)
    answer = service.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (200, "published", "payload_trusted")
    assert service.tree() == archive(upstream, commit)
    origin.thaw("octo/site")
    assert service.send(request).outcome == "unchanged"


@pytest.mark.parametrize("fields", [{}, {"trust_payload": False}])
def test_a_ref_that_lags_for_long_is_not_overruled(
    service: Service, upstream: Upstream, origin: GitOrigin, fields: dict[str, Any]
) -> None:
    """503; what is published stays, a redelivery finds the same, and the schedule's next look publishes the commit."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}], **fields)
    old = one(service, upstream, b"before")
    origin.freeze_refs("octo/site")
    commit = upstream.commit({"content": b"after"})
    request = service.push_request(upstream)
    before = footprint(service.mount)
    for _ in range(2):
        answer = service.send(request)
        assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "ref_lags")
        assert service.current_commit() == old
    assert footprint(service.mount) == before
    assert service.run_schedule()["behind"] == 0
    origin.thaw("octo/site")
    assert service.run_schedule()["behind"] == 1
    assert service.tree() == archive(upstream, commit)
    assert service.send(request).outcome == "unchanged"


@pytest.mark.parametrize("ref", ["refs/heads/new", "refs/tags/v1", "refs/tags/v9"])
def test_a_ref_that_the_remote_does_not_have_is_not_made_by_a_payload(
    service: Service, upstream: Upstream, origin: GitOrigin, ref: str
) -> None:
    """A branch, a tag, and the newest tag: there is no target until the remote has the ref."""
    rules = [
        {"ref": "refs/heads/main"},
        {"ref": "refs/heads/new"},
        {"ref": "refs/tags/v1"},
        {"ref": "refs/tags/v*", "latest": True, "path": "octo/newest"},
    ]
    service.put_repository(publish=rules)
    one(service, upstream, b"before")
    strange = upstream.commit({"content": b"strange"}, "refs/pull/1/head")
    tip = upstream.tip()
    answer = service.push(upstream, ref, after=strange)
    assert (answer.status, answer.reason) == (503, "ref_lags")
    shown = [os.readlink(link) for link in service.mount.rglob("current")]
    assert shown == [f"releases/{tip}"]


def test_a_delivery_that_was_overtaken_does_not_lead_back(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Three pushes at once; the first delivery publishes the third; the second one looks as if the ref lagged."""
    rules = [{"ref": "refs/heads/main"}]
    service.put_repository(publish=rules)
    one(service, upstream, b"before")
    requests = []
    for number in range(3):
        upstream.commit({"content": b"%d" % number})
        requests.append(service.push_request(upstream))
    assert service.send(requests[0]).reason == "ref_moved_on"
    for depth in (1, 0):
        service.put_repository(publish=rules, depth=depth)
        service.reset()
        origin.forget()
        assert service.send(requests[1]).outcome == "unchanged"
        # Whoever invokes the mount side, and knows nothing of it, fetches on a guess.
        most = 3 if fake_lambda.is_function() else 2
        assert len(origin.requests) <= most, "the ref, and whether it is ahead of the push; not asked again and again"
    assert service.current_commit() == upstream.tip()
    check_mirror(service.mount / "octo/site/mirror.git", str(upstream.tip()))


def test_a_new_branch_that_is_not_visible_yet_is_trusted_too(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Created just now, and the replica knows no such ref."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}], trust_payload=True)
    one(service, upstream, b"before")
    origin.freeze_refs("octo/site")
    commit = upstream.commit({"content": b"new"}, "new")
    answer = service.push(upstream, "new")
    assert (answer.outcome, answer.reason) == ("published", "payload_trusted")
    assert service.current_commit("octo/site/new") == commit


def test_a_first_delivery_meets_a_lagging_ref(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Nothing is published, the ref names the payload's `before`: the payload is newer."""
    service.put_repository(trust_payload=True)
    old = upstream.commit({"content": b"before"})
    origin.freeze_refs("octo/site")
    commit = upstream.commit({"content": b"after"})
    assert service.push(upstream, before=old).reason == "payload_trusted"
    assert service.current_commit() == commit


def test_a_commit_that_is_nowhere_yet_is_transient(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Neither the ref nor the id: 503, what is published stays, and the redelivery publishes it."""
    service.put_repository()
    one(service, upstream, b"before")
    origin.freeze_everything("octo/site")
    commit = upstream.commit({"content": b"after"})
    request = service.push_request(upstream)
    before = footprint(service.mount)
    answer = service.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "commit_not_there")
    assert footprint(service.mount) == before
    assert len(origin.requests) < 20
    origin.thaw("octo/site")
    assert service.send(request).outcome == "published"
    assert service.current_commit() == commit


def test_a_replica_that_catches_up_within_the_wait_is_no_failure(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Neither ref nor object is there at first; both come within a second."""
    service.configure(lag_seconds=5)
    service.put_repository()
    one(service, upstream, b"before")
    origin.freeze_everything("octo/site", answers=3)
    commit = upstream.commit({"content": b"after"})
    assert service.push(upstream).reason == "pushed"
    assert service.current_commit() == commit


def test_an_old_payload_is_not_waited_for(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Only a push newer than every confirmed one can be ahead of its ref; the others are answered at once."""
    service.configure(lag_seconds=5)
    service.put_repository()
    first = upstream.commit({"content": b"1"})
    old = service.push_request(upstream)
    upstream.commit({"content": b"2"})
    older_push = service.push_request(upstream, before=first)
    one(service, upstream, b"3")
    origin.forget()
    for request in (old, older_push):
        assert service.send(request).outcome == "unchanged"
    assert origin.counts["ls-refs"] == 2


# -- force-pushes ---------------------------------------------------------------------------------------------


def test_force_pushes_back_and_forth_are_followed(service: Service, upstream: Upstream) -> None:
    """To an ancestor, to where it was, to an unrelated root: each is what the ref says, whole."""
    service.put_repository()
    first, second = one(service, upstream, b"1"), one(service, upstream, b"2")
    unrelated = upstream.commit({"other": b"root"}, "other", parents=())
    for commit in (first, second, first, unrelated, second):
        upstream.point("main", commit)
        answer = service.push(upstream, forced=True)
        assert (answer.outcome, answer.reason) == ("published", "pushed")
        assert service.tree() == archive(upstream, commit)
    assert service.releases() == sorted({first, second, unrelated})


def test_going_back_to_a_release_that_is_still_there_only_flips_the_link(service: Service, upstream: Upstream) -> None:
    """No file is written; a guess may have been fetched."""
    service.put_repository()
    first = one(service, upstream, b"1")
    one(service, upstream, b"2")
    upstream.point("main", first)
    answer = service.push(upstream)
    assert answer.outcome == "published"
    assert answer.content["files_written"] == 0
    assert answer.content["bytes_fetched"] < 300


@pytest.mark.parametrize("is_cold", [False, True])
def test_an_old_payload_that_comes_again_after_a_force_push_back_changes_nothing(
    service: Service, upstream: Upstream, origin: GitOrigin, is_cold: bool
) -> None:
    """It names a commit ahead of the ref, exactly as a lagging ref would look; but its push is not the newest."""
    service.put_repository()
    first = one(service, upstream, b"1")
    upstream.commit({"content": b"2"})
    request = service.push_request(upstream)
    service.send(request)
    upstream.point("main", first)
    service.push(upstream, forced=True)
    if is_cold:
        service.reset()
    before = footprint(service.mount)
    for _ in range(2):
        assert service.send(request).outcome == "unchanged"
    assert service.current_commit() == first
    assert footprint(service.mount) == before


def test_a_push_that_was_taken_back_before_its_delivery_came_is_not_published(
    service: Service, upstream: Upstream
) -> None:
    """The delivery of the taking back came first; the late one is older by `pushed_at`."""
    service.put_repository()
    first = one(service, upstream, b"1")
    upstream.commit({"content": b"leaked"})
    late = service.push_request(upstream)
    upstream.point("main", first)
    assert service.push(upstream, forced=True).outcome == "unchanged"
    assert service.send(late).outcome == "unchanged"
    assert service.current_commit() == first


def test_a_new_push_after_a_force_push_back_is_published(service: Service, upstream: Upstream) -> None:
    """Going back does not wedge what comes next."""
    service.put_repository(grace_seconds=0)
    first = one(service, upstream, b"1")
    one(service, upstream, b"2")
    upstream.point("main", first)
    service.push(upstream)
    third = one(service, upstream, b"3")
    assert service.tree() == archive(upstream, third)


# -- branches that go -----------------------------------------------------------------------------------------


def test_a_branch_that_is_gone_at_the_remote_is_ignored_and_stays_published(
    service: Service, upstream: Upstream
) -> None:
    """The push's delivery comes after the branch was deleted: nothing to publish, nothing taken away."""
    service.put_repository(publish=[{"ref": "refs/heads/side"}])
    upstream.commit({"a": b"1"}, "side")
    assert service.push(upstream, "side").outcome == "published"
    upstream.commit({"a": b"2"}, "side")
    request = service.push_request(upstream, "side")
    upstream.delete("side")
    before = footprint(service.mount)
    answer = service.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (200, "ignored", "ref_gone")
    assert footprint(service.mount) == before


def test_a_branch_that_comes_again_is_published_again(service: Service, upstream: Upstream) -> None:
    """Deleted, made anew elsewhere in history: the target goes on where it stands."""
    service.put_repository(publish=[{"ref": "refs/heads/side"}])
    upstream.commit({"a": b"1"}, "side")
    service.push(upstream, "side")
    upstream.delete("side")
    assert service.push(upstream, "side").reason == "ref_deleted"
    commit = upstream.commit({"b": b"2"}, "side")
    assert service.push(upstream, "side").outcome == "published"
    assert service.tree("octo/site/side") == archive(upstream, commit)


# -- overtaken ------------------------------------------------------------------------------------------------


def test_a_push_that_was_overtaken_is_not_taken_for_one_whose_ref_lags(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """The tip was published for an earlier delivery; the next one is newer than that one, and older than the tip."""
    service.configure(lag_seconds=5)
    service.put_repository()
    one(service, upstream, b"before")
    requests = []
    for number in range(3):
        when = 1_760_000_000 + number
        commit = upstream.commit({"content": b"%d" % number}, when=when)
        requests.append(service.push_request(upstream, committed_at=when))
    assert service.send(requests[0]).reason == "ref_moved_on"
    origin.forget()
    for request in requests[1:]:
        assert service.send(request).outcome == "unchanged"
        assert service.current_commit() == commit
    assert origin.counts["ls-refs"] == 2
    assert origin.counts["fetch"] == 0


def test_a_push_that_does_not_go_on_from_what_is_published_is_not_fetched_unasked(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Others were pushed before it, and so maybe after it: the ref says which commit is worth a pack."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}])
    one(service, upstream, b"before")
    upstream.commit({"content": b"1"})
    service.push_request(upstream)
    upstream.commit({"content": b"2"})
    overtaken = service.push_request(upstream)
    tip = upstream.commit({"content": b"3"})
    origin.forget()
    assert service.send(overtaken).reason == "ref_moved_on"
    assert service.current_commit() == tip
    assert [record.kind for record in origin.requests] == ["ls-refs", "fetch"]
