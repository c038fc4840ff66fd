"""What somebody who holds the webhook's secret can have published, and for how long. docs/security.md says the same."""

import time

from testing.repositories import Upstream, archive
from testing.service import Service

RULES = [{"ref": "refs/heads/main"}]


def test_a_commit_that_no_ref_named_is_published_until_the_schedule_comes_by(
    service: Service, upstream: Upstream
) -> None:
    """A pull request's commit is handed out by its id; a signed payload can claim it to be the newest push, once."""
    service.put_repository(publish=RULES)
    upstream.commit({"a": b"honest"})
    service.push(upstream)
    tip = upstream.tip()
    assert tip is not None
    strange = upstream.commit({"a": b"strange"}, "refs/pull/1/head")
    claim = service.push_request(upstream, "main", before=tip, after=strange, pushed_at=int(time.time()))
    assert service.send(claim).reason == "payload_trusted"
    assert service.current_commit() == strange
    assert service.run_schedule()["behind"] == 1
    assert service.tree() == archive(upstream, tip)
    service.send(claim)
    assert service.current_commit() == tip, "the same claim again is no newer than itself"


def test_a_payload_chooses_neither_place_nor_source(service: Service, upstream: Upstream) -> None:
    """Whatever it says of URLs and paths: the parameter says where from, and where to."""
    service.put_repository(publish=RULES)
    commit = upstream.commit({"a": b"1"})
    request = service.push_request(upstream, clone_url="http://127.0.0.1:9/evil.git", added=["../../etc/x"])
    assert service.send(request).reason == "pushed"
    assert service.current_commit() == commit
    assert sorted(each.name for each in service.mount.iterdir() if not each.name.startswith(".")) == ["octo"]
