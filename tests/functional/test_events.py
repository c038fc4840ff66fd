"""Events for EventBridge: what they tell, that none is lost, that the bus never keeps a release from its readers."""

import subprocess
import sys
import time
from datetime import datetime
from typing import Any

import pytest

from handler.network.aws import eventbridge
from testing.event_bus import Bus
from testing.origin import GitOrigin
from testing.process import PROJECT, ProcessDied
from testing.repositories import Entry, Link, Upstream, archive
from testing.service import Service

MAIN = "octo/site/main"
PUBLISHED = "ReleasePublished"
LONGEST_SECONDS = 9.0
"""Two tries of a bus that hangs, a pause between them, and the publish itself."""


@pytest.fixture
def bus(service: Service, bus: Bus) -> Bus:
    """Return a bus that the service tells; its repository's parameter is there."""
    service.configure(event_bus=bus.name)
    service.put_repository(grace_seconds=0)
    return bus


def push(service: Service, upstream: Upstream, files: dict[bytes, Entry | None]) -> str:
    """Commit, push and deliver; return the commit."""
    commit = upstream.commit(files)
    assert service.push(upstream).outcome == "published"
    return commit


def warnings(service: Service) -> list[str]:
    """Return the messages of all warnings."""
    return [str(line["message"]) for line in service.log_lines if line["level"] == "WARNING"]


# -- content ----------------------------------------------------------------------------------------------------


def test_a_publish_is_told_with_what_it_changed(service: Service, upstream: Upstream, bus: Bus) -> None:
    """Every field, as docs/events.md has them; the envelope says who and what."""
    first = push(service, upstream, {b"a": b"1", b"b/c": b"1"})
    before = time.time()
    second = upstream.commit({b"a": b"2", b"d": b"1", b"b": None})
    service.push(upstream, delivery_id="11111111-2222-3333-4444-555555555555")
    envelope = bus.events[-1]
    assert (envelope["source"], envelope["detail-type"]) == ("git2efs", PUBLISHED)
    detail = envelope["detail"]
    published_at = datetime.fromisoformat(detail.pop("published_at")).timestamp()
    assert before - 0.001 <= published_at <= time.time()
    assert detail.pop("counts").keys() == {"files_written", "files_removed", "bytes_fetched"}
    assert detail == {
        "repository": "octo/site",
        "ref": "refs/heads/main",
        "path": MAIN,
        "commit": second,
        "previous_commit": first,
        "delivery": "11111111-2222-3333-4444-555555555555",
        "changes": {"added": ["d"], "modified": ["a"], "removed": ["b/c"], "total": 3, "is_complete": True},
    }
    assert len(bus.calls) == 2
    assert service.record()["announced"] is True


def test_a_first_publish_tells_every_path_as_added(service: Service, upstream: Upstream, bus: Bus) -> None:
    """There was nothing before; links are told as files are, directories by what is in them."""
    push(service, upstream, {b"a": b"1", b"b/c": b"1", b"l": Link(b"a")})
    (detail,) = bus.of_type(PUBLISHED)
    assert detail["previous_commit"] is None
    assert detail["changes"] == {
        "added": ["a", "b/c", "l"],
        "modified": [],
        "removed": [],
        "total": 3,
        "is_complete": True,
    }


def test_the_change_is_against_what_readers_had_and_not_against_what_was_recycled(
    service: Service, upstream: Upstream, bus: Bus
) -> None:
    """The third release is made of the first: it writes two files, of which readers knew one."""
    push(service, upstream, {b"a": b"1", b"b": b"1"})
    push(service, upstream, {b"a": b"2"})
    push(service, upstream, {b"b": b"2"})
    assert service.answers[-1].content["files_written"] == 2
    assert bus.of_type(PUBLISHED)[-1]["changes"]["modified"] == ["b"]


def test_what_changes_its_kind_is_told_by_paths(service: Service, upstream: Upstream, bus: Bus) -> None:
    """File to directory, directory to file, file to link."""
    push(service, upstream, {b"f": b"1", b"d/x": b"1", b"l": b"1"})
    push(service, upstream, {b"f": None, b"f/y": b"1", b"d": b"1", b"l": Link(b"d")})
    changes = bus.of_type(PUBLISHED)[-1]["changes"]
    assert sorted(changes["added"]) == ["d", "f/y"]
    assert changes["modified"] == ["l"]
    assert sorted(changes["removed"]) == ["d/x", "f"]


