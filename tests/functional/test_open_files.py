"""Deep trees and many repositories, with the 1,024 descriptors that Lambda allows a process."""

import json

import pytest

from testing.deliveries import http_api_event
from testing.origin import GitOrigin
from testing.repositories import Entry, Upstream, archive
from testing.service import Service

_ENTRY = "tests.functional.limited"


def _deep(branches: int, levels: int) -> dict[str, Entry | None]:
    return {f"{number}/" + "d/" * (levels - 1) + "file": b"%d" % number for number in range(branches)}


@pytest.mark.sampled(0)
def test_ten_repositories_with_trees_of_62_levels_are_published_at_once(service: Service, origin: GitOrigin) -> None:
    """Each thread held a descriptor for each level: all of them failed, and were told that the mount was at fault."""
    upstreams = [Upstream(origin.root, f"octo/deep-{number}") for number in range(10)]
    for upstream in upstreams:
        service.put_repository(upstream.full_name)
        upstream.commit(_deep(4, 62))
    with service.process(entry=_ENTRY) as process:
        answers = process.invoke([http_api_event(service.push_request(upstream)) for upstream in upstreams])
    assert [json.loads(each["body"])["outcome"] for each in answers] == ["published"] * 10
    for upstream in upstreams:
        assert service.tree(f"{upstream.full_name}/main") == archive(upstream, upstream.tip() or "")


@pytest.mark.parametrize("levels", [62, 200])
@pytest.mark.sampled(1)
def test_a_deep_tree_is_published_recycled_and_removed(service: Service, upstream: Upstream, levels: int) -> None:
    """With more directories on the way than there are descriptors for the threads of one repository."""
    service.put_repository(grace_seconds=0)
    wide = 1400 // levels
    with service.process(entry=_ENTRY) as process:
        for number in range(3):
            is_less = number == 1
            changes = dict.fromkeys(_deep(wide // 2, levels)) if is_less else _deep(wide, levels)
            upstream.commit(changes | {"turn": b"%d" % number})
            (answer,) = process.invoke([http_api_event(service.push_request(upstream))])
            assert json.loads(answer["body"])["outcome"] == "published"
    assert service.tree() == archive(upstream, upstream.tip() or "")
