"""Commit statuses: which, in which order, and that GitHub's API never keeps a release from its readers."""

import time
from typing import Any

import pytest

from handler.network.forges import github_api, statuses
from testing.github_api import GitHubApi
from testing.origin import GitOrigin
from testing.repositories import Link, Upstream, archive
from testing.service import Service

TOKEN = "ghp_5ecre7T0ken5ecre7T0ken5ecre7T0ken"
CONTEXT = "git2efs/octo/site/main"


@pytest.fixture
def api(service: Service, origin: GitOrigin) -> GitHubApi:
    """Return GitHub's API; the service's repository asks for statuses."""
    configure(service)
    return GitHubApi(origin)


def configure(service: Service, token: str = TOKEN, **fields: Any) -> None:
    """Write the repository's parameter with statuses on."""
    service.put_repository(credentials=service.put_token(token), **{"commit_status": True, **fields})


def warnings(service: Service) -> list[str]:
    """Return the messages of all warnings."""
    return [str(line["message"]) for line in service.log_lines if line["level"] == "WARNING"]


def test_a_publish_is_pending_and_then_a_success(service: Service, upstream: Upstream, api: GitHubApi) -> None:
    """In this order, on one connection, with the token in a header, all before the answer."""
    commit = upstream.commit({b"a": b"1"})
    assert service.push(upstream).outcome == "published"
    assert [each.fields for each in api.posted] == [
        {"state": "pending", "context": CONTEXT, "description": "Publishing"},
        {"state": "success", "context": CONTEXT, "description": "Published to octo/site/main"},
    ]
    assert {(each.repository, each.commit, each.authorization) for each in api.posted} == {
        ("octo/site", commit, f"Bearer {TOKEN}")
    }
    assert len({each.connection for each in api.posted}) == 1
    assert warnings(service) == []


def test_nothing_is_posted_unless_asked_for(service: Service, upstream: Upstream, api: GitHubApi) -> None:
    """Off by default, also with a token."""
    configure(service, commit_status=False)
    service.reset()
    upstream.commit({b"a": b"1"})
    assert service.push(upstream).outcome == "published"
    assert api.posted == []


def test_nothing_is_posted_where_nothing_changed(service: Service, upstream: Upstream, api: GitHubApi) -> None:
    """A redelivery, a ping, a branch that is not published."""
    upstream.commit({b"a": b"1"})
    request = service.push_request(upstream)
    service.send(request)
    api.posted.clear()
    assert service.send(request).outcome == "unchanged"
    service.ping()
    upstream.point("other", str(upstream.tip()))
    assert service.push(upstream, "other").outcome == "ignored"
    assert api.posted == []


def test_what_needs_a_person_is_a_failure_with_its_reason(service: Service, upstream: Upstream, api: GitHubApi) -> None:
    """It was begun, so it is concluded."""
    commit = upstream.commit({b"l": Link(b"/etc")})
    assert service.push(upstream).reason == "tree_unsafe"
    assert api.states == [(commit, "pending"), (commit, "failure")]
    assert api.posted[-1].fields["description"] == "Not published: tree_unsafe"


def test_what_passes_by_itself_is_an_error(
    service: Service, upstream: Upstream, api: GitHubApi, origin: GitOrigin
) -> None:
    """Told of the pushed commit, though nothing was begun: the remote was not there."""
    commit = upstream.commit({b"a": b"1"})
    configure(service, publish=[{"ref": "refs/heads/main"}])
    origin.fail_next(6, kind="ls-refs")
    origin.fail_next(6, kind="fetch")
    assert service.push(upstream).reason == "remote_unavailable"
    assert api.states == [(commit, "error")]
    origin.clear_faults()
    assert service.push(upstream).outcome == "published"
    assert api.states[1:] == [(commit, "pending"), (commit, "success")]


def test_the_status_is_of_what_was_published_and_not_of_what_was_pushed(
    service: Service, upstream: Upstream, api: GitHubApi
) -> None:
    """The ref moved on: the newer commit's own delivery will find nothing to do, and tell nothing."""
    pushed = upstream.commit({b"a": b"1"})
    request = service.push_request(upstream)
    newer = upstream.commit({b"a": b"2"})
    assert service.send(request).reason == "ref_moved_on"
    assert api.states == [(newer, "pending"), (newer, "success")]
    assert pushed not in {each.commit for each in api.posted}