def test_a_path_that_is_not_utf8_is_told_as_well_as_it_can_be(service: Service, upstream: Upstream, bus: Bus) -> None:
    """The event is JSON whatever git holds."""
    push(service, upstream, {b"caf\xe9 \xf0\x9f\x8c\xa7": b"1", "é\n".encode(): b"1"})
    assert set(bus.of_type(PUBLISHED)[-1]["changes"]["added"]) == {"caf\N{REPLACEMENT CHARACTER} 🌧", "é\n"}


def test_many_changes_are_cut_and_said_to_be(service: Service, upstream: Upstream, bus: Bus) -> None:
    """Five hundred paths, and how many there were."""
    push(service, upstream, {b"%04d" % number: b"" for number in range(501)})
    changes = bus.of_type(PUBLISHED)[-1]["changes"]
    assert (len(changes["added"]), changes["total"], changes["is_complete"]) == (500, 501, False)


def test_what_changes_nothing_tells_nothing(service: Service, upstream: Upstream, bus: Bus) -> None:
    """A redelivery, a ping, a branch that is not published."""
    upstream.commit({b"a": b"1"})
    request = service.push_request(upstream)
    service.send(request)
    assert service.send(request).outcome == "unchanged"
    service.ping()
    upstream.point("other", str(upstream.tip()))
    assert service.push(upstream, "other").outcome == "ignored"
    assert len(bus.calls) == 1


def test_a_failure_is_told_with_its_reason(service: Service, upstream: Upstream, bus: Bus, origin: GitOrigin) -> None:
    """What passes by itself, and what needs a person; what readers have is told, and what they do not get."""
    good = push(service, upstream, {b"a": b"1"})
    bad = upstream.commit({b"l": Link(b"/etc")})
    assert service.push(upstream).reason == "tree_unsafe"
    origin.fail_next(20)
    assert service.push(upstream).reason == "remote_unavailable"
    stalled, transient = bus.of_type("PublishFailed")
    assert (stalled["reason"], stalled["is_transient"]) == ("tree_unsafe", False)
    assert (transient["reason"], transient["is_transient"]) == ("remote_unavailable", True)
    assert (stalled["commit"], stalled["pushed_commit"]) == (good, bad)
    assert stalled.keys() == transient.keys() == {
        "repository", "ref", "path", "commit", "previous_commit", "delivery", "pushed_commit", "failed_at", "reason",
        "is_transient",
    }  # fmt: skip


# -- a bus in trouble -------------------------------------------------------------------------------------------


def break_bus(bus: Bus, service: Service, trouble: str) -> None:
    """Bring the bus into trouble."""
    if trouble == "throttled":
        bus.fail_next(10)
    elif trouble == "500":
        bus.fail_next(10, "InternalException", 500)
    elif trouble == "denied":
        bus.fail_next(10, "AccessDeniedException", 403)
    elif trouble == "not taken":
        bus.refuse_next(10)
    elif trouble == "hangs":
        bus.is_hanging = True
    elif trouble == "hangs up":
        bus.is_down = True
    else:
        service.configure(event_bus="no-such-bus")


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ("throttled", "ThrottlingException"),
        ("500", "InternalException"),
        ("denied", "AccessDeniedException"),
        ("not taken", "InternalFailure"),
        ("hangs", "ReadTimeoutError"),
        ("hangs up", "ConnectionClosedError"),
        ("is not there", "ResourceNotFoundException"),
    ],
)
def test_a_bus_in_trouble_delays_a_publish_a_little_and_is_told_by_the_next_run(
    service: Service, upstream: Upstream, bus: Bus, trouble: str, code: str
) -> None:
    """Published within a bound, one warning with the code alone; a redelivery tells the event, lists and all."""
    first = push(service, upstream, {b"a": b"1"})
    break_bus(bus, service, trouble)
    second = upstream.commit({b"a": b"2", b"b": b"1"})
    request = service.push_request(upstream)
    started = time.monotonic()
    assert service.send(request).outcome == "published"
    assert time.monotonic() - started < LONGEST_SECONDS
    assert service.tree() == archive(upstream, second)
    assert warnings(service) == [f"EventBridge did not take {PUBLISHED} of {MAIN}: {code}"]
    assert service.record()["announced"] is False
    assert len(bus.events) == 1

    bus.is_hanging = bus.is_down = False
    bus._faults.clear()
    service.configure(event_bus=bus.name)
    assert service.send(request).outcome == "unchanged"
    detail = bus.of_type(PUBLISHED)[-1]
    assert (detail["commit"], detail["previous_commit"]) == (second, first)
    assert detail["changes"] == {
        "added": ["b"],
        "modified": ["a"],
        "removed": [],
        "total": 2,
        "is_complete": True,
    }
    assert service.record()["announced"] is True
    calls = len(bus.calls)
    assert service.send(request).outcome == "unchanged"
    assert len(bus.calls) == calls, "told once, it is not told again"


