"""Branches and repositories that bear our own names: what counts is what stands at a path, not what it is called."""

import pytest

from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service

NAMES = ["current", "releases", "staging", "published.json", "current/x", "releases/x"]


@pytest.mark.parametrize("name", NAMES)
def test_a_branch_may_bear_a_name_of_ours(service: Service, upstream: Upstream, name: str) -> None:
    """It is published, recycled, rolled back and retired, and so are the branches beside it, made before or after."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}], grace_seconds=0)
    for branch in ("main", name, "later"):
        for content in (b"1", b"2", b"3"):
            commit = upstream.commit({"f": content, "d/g": content}, branch)
            answer = service.push(upstream, branch)
            assert (answer.status, answer.outcome) == (200, "published"), answer.content
            assert service.tree(f"octo/site/{branch}") == archive(upstream, commit)
    told = service.operate("status", "octo/site")
    assert (told["exit_code"], [each["problems"] for each in told["repositories"][0]["targets"]]) == (0, [[]] * 3)
    for subject, count in (("octo/site", 3), (f"octo/site/{name}", 1)):
        told = service.operate("verify", subject)
        assert (told["exit_code"], len(told["targets"])) == (0, count)
    assert service.operate("rollback", f"octo/site/{name}")["exit_code"] == 0
    assert service.operate("resume", f"octo/site/{name}")["exit_code"] == 0
    assert service.run_schedule("chores")["outcome"] == "done"
    upstream.delete(name)
    service.put_repository(publish=[{"ref": "refs/heads/*"}], grace_seconds=0)
    for _ in range(2):
        service.push(upstream, name)
    assert service.current_commit(f"octo/site/{name}") is None
    for branch in ("main", "later"):
        assert service.push(upstream, branch).outcome == "unchanged"


@pytest.mark.parametrize("name", ["current", "releases", "staging", "published.json"])
def test_a_repository_may_bear_a_name_of_ours(service: Service, origin: GitOrigin, name: str) -> None:
    """And its neighbours are published, before and after it."""
    for full_name in (f"acme/{name}", "acme/site", f"{name}/site", f"{name}/{name}"):
        upstream = Upstream(origin.root, full_name)
        service.put_repository(full_name, grace_seconds=0)
        for content in (b"1", b"2", b"3"):
            commit = upstream.commit({"f": content})
            answer = service.push(upstream)
            assert (answer.status, answer.outcome) == (200, "published"), answer.content
            assert service.tree(f"{full_name}/main") == archive(upstream, commit)
    assert service.operate("status")["exit_code"] == 0
    assert service.operate("doctor")["exit_code"] in (0, 1)


def test_a_link_of_somebodys_beside_a_target_is_no_target(service: Service, upstream: Upstream) -> None:
    """An owner's directory may hold a `current` that git2efs did not make."""
    (service.mount / "octo").mkdir()
    (service.mount / "octo/current").symlink_to("v2")
    service.put_repository()
    upstream.commit({"f": b"1"})
    assert service.push(upstream).outcome == "published"
