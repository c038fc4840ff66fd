"""What somebody who holds the webhook's secret can have published, and for how long. docs/security.md says the same."""

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.model import NULL_OID, PushEvent
from handler.network.forges.github import without_future
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service

RECORD = "octo/site/main/published.json"
RULES = [{"ref": "refs/heads/main"}]


@pytest.mark.parametrize("mode", ["releases", "working-copy"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_commit_that_no_ref_names_is_not_published(
    service: Service, upstream: Upstream, *, is_first: bool, mode: str
) -> None:
    """A pull request's commit is handed out by its id; however often it is claimed, readers never see it."""
    service.put_repository(publish=[RULES[0] | {"mode": mode}])
    upstream.commit({"a": b"honest"})
    if not is_first:
        service.push(upstream)
    tip = upstream.tip()
    assert tip is not None
    strange = upstream.commit({"a": b"strange"}, "refs/pull/1/head")
    for before in (tip, NULL_OID, strange[::-1]):
        for seconds in (-10_000, 0, 1, 200, 100_000, 250_000_000_000):
            claim = service.push_request(
                upstream, "main", before=before, after=strange, pushed_at=int(time.time()) + seconds
            )
            assert (service.send(claim).status, service.answers[-1].reason) in {
                (503, "ref_lags"),
                (200, "ref_moved_on"),
                (200, "already_published"),
            }
    assert not [file for file in (service.mount / "octo/site/main").rglob("a") if file.read_bytes() == b"strange"]
    service.run_schedule()
    assert (service.mount / "octo/site/main" / ("a" if mode == "working-copy" else "current/a")).read_bytes() == (
        b"honest"
    )


@settings(max_examples=200)
@given(now=st.floats(0, 2**33), ahead=st.integers(-(2**33), 2**38))
def test_a_time_ahead_of_our_clock_by_minutes_counts_as_none(now: float, ahead: int) -> None:
    """Up to five minutes clocks may differ; what is beyond that is absent, and all else of the push stays."""
    push = PushEvent(
        repository="o/n", ref="refs/heads/main", before=NULL_OID, after="a" * 40, pushed_at=int(now) + ahead
    )
    believed = without_future(push, now)
    assert replace(believed, pushed_at=push.pushed_at) == push
    assert believed.pushed_at == (push.pushed_at if int(now) + ahead <= now + 300 else None)


@pytest.mark.parametrize("far", [1_000, 86_400, 253_402_300_799 - 1_800_000_000])
def test_a_push_of_the_far_future_is_not_recorded(service: Service, upstream: Upstream, far: int) -> None:
    """Else every later push would look older than that one, for ever."""
    service.put_repository(publish=RULES)
    upstream.commit({"a": b"1"})
    service.push(upstream, pushed_at=int(time.time()) + far)
    assert json.loads((service.mount / RECORD).read_bytes())["pushed_at"] is None


def test_a_recorded_time_of_the_far_future_is_no_judge(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """An older version recorded it, or a reader who may write: a ref that lags is still asked again."""
    service.put_repository(publish=RULES)
    upstream.commit({"a": b"1"})
    service.push(upstream)
    path = service.mount / RECORD
    path.write_bytes(json.dumps(json.loads(path.read_bytes()) | {"pushed_at": 253_402_300_799}).encode())
    service.configure(lag_seconds=5)
    origin.freeze_refs("octo/site", answers=1)
    commit = upstream.commit({"a": b"2"})
    assert service.push(upstream).reason == "pushed"
    assert service.current_commit() == commit


def test_who_trusts_payloads_has_the_commit_published_until_the_schedule_comes_by(
    service: Service, upstream: Upstream
) -> None:
    """With `trust_payload` a signed payload can claim the strange commit to be the newest push, once."""
    service.put_repository(publish=RULES, trust_payload=True)
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