def test_an_annotated_tag_tells_its_commit(service: Service, upstream: Upstream, api: GitHubApi) -> None:
    """GitHub knows no statuses of tags; where the commit is not known before or after, nothing is told."""
    configure(service, publish=[{"ref": "refs/tags/v1"}, {"ref": "refs/tags/v2"}])
    commit = upstream.commit({b"a": b"1"})
    upstream.tag("v1", commit)
    assert service.push(upstream, "refs/tags/v1").outcome == "published"
    assert api.states == [(commit, "success")]
    tree = upstream.git("rev-parse", "HEAD^{tree}").decode().strip()
    upstream.tag("v2", tree)
    assert service.push(upstream, "refs/tags/v2").outcome == "failed"
    assert len(api.posted) == 1


def test_each_target_has_a_status_of_its_own(service: Service, upstream: Upstream, api: GitHubApi) -> None:
    """One is published, the other one's place is taken."""
    paths = ("good", "bad")
    configure(service, publish=[{"ref": "refs/heads/main", "path": path} for path in paths])
    (service.mount / "bad").mkdir()
    (service.mount / "bad/current").write_bytes(b"somebody's")
    commit = upstream.commit({b"a": b"1"})
    assert service.push(upstream).status == 500
    last = {each.fields["context"]: each.fields["state"] for each in api.posted}
    assert last == {"git2efs/good": "success", "git2efs/bad": "failure"}
    assert {each.commit for each in api.posted} == {commit}


def test_a_delivery_does_not_wait_while_it_works(service: Service, upstream: Upstream, api: GitHubApi) -> None:
    """The tree is there before GitHub has answered to the first status."""
    api.delay_seconds = 0.7
    commit = upstream.commit({b"a": b"1"})
    answer = service.send_later(service.push_request(upstream))
    api.wait_until(1)
    deadline = time.monotonic() + 0.5
    while service.current_commit() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert service.current_commit() == commit
    assert not answer.done()
    assert answer.result().outcome == "published"
    assert api.states == [(commit, "pending"), (commit, "success")]


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 422, 429, 500, 503])
def test_what_github_refuses_is_a_warning_and_no_more(
    service: Service, upstream: Upstream, api: GitHubApi, origin: GitOrigin, status: int
) -> None:
    """The number alone; no redirect is followed, and the token is in no line."""
    api.status, api.body = status, f'{{"message": "Bad credentials {TOKEN}"}}'.encode()
    commit = upstream.commit({b"a": b"1"})
    assert service.push(upstream).outcome == "published"
    assert warnings(service) == [
        f"GitHub did not take the status {state} of octo/site at {commit}: {status}" for state in ("pending", "success")
    ]
    assert service.places_of(TOKEN) == []
    assert not [record for record in origin.requests if "elsewhere" in record.path]


def test_an_api_that_hangs_costs_some_seconds_at_the_end(
    service: Service, upstream: Upstream, api: GitHubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree is there at once; what could not be posted is said, in one line."""
    monkeypatch.setattr(statuses, "CLOSE_SECONDS", 0.6)
    api.is_hanging = True
    commit = upstream.commit({b"a": b"1"})
    started = time.monotonic()
    assert service.push(upstream).outcome == "published"
    assert 0.5 < time.monotonic() - started < 2.5
    assert service.tree() == archive(upstream, commit)
    assert warnings(service) == ["GitHub took too long: 2 statuses of octo/site are not there."]
    assert service.places_of(TOKEN) == []
    api.is_hanging = False


def test_an_endless_answer_is_not_read_to_its_end(service: Service, upstream: Upstream, api: GitHubApi) -> None:
    """Its connection is not used again."""
    api.body = b"x" * 1_000_000
    commit = upstream.commit({b"a": b"1"})
    assert service.push(upstream).outcome == "published"
    assert api.states == [(commit, "pending"), (commit, "success")]
    assert len({each.connection for each in api.posted}) == 2
    assert warnings(service) == []


def test_an_api_that_is_not_there_costs_nothing(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens."""
    monkeypatch.setattr(github_api, "api_url", lambda url: "http://127.0.0.1:9/api/v3")
    configure(service)
    upstream.commit({b"a": b"1"})
    started = time.monotonic()
    assert service.push(upstream).outcome == "published"
    assert time.monotonic() - started < 2
    assert [line.rpartition(": ")[2] for line in warnings(service)] == ["NewConnectionError"] * 2
