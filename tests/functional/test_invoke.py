"""The publisher as a function, when Lambda does not bring its answer: GitHub is told, and the next try heals it."""

import io
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from handler.mount.fs import checkout, files, parallel
from handler.mount.git import incoming
from handler.mount.publisher import LocalPublisher
from testing import fake_lambda
from testing.fake_lambda import Ended, Interference, ending_in, interfering, refusal
from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.queue import MessageQueue
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.door import LARGE, let_parts_be_small

UNAVAILABLE = (503, "failed", "publisher_unavailable")
Invoke = Callable[[], Mapping[str, Any]]
Fault = Callable[[Invoke], Mapping[str, Any]]
"""What comes of an invocation in place of its answer; it may have the function do its work."""


@pytest.fixture
def invoked(
    tmp_path: Path, parameter_store: ParameterStore, origin: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """Return a service that publishes through the function, with one repository."""
    monkeypatch.setenv(fake_lambda.VARIABLE, "function")
    started = Service(tmp_path / "mount", parameter_store, origin).start()
    started.put_repository(grace_seconds=0)
    yield started
    started.stop()


# -- what Lambda may do -----------------------------------------------------------------------------------------------


def answered(content: bytes, **more: str) -> Mapping[str, Any]:
    """Return Lambda's answer with any payload."""
    return {"StatusCode": 200, "Payload": io.BytesIO(content), **more}


def ended(invoke: Invoke) -> Mapping[str, Any]:
    """End the function after it did its work."""
    invoke()
    return answered(b'{"errorMessage": "2026-01-01 Task timed out after 900.00 seconds"}', FunctionError="Unhandled")


def never_ran(invoke: Invoke) -> Mapping[str, Any]:
    """Fail before the function did anything: it has no network interface any more, say."""
    return answered(b'{"errorType": "Runtime.ExitError"}', FunctionError="Unhandled")


def throttled(invoke: Invoke) -> Mapping[str, Any]:
    """Refuse one more invocation at a time."""
    raise refusal("TooManyRequestsException", 429)


def broken(invoke: Invoke) -> Mapping[str, Any]:
    """Be ill."""
    raise refusal("ServiceException", 500)


def timed_out(invoke: Invoke) -> Mapping[str, Any]:
    """Let the client wait until it gives up; the function goes on."""
    from botocore.exceptions import ReadTimeoutError

    invoke()
    raise ReadTimeoutError(endpoint_url="https://lambda.example.com")


def away(invoke: Invoke) -> Mapping[str, Any]:
    """Not be reachable, at once."""
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url="https://lambda.example.com")


def broken_off(invoke: Invoke) -> Mapping[str, Any]:
    """Close the connection in the middle of the answer."""
    from botocore.exceptions import ResponseStreamingError

    return {**invoke(), "Payload": Stream(ResponseStreamingError(error="IncompleteRead"))}


def cut(invoke: Invoke) -> Mapping[str, Any]:
    """End the answer before its announced length."""
    from botocore.exceptions import IncompleteReadError

    return {**invoke(), "Payload": Stream(IncompleteReadError(actual_bytes=1, expected_bytes=2))}


def unreadable(invoke: Invoke) -> Mapping[str, Any]:
    """Answer what is no message."""
    invoke()
    return answered(b"<html>")


def of_another_version(invoke: Invoke) -> Mapping[str, Any]:
    """Answer as a deployment's other half may."""
    return answered(b'{"version": 2, "result": {"published": "?"}}')


class Stream:
    """A payload that cannot be read to its end."""

    def __init__(self, error: Exception) -> None:
        """Raise it."""
        self._error = error

    def read(self) -> bytes:
        """Break off."""
        raise self._error


FAULTS = (
    ended,
    never_ran,
    throttled,
    broken,
    timed_out,
    away,
    broken_off,
    cut,
    unreadable,
    of_another_version,
)


def at(action: str, fault: Fault) -> Interference:
    """Let every invocation for the action come to that."""
    return lambda each, invoke: fault(invoke) if each == action else invoke()


# -- a delivery -------------------------------------------------------------------------------------------------------


@pytest.mark.sampled(5)
@pytest.mark.parametrize("fault", FAULTS)
def test_github_is_told_and_its_redelivery_heals(invoked: Service, upstream: Upstream, fault: Fault) -> None:
    """503 with a reason, never 200; the text that Lambda quotes is nowhere."""
    first = upstream.commit({"a": b"1"})
    assert invoked.push(upstream).outcome == "published"
    second = upstream.commit({"a": b"2"})
    request = invoked.push_request(upstream)
    invoked.reset()
    with interfering(at("publish", fault)):
        answer = invoked.send(request)
    assert (answer.status, answer.outcome, answer.reason) == UNAVAILABLE
    assert invoked.current_commit() in (first, second)
    assert not invoked.places_of("Task timed out")
    again = invoked.send(request)
    assert (again.status, again.outcome) in ((200, "published"), (200, "unchanged"))
    assert (invoked.current_commit(), invoked.tree()) == (second, archive(upstream, second))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_look_that_fails_is_no_failure(invoked: Service, upstream: Upstream, fault: Fault) -> None:
    """It only wakes the function: one that lost its network interface while it was idle has one again then."""
    upstream.commit({"a": b"1"})
    invoked.push(upstream)
    second = upstream.commit({"a": b"2"})
    invoked.reset()
    with interfering(at("look", fault)):
        assert invoked.push(upstream).outcome == "published"
    assert invoked.current_commit() == second


