"""The worker: batches of messages, what they cost, what becomes of each message, and that nothing is lost."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from handler.network.queue.message import Cause, Message, encode_message
from testing.origin import GitOrigin
from testing.process import ProcessDied, ServiceProcess
from testing.queue import MAX_RECEIVES, MessageQueue
from testing.repositories import Link, Upstream, archive
from testing.service import WORKER, Service

LONG_MS = 900_000
DONE: dict[str, list[object]] = {"batchItemFailures": []}


@pytest.fixture
def queued(service: Service, queue: MessageQueue) -> Service:
    """Return the service in queued mode, with one repository, of which the default branch need not be asked."""
    service.use_queue(queue)
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    return service


def asked(service: Service, upstream: Upstream, content: bytes, branch: str = "main") -> str:
    """Commit, push and have it queued; return the commit."""
    commit = upstream.commit({"content": content}, branch)
    assert service.push(upstream, branch).status == 202
    return commit


def look_now(ref: str = "refs/heads/main", repository: str = "octo/site", cause: Cause = Cause.SCHEDULE) -> str:
    """Return the message of a timer."""
    return encode_message(
        Message(cause=cause, repository=repository, ref=ref, delivery="timer", received_at=time.time())
    )


def invoking(process: ServiceProcess) -> Callable[[dict[str, Any]], Any]:
    """Return what invokes a worker process."""
    return lambda event: process.invoke(event, remaining_ms=LONG_MS)


def outcomes(service: Service) -> list[tuple[str, str]]:
    """Return outcome and reason of every line that the worker wrote."""
    return [
        (line["outcome"], line["reason"])
        for line in service.log_lines
        if line["message"] == "delivery" and line["outcome"] != "accepted"
    ]


# -- coalescing -----------------------------------------------------------------------------------------------


def test_ten_pushes_of_a_ref_cost_one_fetch(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """One look, one pack, one release; every message is done, and one line tells of all."""
    for number in range(10):
        tip = asked(queued, upstream, b"%d" % number)
    assert queue.deliver_batch(queued.work) == DONE
    assert origin.counts == {"ls-refs": 1, "fetch": 1}
    assert queued.current_commit() == tip
    assert queued.tree() == archive(upstream, tip)
    assert queue.messages == []
    assert outcomes(queued) == [("published", "pushed")]
    line = [line for line in queued.log_lines if line["message"] == "delivery"][-1]
    assert (line["coalesced"], line["event"]) == (10, "push")
    assert line["queue_lag_seconds"] >= 0
    assert queued.metric_values("Coalesced") == [10]
    assert len(queued.metric_values("QueueLagSeconds")) == 1


def test_the_refs_of_a_repository_are_looked_at_one_after_the_other(
    queued: Service, upstream: Upstream, queue: MessageQueue
) -> None:
    """Two branches in one batch: both are published, each told by itself."""
    main, other = asked(queued, upstream, b"1"), asked(queued, upstream, b"2", "other")
    assert queue.deliver_batch(queued.work) == DONE
    assert (queued.current_commit(), queued.current_commit("octo/site/other")) == (main, other)
    assert outcomes(queued) == [("published", "pushed")] * 2


def test_repositories_are_worked_on_side_by_side(queued: Service, origin: GitOrigin, queue: MessageQueue) -> None:
    """Both fetches are under way at once."""
    upstreams = [Upstream(origin.root, name) for name in ("octo/one", "octo/two")]
    for upstream in upstreams:
        queued.put_repository(upstream.full_name, publish=[{"ref": "refs/heads/main"}])
        asked(queued, upstream, b"x")
    with origin.paused("fetch"), queued.process(entry=WORKER) as process:
        event = _event(queue)
        answer = process.invoke_later(event, remaining_ms=LONG_MS)
        origin.wait_for_held(2)
        origin.resume()
        assert answer.result(20) == DONE


def _event(queue: MessageQueue) -> dict[str, Any]:
    """Take a batch off the queue, as the event that a worker gets; nobody deletes it."""
    events: list[dict[str, Any]] = []

    def remember(event: dict[str, Any]) -> Any:
        events.append(event)
        return {"batchItemFailures": [{"itemIdentifier": each["messageId"]} for each in event["Records"]]}

    queue.deliver_batch(remember)
    return events[0]


def test_a_timer_only_says_look_now(queued: Service, upstream: Upstream, queue: MessageQueue) -> None:
    """No commit, no time: the ref alone, and what it names is published."""
    tip = upstream.commit({"a": b"a"})
    queue.put(look_now())
    assert queue.deliver_batch(queued.work) == DONE
    assert queued.current_commit() == tip
    line = [line for line in queued.log_lines if line["message"] == "delivery"][-1]
    assert (line["event"], line["outcome"]) == ("schedule", "published")
    queue.put(look_now(cause=Cause.OPERATOR))
    assert queue.deliver_batch(queued.work) == DONE
    assert outcomes(queued)[-1] == ("unchanged", "already_published")


def test_a_deleted_ref_is_looked_at_and_not_fetched(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """The zeros of its payload are no commit to ask for."""
    asked(queued, upstream, b"x", "preview")
    queue.deliver_batch(queued.work)
    upstream.delete("preview")
    queued.push(upstream, "preview")
    origin.forget()
    assert queue.deliver_batch(queued.work) == DONE
    assert origin.counts["fetch"] == 0


# -- order and loss -------------------------------------------------------------------------------------------


def test_a_message_that_comes_twice_changes_nothing(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """SQS may hand one out again after it was done: the remote is asked for the ref at most."""
    tip = asked(queued, upstream, b"x")
    event = _event(queue)
    with queued.process(entry=WORKER) as process:
        assert invoking(process)(event) == DONE
        origin.forget()
        assert invoking(process)(event) == DONE
    assert [request.kind for request in origin.requests] in ([], ["ls-refs"])
    assert queued.current_commit() == tip


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_messages_in_any_order_and_batches_end_with_the_tip(
    queued: Service, upstream: Upstream, queue: MessageQueue, order: tuple[int, ...]
) -> None:
    """Each in a batch of its own, and all in one."""
    requests = []
    for number in range(3):
        tip = upstream.commit({"content": b"%d" % number})
        requests.append(queued.push_request(upstream))
    for at in order:
        queued.send(requests[at])
        assert queue.deliver_batch(queued.work) == DONE
        assert queued.current_commit() == tip
    for number in range(3):
        tip = upstream.commit({"content": b"again %d" % number})
        requests.append(queued.push_request(upstream))
    for at in order:
        queued.send(requests[3 + at])
    assert queue.deliver_batch(queued.work) == DONE
    assert queued.current_commit() == tip
    assert queued.tree() == archive(upstream, tip)


def test_a_queue_that_was_late_publishes_what_the_ref_says_by_then(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """The message is an hour old, and its commit long overtaken: nothing is fetched for that."""
    asked(queued, upstream, b"old")
    old = queue.messages[0]
    queue.deliver_batch(queued.work)
    late = upstream.commit({"content": b"late"})
    tip = upstream.commit({"content": b"tip"})
    message = old | {"before": old["after"], "after": late, "received_at": old["received_at"] - 3600}
    queue.put(message | {"pushed_at": old["pushed_at"] + 1})
    origin.forget()
    assert queue.deliver_batch(queued.work) == DONE
    # Told an hour ago and asked since: the answer of then is this message's answer too, unless its push is newer.
    assert queued.current_commit() == tip
    assert origin.counts["fetch"] == 1
    assert queued.metric_values("QueueLagSeconds")[-1] >= 3600


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["fetch", "ls-refs"])
def test_a_worker_killed_in_the_middle_loses_nothing(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue, kind: str
) -> None:
    """Killed with the lock held; its messages are seen again, and another worker publishes the tip."""
    first = asked(queued, upstream, b"first")
    with queued.process(entry=WORKER) as other:
        assert queue.deliver_all(invoking(other)) == 1
        tip = asked(queued, upstream, b"second")
        with queued.process(entry=WORKER) as victim:
            victim.wait_until_ready()
            event = _event(queue)
            with origin.paused(kind):
                answer = victim.invoke_later(event, remaining_ms=LONG_MS)
                origin.wait_for_held()
                victim.kill()
            with pytest.raises(ProcessDied):
                answer.result(20)
        assert queued.current_commit() == first
        assert queue.deliver_batch(invoking(other)) is None  # hidden, until somebody has to be dead
        queue.show_all()
        assert queue.deliver_batch(invoking(other)) == DONE
    assert queued.current_commit() == tip
    assert queued.tree() == archive(upstream, tip)
    assert queue.messages == []


# -- failures -------------------------------------------------------------------------------------------------


def test_a_transient_failure_is_seen_again_later_and_later(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """Reported as failed, and hidden for 5 s, 10 s, 20 s; then the remote answers, and it is published."""
    queued.configure(fetch_attempts=1)
    tip = asked(queued, upstream, b"x")
    for seconds in (5, 10, 20):
        origin.fail_next(50)
        answer = queue.deliver_batch(queued.work)
        assert len(answer["batchItemFailures"]) == 1
        assert queue.hidden_seconds == [seconds]
        queue.show_all()
    assert outcomes(queued) == [("failed", "remote_unavailable")] * 3
    assert queue.dead_letters == []
    origin.clear_faults()
    assert queue.deliver_batch(queued.work) == DONE
    assert queued.current_commit() == tip


def test_what_does_not_pass_ends_among_the_dead_letters(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """After eight tries SQS itself takes it there."""
    queued.configure(fetch_attempts=1)
    asked(queued, upstream, b"x")
    origin.fail_next(500)
    for _ in range(MAX_RECEIVES):
        assert queue.deliver_batch(queued.work) != DONE
        queue.show_all()
    assert queue.deliver_batch(queued.work) is None
    assert len(queue.dead_letters) == 1
    assert queue.messages == []


def test_a_stalled_failure_goes_to_the_dead_letters_at_once(
    queued: Service, upstream: Upstream, queue: MessageQueue
) -> None:
    """With the reason and its detail, once for all messages of the ref; the queue is free of them."""
    for _ in range(3):
        upstream.commit({"way-out": Link(b"/etc/passwd")})
        queued.push(upstream)
    assert queue.deliver_batch(queued.work) == DONE
    ((body, attributes),) = queue.dead_letters
    assert json.loads(body)["repository"] == "octo/site"
    assert attributes["reason"] == outcomes(queued)[0][1] == "tree_unsafe"
    assert attributes["detail"]
    assert queue.messages == []


def test_a_ref_that_lags_is_seen_again_soon(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """What no ref confirms is not published; the message comes back after the back-off, until the ref names it."""
    asked(queued, upstream, b"before")
    queue.deliver_batch(queued.work)
    old = queued.current_commit()
    origin.freeze_refs("octo/site")
    commit = asked(queued, upstream, b"after")
    for seconds in (5, 10):
        queue.deliver_batch(queued.work)
        assert outcomes(queued)[-1] == ("failed", "ref_lags")
        assert queue.hidden_seconds == [seconds]
        assert queued.current_commit() == old
        queue.show_all()
    origin.thaw("octo/site")
    assert queue.deliver_batch(queued.work) == DONE
    assert queued.current_commit() == commit
    assert queue.messages == []
    assert queue.dead_letters == []


@pytest.mark.parametrize("is_old_message", [True, False])
def test_a_push_of_the_far_future_overtakes_no_other(
    queued: Service, upstream: Upstream, queue: MessageQueue, *, is_old_message: bool
) -> None:
    """Its time counts as absent, and is not recorded, whichever version of the webhook queued it."""
    commit = upstream.commit({"content": b"1"})
    queued.push(upstream, pushed_at=253_402_300_799)
    assert queue.messages[0]["pushed_at"] is None
    if is_old_message:
        queue.put(queue.messages[0] | {"pushed_at": 253_402_300_799})
    assert queue.deliver_batch(queued.work) == DONE
    assert queued.current_commit() == commit
    record = json.loads((queued.mount / "octo/site/main/published.json").read_bytes())
    assert record["pushed_at"] is None


def test_dead_letters_hold_no_secret(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """A token that does not open the repository any more: stalled, and not in the letter."""
    name = queued.put_token("t0ken-hunter2")
    queued.put_repository(credentials=name)
    origin.require_token("another")
    asked(queued, upstream, b"x")
    assert queue.deliver_batch(queued.work) == DONE
    ((body, attributes),) = queue.dead_letters
    assert attributes["reason"] == "remote_refused"
    assert "hunter2" not in body + repr(attributes) + queued.text


def test_a_letter_that_cannot_be_sent_is_seen_again(queued: Service, upstream: Upstream, queue: MessageQueue) -> None:
    """Neither done nor lost."""
    queued.put_repository_text("octo/site", "no JSON")
    queue.put(look_now())
    queued.configure(dead_letter_url=None)
    assert len(queue.deliver_batch(queued.work)["batchItemFailures"]) == 1
    assert queue.hidden_seconds == [5]
    queue.show_all()
    queued.configure(dead_letter_url=queue.dead_letter_url)
    assert queue.deliver_batch(queued.work) == DONE
    assert [attributes["reason"] for _, attributes in queue.dead_letters] == ["configuration_invalid"]


def test_a_repository_that_is_no_longer_configured_is_done_with(queued: Service, queue: MessageQueue) -> None:
    """Somebody took it off the list; nobody need be called."""
    queue.put(look_now(repository="octo/gone"))
    assert queue.deliver_batch(queued.work) == DONE
    assert outcomes(queued) == [("rejected", "repository_unknown")]
    assert queue.dead_letters == []


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[]",
        "{}",
        '{"version": 2}',
        json.dumps({"version": 1, "cause": "push", "repository": "../..", "ref": "refs/heads/main"}),
        json.dumps(json.loads(look_now()) | {"cause": "push"}),
        json.dumps(json.loads(look_now()) | {"cause": "magic"}),
        json.dumps(json.loads(look_now()) | {"received_at": "now"}),
    ],
)
def test_what_is_no_message_of_ours_goes_to_the_dead_letters(
    queued: Service, upstream: Upstream, queue: MessageQueue, body: str
) -> None:
    """As it came, with what is wrong with it; the others of its batch are worked on."""
    tip = upstream.commit({"a": b"a"})
    queue.put(body)
    queue.put(look_now())
    assert queue.deliver_batch(queued.work) == DONE
    ((buried, attributes),) = queue.dead_letters
    assert (buried, attributes["reason"]) == (body, "malformed")
    assert queued.current_commit() == tip


@pytest.mark.parametrize("event", [None, [], "x", {}, {"Records": 7}, {"Records": [7, {}, {"messageId": "a"}]}])
def test_an_event_that_is_no_batch_is_answered(queued: Service, event: object) -> None:
    """Whatever comes: never an exception."""
    assert queued.work(event) == DONE


def test_a_wrong_environment_loses_no_message(queued: Service, queue: MessageQueue) -> None:
    """All of the batch is seen again, and the log says why."""
    queue.put(look_now())
    queued.configure(queue_url=None)
    assert len(queue.deliver_batch(queued.work)["batchItemFailures"]) == 1
    assert outcomes(queued) == [("failed", "configuration_invalid")]


def test_a_poisoned_repository_does_not_hold_the_others(
    queued: Service, origin: GitOrigin, queue: MessageQueue
) -> None:
    """One fails for ever, in passing or not, in every batch; the others are published with the first try."""
    names = [f"octo/good{number}" for number in range(4)]
    good = [Upstream(origin.root, name) for name in names]
    for upstream in good:
        queued.put_repository(upstream.full_name, publish=[{"ref": "refs/heads/main"}])
    queued.put_repository("octo/stalled", url=origin.url("octo/none"))
    queued.put_repository("octo/passing", url="http://127.0.0.1:9/octo/passing.git")
    for round_ in range(2):
        for name in ("octo/stalled", "octo/passing"):
            queue.put(look_now(repository=name), group=name)
        tips = [asked(queued, upstream, b"%d" % round_) for upstream in good]
        queue.deliver_all(queued.work)
        assert [queued.current_commit(f"{name}/main") for name in names] == tips
    assert {message["repository"] for message in queue.messages} == {"octo/passing"}
    assert [attributes["reason"] for _, attributes in queue.dead_letters] == ["remote_refused"] * 2


# -- time -----------------------------------------------------------------------------------------------------


def test_without_time_left_a_message_is_given_back_untouched(
    queued: Service, upstream: Upstream, origin: GitOrigin, queue: MessageQueue
) -> None:
    """Seen again at once, by somebody who has time; the log says why, and no lock was taken."""
    asked(queued, upstream, b"x")
    answer = queue.deliver_batch(lambda event: queued.work(event, remaining_ms=22_000))
    assert len(answer["batchItemFailures"]) == 1
    assert outcomes(queued) == [("failed", "out_of_time")]
    assert queue.hidden_seconds == [0]
    assert not origin.requests
    assert os.listdir(queued.mount) == []