def test_a_refused_connection_costs_next_to_nothing(
    service: Service, upstream: Upstream, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens: published, and owed."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:9")
    service.configure()
    push(service, upstream, {b"a": b"1"})
    assert service.record()["announced"] is False
    assert warnings(service) == [f"EventBridge did not take {PUBLISHED} of {MAIN}: EndpointConnectionError"]


def test_a_bus_that_is_slow_to_fail_is_left_alone_for_a_while(
    service: Service, upstream: Upstream, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every target of every delivery would wait for it, with a lock in hand."""
    monkeypatch.setattr(eventbridge, "SLOW_SECONDS", 0.0)
    bus.refuse_next()
    push(service, upstream, {b"a": b"1"})
    push(service, upstream, {b"a": b"2"})
    assert len(bus.calls) == 1
    assert len(warnings(service)) == 1
    service.reset()
    assert service.push(upstream).outcome == "unchanged"
    assert len(bus.of_type(PUBLISHED)) == 1


def test_after_a_lost_event_the_next_push_says_that_it_does_not_know_what_changed(
    service: Service, upstream: Upstream, bus: Bus
) -> None:
    """The lists between the last two commits would hide what the lost event would have told."""
    push(service, upstream, {b"a": b"1"})
    bus.refuse_next()
    second = push(service, upstream, {b"a": b"2"})
    third = push(service, upstream, {b"b": b"1"})
    detail = bus.of_type(PUBLISHED)[-1]
    assert (detail["commit"], detail["previous_commit"]) == (third, second)
    assert detail["changes"] == {"added": [], "modified": [], "removed": [], "total": None, "is_complete": False}
    push(service, upstream, {b"b": b"2"})
    assert bus.of_type(PUBLISHED)[-1]["changes"]["modified"] == ["b"]
    assert bus.of_type(PUBLISHED)[-1]["changes"]["is_complete"] is True


def test_two_lost_events_are_not_told_as_if_one_was(service: Service, upstream: Upstream, bus: Bus) -> None:
    """The event of the second is told late, and does not claim to be all that changed."""
    push(service, upstream, {b"a": b"1"})
    bus.refuse_next(2)
    push(service, upstream, {b"a": b"2"})
    third = push(service, upstream, {b"b": b"1"})
    assert service.push(upstream).outcome == "unchanged"
    detail = bus.of_type(PUBLISHED)[-1]
    assert (detail["commit"], detail["changes"]["is_complete"]) == (third, False)


def test_who_waited_for_the_lock_tells_what_is_owed(
    service: Service, upstream: Upstream, bus: Bus, origin: GitOrigin
) -> None:
    """It finds its work done, and asked for after it came; the event of it is not."""
    upstream.commit({b"a": b"1"})
    request = service.push_request(upstream)
    bus.refuse_next()
    with origin.paused("fetch"):
        first = service.send_later(request)
        origin.wait_for_held()
        second = service.send_later(request)
        time.sleep(0.2)  # let it come, and wait; should it come late, the redelivery tells the event all the same
    assert {first.result().outcome, second.result().outcome} == {"published", "unchanged"}
    assert len(bus.of_type(PUBLISHED)) == 1
    assert service.record()["announced"] is True


def test_an_event_whose_trees_are_gone_is_told_without_lists(service: Service, upstream: Upstream, bus: Bus) -> None:
    """The mirror was thrown away, and the one before is not fetched to say what changed."""
    push(service, upstream, {b"a": b"1"})
    for pack in (service.mount / "octo/site/mirror.git/objects/pack").iterdir():
        pack.unlink()
    service.reset()
    second = push(service, upstream, {b"a": b"2"})
    detail = bus.of_type(PUBLISHED)[-1]
    assert (detail["commit"], detail["changes"]["is_complete"]) == (second, False)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("moment", ["after the flip", "before the record"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_run_killed_between_flip_and_record_is_told_by_the_next(
    service: Service, upstream: Upstream, bus: Bus, moment: str, is_first: bool
) -> None:
    """An event is put when its run has ended: not before the kill, and once by the next run."""
    first = None if is_first else push(service, upstream, {b"a": b"1"})
    count = len(bus.events)
    second = upstream.commit({b"a": b"2"})
    request = service.push_request(upstream)
    extra = {"GIT2EFS_TEST_KILLED": moment}
    with service.process(entry="testing.killed", extra=extra) as process, pytest.raises(ProcessDied):
        process.wait_until_ready().send(request)
    assert service.current_commit() == second
    assert len(bus.events) == count
    assert service.send(request).outcome == "unchanged"
    assert len(bus.events) == count + 1
    detail = bus.of_type(PUBLISHED)[-1]
    assert (detail["commit"], detail["previous_commit"]) == (second, first)
    assert detail["changes"]["is_complete"] is not is_first
    assert service.record()["commit"] == second
    assert service.record()["announced"] is True


def test_a_push_after_such_a_kill_does_not_pretend_to_know_what_changed(
    service: Service, upstream: Upstream, bus: Bus
) -> None:
    """Consumers may be at the first commit or at the second."""
    push(service, upstream, {b"a": b"1"})
    upstream.commit({b"a": b"2"})
    extra = {"GIT2EFS_TEST_KILLED": "after the flip"}
    with service.process(entry="testing.killed", extra=extra) as process, pytest.raises(ProcessDied):
        process.wait_until_ready().send(service.push_request(upstream))
    push(service, upstream, {b"b": b"1"})
    assert bus.of_type(PUBLISHED)[-1]["changes"]["is_complete"] is False


# -- no bus -----------------------------------------------------------------------------------------------------


def test_without_a_bus_nothing_is_compared_or_owed(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody hears costs nothing."""

    def never(*_: Any) -> None:
        raise AssertionError("compared for nobody")

    monkeypatch.setattr("handler.mount.target.notify.changed_paths", never)
    service.put_repository()
    push(service, upstream, {b"a": b"1"})
    assert service.record()["announced"] is True


def test_without_a_bus_its_module_is_not_loaded() -> None:
    """Nor is EventBridge's client."""
    code = (
        "import sys, handler.webhook, handler.network.deliver; print('handler.network.aws.eventbridge' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_an_owed_event_waits_for_the_bus_to_be_set_again(service: Service, upstream: Upstream, bus: Bus) -> None:
    """Without a bus in between, the record goes on saying that it is owed."""
    bus.refuse_next()
    push(service, upstream, {b"a": b"1"})
    service.configure(event_bus=None)
    assert service.push(upstream).outcome == "unchanged"
    assert service.record()["announced"] is False
    service.configure(event_bus=bus.name)
    assert service.push(upstream).outcome == "unchanged"
    assert len(bus.of_type(PUBLISHED)) == 1


# -- a target that ends -----------------------------------------------------------------------------------------


def test_the_end_of_a_target_is_told_until_the_bus_takes_it(service: Service, upstream: Upstream, bus: Bus) -> None:
    """Readers find nothing there any more; the schedule goes on telling until somebody has heard it."""
    service.put_repository(publish=[{"ref": "refs/heads/preview/*"}], grace_seconds=0)
    commit = upstream.commit({"a": b"1"}, "preview/one")
    service.run_schedule()
    upstream.delete("preview/one")
    bus.refuse_next(99)
    service.run_schedule()
    target = service.mount / "octo/site/preview/one"
    assert not (target / "current").exists()
    assert [line["reason"] for line in service.log_lines if line.get("outcome") == "retired"] == []
    bus.forget_faults()
    assert service.run_schedule()["outcomes"] == {"retired:ref_gone": 1}
    (detail,) = bus.of_type("TargetRetired")
    assert (detail["ref"], detail["previous_commit"]) == ("refs/heads/preview/one", commit)
    assert not target.exists()
    assert service.run_schedule()["behind"] == 0