def test_what_a_person_must_mend_is_told_as_such(invoked: Service, upstream: Upstream) -> None:
    """Without the right to invoke, trying again does not help: 500."""
    upstream.commit({"a": b"1"})

    def denied(invoke: Invoke) -> Mapping[str, Any]:
        raise refusal("AccessDeniedException", 403)

    request = invoked.push_request(upstream)
    with interfering(at("publish", denied)):
        answer = invoked.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (500, "failed", "publisher_refused")
    assert invoked.send(request).outcome == "published"


@pytest.mark.sampled(4)
@pytest.mark.parametrize("fault", FAULTS)
def test_in_queued_mode_the_message_stays(
    invoked: Service, upstream: Upstream, queue: MessageQueue, fault: Fault
) -> None:
    """Hidden for a while, and not among the dead letters; shown again, it publishes."""
    commit = upstream.commit({"a": b"1"})
    invoked.use_queue(queue)
    assert invoked.push(upstream).status == 202
    with interfering(at("publish", fault)):
        answer = queue.deliver_batch(invoked.work)
    assert len(answer["batchItemFailures"]) == len(queue.messages) == 1
    assert queue.dead_letters == []
    queue.show_all()
    assert queue.deliver_all(invoked.work) == 1
    assert (queue.messages, queue.dead_letters) == ([], [])
    assert invoked.current_commit() == commit


def test_the_publisher_answers_before_it_is_ended(
    invoked: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own time is over first: it says so, where the network side could wait for long; the next try goes on."""
    monkeypatch.setattr(checkout, "WORTH_FILES", 100)
    monkeypatch.setattr(parallel, "_PROGRESS_STEPS", 10)
    commit = upstream.commit({f"d{number % 7}/f{number}": b"%d" % number for number in range(400)})
    request = invoked.push_request(upstream)
    with ending_in(10_000):
        answer = invoked.send(request)
    assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "out_of_time")
    assert invoked.send(request).outcome == "published"
    assert (invoked.current_commit(), invoked.tree()) == (commit, archive(upstream, commit))


# -- a large pack -----------------------------------------------------------------------------------------------------


@pytest.mark.sampled(2)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_publisher_that_is_ended_in_a_part_is_healed(
    invoked: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, number: int, share: float
) -> None:
    """Nothing, half or all of the part is written, and nobody is told; the same delivery again publishes."""
    upstream.commit({"a": b"1"})
    invoked.push(upstream)
    second = upstream.commit({"large": random.Random(number).randbytes(LARGE)})
    let_parts_be_small(monkeypatch)
    request = invoked.push_request(upstream)
    parts = []

    def write_some(descriptor: int, content: bytes) -> None:
        parts.append(len(content))
        if len(parts) != number:
            return files.write_all(descriptor, content)
        files.write_all(descriptor, content[: int(len(content) * share)])
        raise Ended

    monkeypatch.setattr(incoming, "write_all", write_some)
    answer = invoked.send(request)
    assert (answer.status, answer.outcome, answer.reason) == UNAVAILABLE
    assert len(parts) == number
    assert invoked.send(request).outcome == "published"
    assert (invoked.current_commit(), invoked.tree()) == (second, archive(upstream, second))


@pytest.mark.parametrize("fault", [ended, throttled, unreadable])
def test_a_part_that_fails_is_healed(
    invoked: Service, upstream: Upstream, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the publish itself."""
    let_parts_be_small(monkeypatch)
    second = upstream.commit({"large": random.Random(1).randbytes(LARGE)})
    request = invoked.push_request(upstream)
    with interfering(at("receive", fault)):
        answer = invoked.send(request)
    assert (answer.status, answer.outcome, answer.reason) == UNAVAILABLE
    assert invoked.send(request).outcome == "published"
    assert invoked.current_commit() == second


def test_a_publisher_that_is_ended_in_a_publish_lets_go_of_the_lock(
    invoked: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the flip, before it could say so."""
    upstream.commit({"a": b"1"})
    request = invoked.push_request(upstream)
    publish = LocalPublisher.publish

    def and_end(publisher: LocalPublisher, request: Any) -> Any:
        answer = publish(publisher, request)
        if answer.outcome is None:
            return answer
        raise Ended

    with monkeypatch.context() as patched:
        patched.setattr(LocalPublisher, "publish", and_end)
        answer = invoked.send(request)
    assert (answer.status, answer.outcome, answer.reason) == UNAVAILABLE
    assert invoked.send(request).outcome == "unchanged"
