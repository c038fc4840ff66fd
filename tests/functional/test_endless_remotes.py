"""Remotes that never come to an end: they cost their own repository an outcome, and nobody else anything."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from handler.mount.maintenance.state import read_state
from testing.deliveries import EVENT_SHAPES, LambdaContext
from testing.hostile_remote import BEHAVIOURS, HostileRemote
from testing.origin import GitOrigin
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service

REQUEST_SECONDS = 1.0
SLACK_SECONDS = 2.0
RULE = [{"ref": "refs/heads/main"}]
HOSTILE, NEIGHBOUR = "octo/site", "octo/neighbour"
ENDLESS = [name for name, behaviour in BEHAVIOURS.items() if not behaviour.is_whole]
SUPERFLUOUS = [name for name, behaviour in BEHAVIOURS.items() if behaviour.is_whole]
SLOW = [name for name in ENDLESS if BEHAVIOURS[name].pause_seconds]

Put = Callable[..., None]


@pytest.fixture
def put(service: Service, origin: GitOrigin, upstream: Upstream) -> Iterator[Put]:
    """Return what makes a repository whose remote behaves so; its tip is not published."""
    service.configure(request_seconds=REQUEST_SECONDS)
    with ExitStack() as servers:

        def put(behaviour: str, full_name: str = HOSTILE) -> None:
            remote = servers.enter_context(HostileRemote(origin, BEHAVIOURS[behaviour]))
            hostile = upstream if full_name == HOSTILE else Upstream(origin.root, full_name)
            hostile.commit({"a": b"hostile"})
            service.put_repository(full_name, url=remote.url(full_name), publish=RULE)

        yield put


@pytest.fixture
def neighbour(service: Service, origin: GitOrigin) -> Upstream:
    """Return a repository with an honest remote."""
    service.put_repository(NEIGHBOUR, publish=RULE)
    upstream = Upstream(origin.root, NEIGHBOUR)
    upstream.commit({"a": b"honest"})
    return upstream


def is_unlocked(service: Service, full_name: str = HOSTILE) -> bool:
    """Whether nobody holds the repository's lock."""
    with open(service.mount / full_name / ".lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def told(service: Service) -> list[tuple[str, str]]:
    """Return repository and reason of each outcome that was logged, in order."""
    lines = [line for line in service.log_lines if line.get("outcome") in ("published", "failed")]
    return [(line["repository"], line["reason"]) for line in lines]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_answer_ends_in_time_with_its_reason(
    service: Service, upstream: Upstream, put: Put, name: str
) -> None:
    """503 remote_unavailable, not tried three times over; the lock is free, and nothing was published."""
    put(name)
    request = service.push_request(upstream)
    started = time.monotonic()
    answer = service.send(request)
    assert time.monotonic() - started < REQUEST_SECONDS + SLACK_SECONDS
    assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "remote_unavailable")
    (line,) = [line for line in service.log_lines if line.get("outcome") == "failed"]
    assert "the remote's answer" in line["detail"]
    assert is_unlocked(service)
    assert service.current_commit() is None
    service.put_repository(publish=RULE)
    service.reset()
    assert service.send(request).outcome == "published"


@pytest.mark.parametrize("name", SUPERFLUOUS)
def test_what_follows_a_whole_answer_is_not_waited_for(
    service: Service, upstream: Upstream, put: Put, name: str
) -> None:
    """At most 64 KB or a second of it is read; the answer before it counts."""
    put(name)
    started = time.monotonic()
    assert service.push(upstream).outcome == "published"
    assert time.monotonic() - started < REQUEST_SECONDS + SLACK_SECONDS
    assert is_unlocked(service)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["silence", "continue-dripped", "refs-dripped", "progress", "pack-dripped"])
