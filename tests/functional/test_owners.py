"""One rule for all of an owner's repositories: deliveries, the schedule, and what operators see."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testing.origin import GitOrigin
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service
from tests.functional.test_doctor import wrong

Put = Callable[..., None]


@pytest.fixture
def other(origin: GitOrigin) -> Upstream:
    """Return another repository of the owner."""
    return Upstream(origin.root, "octo/other")


@pytest.fixture
def put_rule(service: Service, origin: GitOrigin) -> Put:
    """Return what writes octo's rule, fetched from the origin."""

    def put(**fields: object) -> None:
        service.put_repository_text("octo", json.dumps({"url": origin.url("{owner}/{name}"), **fields}))

    return put


def test_a_push_to_any_repository_of_the_owner_is_published(
    service: Service, upstream: Upstream, other: Upstream, put_rule: Put
) -> None:
    """Each at its own path, by one parameter; what is excluded is unknown, and asks no remote."""
    put_rule(publish=[{"path": "sites/{name}"}], exclude=["secret*"])
    for each in (upstream, other):
        commit = each.commit({"name": each.full_name.encode()})
        assert service.push(each).outcome == "published"
        assert service.current_commit(f"sites/{each.full_name.removeprefix('octo/')}") == commit
    secret = Upstream(upstream.path.parents[1], "octo/secret-plans")
    secret.commit({"a": b"1"})
    refused = service.push(secret)
    assert (refused.status, refused.reason) == (404, "repository_unknown")
    assert not (service.mount / "octo/secret-plans").exists()


def test_with_a_queue_the_webhook_and_the_worker_both_read_the_rule(
    service: Service, upstream: Upstream, put_rule: Put, queue: MessageQueue
) -> None:
    """Each in a process of its own; what the rule does not include is not queued."""
    service.use_queue(queue)
    put_rule(include=["site"])
    commit = upstream.commit({"a": b"1"})
    assert (service.push(upstream).status, len(queue.bodies)) == (202, 1)
    service.reset()
    queue.deliver_all(service.work)
    assert service.current_commit() == commit
    assert service.send(service.push_request(Upstream(upstream.path.parents[1], "octo/more"))).status == 404


def test_a_forged_delivery_costs_what_it_cost(service: Service, upstream: Upstream, put_rule: Put) -> None:
    """The signature first: no repository's parameter is read for it, and no rule."""
    put_rule()
    upstream.commit({"a": b"1"})
    service.ping()
    service.store.calls.clear()
    assert service.push(upstream, secret="forged").status == 401
    assert not [name for _, name in service.store.calls if "/repositories/" in name]


def test_the_schedule_heals_what_was_published_once(
    service: Service, upstream: Upstream, other: Upstream, put_rule: Put, origin: GitOrigin
) -> None:
    """And asks nothing of a repository that was never pushed, or whose targets are gone."""
    put_rule(exclude=["none"])
    upstream.commit({"a": b"1"})
    other.commit({"a": b"1"})
    assert service.run_schedule()["looked_at"] == 0
    service.push(upstream)
    lost = upstream.commit({"a": b"2"})
    origin.forget()
    done = service.run_schedule()
    assert (done["looked_at"], done["behind"], done["failing"]) == (1, 1, 0)
    assert service.current_commit() == lost
    assert not (service.mount / "octo/other").exists()
    (service.mount / "octo/site/.targets").write_bytes(b"")
    assert service.run_schedule()["looked_at"] == 0


def test_a_wrong_rule_fails_once_and_forgets_nothing(service: Service, upstream: Upstream, put_rule: Put) -> None:
    """What is published stays; the schedule still knows since when it was not confirmed."""
    put_rule()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    service.run_schedule()
    state = Path(service.mount / ".git2efs/reconcile.json")
    confirmed = json.loads(state.read_text())["repositories"]["octo/site"]["confirmed_at"]
    put_rule(depht=1)
    service.configure(listing_cache_seconds=0, repository_cache_seconds=0)
    service.reset()
    done = service.run_schedule()
    assert (done["looked_at"], done["failing"]) == (1, 1)
    assert json.loads(state.read_text())["repositories"]["octo/site"]["confirmed_at"] == confirmed
    assert service.push(upstream).reason == "configuration_invalid"
    found = service.operate("status")
    assert {each["repository"]: "depht" in str(each["problems"]) for each in found["repositories"]} == {
        "octo": True,
        "octo/site": True,
    }


def test_status_and_the_doctor_know_the_rule(
    service: Service, upstream: Upstream, other: Upstream, put_rule: Put
) -> None:
    """What it published is in order; what it includes can be asked for by name before its first push."""
    put_rule()
    upstream.commit({"a": b"1"})
    other.commit({"a": b"1"})
    service.push(upstream)
    (found,) = service.operate("status")["repositories"]
    assert (found["repository"], found["problems"]) == ("octo/site", [])
    content = service.operate("doctor")
    assert wrong(content) == {}
    parameters = next(each for each in content["checks"] if each["name"] == "parameters")
    assert parameters["found"].endswith("repositories: 1; rules for all of octo")
    assert wrong(service.operate("doctor", "octo/other")) == {}
    put_rule(exclude=["other"])
    service.reset()
    assert "there is no parameter" in wrong(service.operate("doctor", "octo/other"))["repository"]


def test_repositories_of_a_rule_that_meet_on_the_mount_are_told_of(
    service: Service, upstream: Upstream, other: Upstream, put_rule: Put
) -> None:
    """One by the rule, and one with a parameter of its own: the first stays, the later push is refused."""
    put_rule(publish=[{"ref": "refs/heads/main"}])
    upstream.commit({"a": b"1"})
    assert service.push(upstream).outcome == "published"
    service.put_repository("octo/other", publish=[{"path": "octo/site/main"}])
    other.commit({"a": b"2"})
    refused = service.push(other)
    assert refused.reason == "target_occupied"
    assert "octo/site" in wrong(service.operate("doctor"))["places"]
