"""What passes between the two sides comes late, twice, in another order or not at all: it ends with the tip."""

import contextlib
import itertools
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import PublisherUnavailable
from handler.exchange.publisher import PublishRequest
from handler.mount.publisher import LocalPublisher
from testing import selection
from testing.event_bus import Bus
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive, run_git
from testing.service import Service
from tests.functional.door import Call, Door, Killed, killed, nothing
from tests.functional.mounts import check_mirror

MAIN = "octo/site/main"
LARGE = 5 << 20
"""More than goes with one request."""


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    """Return what stands before the mount side."""
    return Door(monkeypatch, ("publish", "receive", "announced"))


_numbers = itertools.count()


@given(
    st.lists(
        st.sampled_from(["push", "push", "force", "back", "dropped", "twice"])
        | st.tuples(st.just("late"), st.integers(0, 20)),
        min_size=3,
        max_size=selection.count(10, 7),
    )
)
def test_requests_in_any_order_never_lead_back(
    service: Service, origin: GitOrigin, door: Door, steps: list[str | tuple[str, int]]
) -> None:
    """Held back, doubled or dropped: `current` is what the ref last named when somebody asked; in the end the tip."""
    name = f"octo/order{next(_numbers)}"
    upstream, path = Upstream(origin.root, name), f"{name}/main"
    service.put_repository(name, grace_seconds=0)
    commits = [upstream.commit({"a": b"0"})]
    asked = 0  # the newest state of the ref that a run which got through has asked for
    states, requests = [commits[0]], list[tuple[int, LocalPublisher, PublishRequest]]()

    def deliver() -> None:
        nonlocal asked
        door.publishes.clear()
        status = service.push(upstream).status
        requests.extend((len(states) - 1, *each) for each in door.publishes)
        if status == 200:
            asked = len(states) - 1

    deliver()
    for step in steps:
        if isinstance(step, tuple):
            number, publisher, request = requests[step[1] % len(requests)]
            door.publish(publisher, request)
            if service.current_commit(path) != states[asked]:
                # A request that was dropped comes after all: that is news, and no way back.
                assert number > asked
                asked = number
        else:
            if step == "back" and len(commits) > 1:
                upstream.point("main", random.Random(len(states)).choice(commits))
            elif step == "force":
                upstream.point("main", commits[0])
                commits.append(upstream.commit({"a": b"%d" % len(states), "b": None}))
            else:
                commits.append(upstream.commit({"a": b"%d" % len(states)}))
            states.append(str(upstream.tip()))
            if step == "dropped":
                door.forget()
                door.at, door.before = 0, _unavailable
                deliver()
                door.forget()
            else:
                deliver()
                if step == "twice":
                    door.publish(*requests[-1][1:])
        assert service.current_commit(path) == states[asked]
    deliver()
    assert service.current_commit(path) == upstream.tip()
    assert service.tree(path) == archive(upstream, str(upstream.tip()))


def _unavailable() -> None:
    raise PublisherUnavailable("for the test")


@pytest.fixture
def told(service: Service, bus: Bus) -> Bus:
    """Return a bus that the service tells; its repository's parameter is there."""
    service.configure(event_bus=bus.name)
    service.put_repository(grace_seconds=0)
    return bus


@pytest.mark.sampled(2)
@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("end", [killed, _unavailable])
@pytest.mark.parametrize("is_large", [False, True])
def test_a_network_side_that_ends_at_any_call_is_healed(
    service: Service, upstream: Upstream, told: Bus, door: Door, is_large: bool, end: Call, is_after: bool
) -> None:
    """Before or after each publish, part and announcement; the same delivery again publishes, and tells it."""
    upstream.commit({"a": b"0"})
    service.push(upstream)
    stream, stops = random.Random(1), 0
    while True:
        commit = upstream.commit({"a": b"%d" % stops, "large": stream.randbytes(LARGE) if is_large else b""})
        request = service.push_request(upstream)
        service.reset()
        door.forget()
        door.at = stops
        door.before, door.after = (nothing, end) if is_after else (end, nothing)
        with contextlib.suppress(Killed):
            answer = service.send(request)
            assert answer.status == 200 or (answer.status, answer.reason) == (503, "publisher_unavailable")
        is_over = len(door.calls) <= stops
        door.forget()
        assert service.send(request).status == 200
        assert service.tree() == archive(upstream, commit)
        assert service.record()["announced"] is True
        assert [each["detail"]["commit"] for each in told.events][-1] == commit
        if is_over:
            break
        stops += 1
    assert stops >= (5 if is_large else 2)
    check_mirror(service.mount / "octo/site/mirror.git", str(upstream.tip()))


@pytest.mark.parametrize("is_copy", [False, True])
def test_a_large_pack_comes_in_parts(
    service: Service, upstream: Upstream, origin: GitOrigin, door: Door, is_copy: bool
) -> None:
    """A first one, one that builds on it, and one whose fetch broke off and was begun again."""
    mode = {"mode": "working-copy"} if is_copy else {}
    service.put_repository(publish=[{"ref": "refs/heads/main", "path": MAIN, **mode}], grace_seconds=0)
    stream = random.Random(2)
    large = stream.randbytes(LARGE)
    for number in range(3):
        commit = upstream.commit({"large": large, "small": b"%d" % number, "more": stream.randbytes(LARGE)})
        if number == 2:
            origin.drop_next(1, after=0.8, kind="fetch")
        door.forget()
        assert service.push(upstream).outcome == "published"
        assert door.calls.count("receive") >= 2
        assert not os.path.exists(service.mount / "octo/site/.incoming")
        if is_copy:
            assert run_git("rev-parse", "HEAD", directory=service.mount / MAIN).decode().strip() == commit
            assert run_git("status", "--porcelain", directory=service.mount / MAIN) == b""
        else:
            assert service.tree() == archive(upstream, commit)


def test_a_push_takes_one_call_and_seldom_two(service: Service, upstream: Upstream, door: Door) -> None:
    """One where it builds on what is published; two for a first, an overtaken or a forced one: 1.2 on average."""
    service.put_repository(
        publish=[{"ref": "refs/heads/*"}, {"ref": "refs/tags/v*", "path": "tags/*"}], grace_seconds=0
    )
    counts: dict[str, list[int]] = {}

    def count(kind: str, ref: str = "main") -> None:
        door.forget()
        assert service.push(upstream, ref).outcome == "published"
        counts.setdefault(kind, []).append(door.calls.count("publish"))

    first = upstream.commit({"a": b"0"})
    count("first")
    for number in range(30):
        upstream.commit({"a": b"%d" % number})
        count("next")
    upstream.commit({"a": b"other"}, "preview")
    count("first", "preview")
    upstream.tag("v1", str(upstream.tip()))
    count("first", "refs/tags/v1")
    upstream.point("main", first)
    upstream.commit({"a": b"forced"})
    count("forced")
    upstream.commit({"a": b"lost"})
    service.push_request(upstream)
    upstream.commit({"a": b"after a lost one"})
    count("after a lost one")
    upstream.commit({"a": b"overtaken"})
    request = service.push_request(upstream)
    upstream.commit({"a": b"overtaking"})
    door.forget()
    assert service.send(request).reason == "ref_moved_on"
    counts["overtaken"] = [door.calls.count("publish")]
    assert set(counts["next"]) == {1}
    assert max(itertools.chain(*counts.values())) <= 2
    every = [*itertools.chain(*counts.values())]
    assert sum(every) / len(every) <= 1.2, counts