def test_the_runs_deadline_comes_first_where_it_is_nearer(
    service: Service, upstream: Upstream, put: Put, name: str
) -> None:
    """503 out_of_time, before Lambda kills the process with the lock held."""
    put(name)
    service.configure(request_seconds=300)
    request = service.push_request(upstream)
    started = time.monotonic()
    answer = service.deliver(EVENT_SHAPES["http-api"](request), LambdaContext(remaining_ms=21_500))
    assert time.monotonic() - started < 1.5 + SLACK_SECONDS
    expected = {"out_of_time"} | ({"remote_unavailable"} if name == "progress" else set())  # its bytes may end it first
    assert answer.status == 503
    assert answer.reason in expected
    assert is_unlocked(service)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ENDLESS)
def test_a_neighbour_in_the_same_batch_is_published_meanwhile(
    service: Service, upstream: Upstream, put: Put, neighbour: Upstream, queue: MessageQueue, *, name: str
) -> None:
    """Its message is done with; the other is seen again later. Both have their line and their metrics."""
    put(name)
    service.use_queue(queue)
    for each in (upstream, neighbour):
        assert service.push(each).status == 202
    started = time.monotonic()
    answer = queue.deliver_batch(service.work)
    assert time.monotonic() - started < REQUEST_SECONDS + SLACK_SECONDS
    assert len(answer["batchItemFailures"]) == 1
    assert [message["repository"] for message in queue.messages] == [HOSTILE]
    assert service.current_commit(f"{NEIGHBOUR}/main") == neighbour.tip("main")
    assert set(told(service)) == {(HOSTILE, "remote_unavailable"), (NEIGHBOUR, "pushed")}
    if name in SLOW:
        assert told(service)[0][0] == NEIGHBOUR
    assert is_unlocked(service)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ENDLESS)
def test_a_neighbour_in_the_same_round_is_published_meanwhile(
    service: Service, put: Put, neighbour: Upstream, name: str
) -> None:
    """The round ends, writes its state and its metrics, and rests from the hostile one."""
    put(name)
    started = time.monotonic()
    done = service.run_schedule()
    assert time.monotonic() - started < REQUEST_SECONDS + SLACK_SECONDS
    assert (done["outcome"], done["looked_at"], done["failing"], done["left"]) == ("done", 2, 1, 0)
    assert service.current_commit(f"{NEIGHBOUR}/main") == neighbour.tip("main")
    assert set(told(service)) == {(HOSTILE, "remote_unavailable"), (NEIGHBOUR, "ref_moved_on")}
    assert service.metric_values("RefsBehind")
    states = read_state(os.fspath(service.mount), "reconcile", now=2e9).repositories
    assert (states[HOSTILE].is_failing, states[NEIGHBOUR].is_failing) == (True, False)


def test_a_round_with_many_hostile_remotes_reaches_everybody(service: Service, put: Put, neighbour: Upstream) -> None:
    """More than are published at a time: the neighbour, last in the alphabet or not, has its turn."""
    names = [f"octo/hostile{number}" for number in range(6)]
    for number, full_name in enumerate(names):
        put(("pack-dripped", "progress-dripped", "shallow-dripped")[number % 3], full_name)
    started = time.monotonic()
    done = service.run_schedule()
    assert time.monotonic() - started < 2 * REQUEST_SECONDS + SLACK_SECONDS
    assert (done["looked_at"], done["failing"], done["left"]) == (7, 6, 0)
    assert service.current_commit(f"{NEIGHBOUR}/main") == neighbour.tip("main")
    assert all(is_unlocked(service, full_name) for full_name in names)


def test_a_connection_that_was_used_up_is_not_used_again(
    service: Service, upstream: Upstream, origin: GitOrigin, put: Put
) -> None:
    """What was left unread must not be taken for the next answer."""
    put("after-refs")
    for content in (b"1", b"2", b"3"):
        commit = upstream.commit({"a": content})
        assert service.push(upstream).outcome == "published"
        assert service.current_commit() == commit
    assert json.loads((service.mount / HOSTILE / "main/published.json").read_text())["commit"] == commit
